"""What a session looks like on a terminal, in a log, and when it is asked for more or less."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios
from collections.abc import Iterator
from multiprocessing.connection import wait
from pathlib import Path

import pytest

from tests.plugin import forked
from tests.plugin.conftest import SETTINGS, Project

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\].*?(?:\x1b\\|\x07)")
_STRICT = SETTINGS.replace("default = 100", "default = 2")


class Terminal:
    """What a terminal of a width shows of some output.

    Parameters
    ----------
    text
        All that was written.
    width
        In columns.
    """

    def __init__(self, text: str, width: int) -> None:
        self.text = text
        self.lines: list[str] = []
        self.wrapped: list[str] = []
        line: list[str] = []
        column = 0
        for sign in _CONTROL.sub("", text):
            if sign == "\n":
                self.lines.append("".join(line).rstrip())
                line, column = [], 0
            elif sign == "\r":
                column = 0
            else:
                if column == width:
                    self.wrapped.append("".join(line))
                    self.lines.append("".join(line))
                    line, column = [], 0
                line[column : column + 1] = [sign]
                column += 1

    @property
    def written_over(self) -> list[str]:
        """The lines that did not stay."""
        found = re.findall(r"\r(edgeai: [^\r\n]*)\r", self.text)
        return [line.strip() for line in found if line.strip() not in self.lines]


def on_terminal(project: Project, monkeypatch: pytest.MonkeyPatch, *arguments: str, width: int = 80) -> Terminal:
    """Run a session in a pseudo-terminal."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    for name in ("NO_COLOR", "FORCE_COLOR", "PY_COLORS"):
        monkeypatch.delenv(name, raising=False)
    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
        place = Path(os.ttyname(theirs))
        session = forked.started(["-p", "no:cacheprovider", "--benchmark-only", *arguments], project.path, place, place)
        written = bytearray()
        while ours in (ready := wait([ours, session.sentinel], timeout=100)):
            written += os.read(ours, 65536)
        assert ready, "the session has not ended"
    finally:
        os.close(ours)
        os.close(theirs)
    return Terminal(written.decode(), width)


def ours(terminal: Terminal) -> Iterator[str]:
    """The lines from the verdicts on."""
    start = next(n for n, line in enumerate(terminal.lines) if "edgeai: verdicts" in line)
    yield from terminal.lines[start:]


@pytest.mark.parametrize("arguments", [(), ("--color=no",)], ids=["colours", "no colours"])
def test_a_terminal_has_one_line_that_is_written_over(
    project: Project, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    terminal = on_terminal(project, monkeypatch, *arguments)
    trials = [line for line in terminal.written_over if line.startswith("edgeai: trial")]
    assert len(trials) == 8
    assert re.fullmatch(r"edgeai: trial 1/8: toy-\S+-r0", trials[0])
    assert all(re.fullmatch(rf"edgeai: trial {n}/8, \d+:\d\d left: toy-\S+", trials[n - 1]) for n in range(2, 9))
    assert not [line for line in terminal.lines if "trial 1/8" in line]
    assert [line for line in terminal.lines if re.fullmatch(r"edgeai: 8 of 8 trials in \d+:\d\d", line)]
    assert not [line for line in ours(terminal) if len(line) > 80]


def test_preparation_has_one_line_that_is_written_over_and_one_for_each_artifact(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = on_terminal(project, monkeypatch, "--edgeai-prepare", "--edgeai-store=fresh", width=70)
    written = [line for line in terminal.written_over if line.startswith("edgeai: ")]
    assert any(re.fullmatch(r"edgeai: 0 of 2 ready; toy-identity \D+, \d+ s", line) for line in written)
    stayed = [line for line in terminal.lines if line.startswith("edgeai: artifact")]
    assert [line.partition(":")[2].partition(":")[0] for line in stayed] == [
        " artifact 1 of 2, toy-identity",
        " artifact 2 of 2, toy-worse",
    ]
    assert not [line for line in terminal.lines if "ready; toy" in line]


def test_letters_of_other_tests_do_not_stick_to_the_line(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.pytester.makepyfile(
        test_suite="def test_strategy(trial):\n    trial()\n",
        test_zzz="def test_other(benchmark):\n    benchmark(int)\n\ndef test_strategy(trial):\n    trial()\n",
    )
    project.settings(SETTINGS.replace("replicates = 2", "replicates = 1"))
    terminal = on_terminal(project, monkeypatch, "--edgeai-tiers=edge")
    lettered = [line for line in terminal.lines if re.match(r"test_\w+\.py", line)]
    assert lettered
    assert all(re.fullmatch(r"test_\w+\.py [.]+(\s+\[ *\d+%\])?", line) for line in lettered), lettered


def test_with_s_nothing_is_written_over(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(project, monkeypatch, "-s")
    assert not [line for line in terminal.written_over if "trial" in line]
    assert [line for line in terminal.lines if line.startswith("edgeai: trial 8/8, 0:00 left: ")]


def test_with_v_every_trial_has_a_line_that_stays(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(project, monkeypatch, "-v")
    assert not [line for line in terminal.written_over if "trial" in line]
    trials = [line for line in terminal.lines if re.match(r"  trial \d/8, ", line)]
    assert len(trials) == 8
    assert len([line for line in terminal.lines if "::test_strategy[" in line and "PASSED" in line]) == 8


def test_a_quiet_session_has_pytests_letters_and_no_lines(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(project, monkeypatch, "-q")
    assert not [line for line in [*terminal.lines, *terminal.written_over] if re.search(r"trial +\d", line)]
    assert [line for line in terminal.lines if re.match(r"\.{8}\s", line)]


def test_what_is_broken_comes_last_in_red_with_what_to_do(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.settings(_STRICT)
    terminal = on_terminal(project, monkeypatch, "--edgeai-tiers=edge")
    lines = list(ours(terminal))
    reasons = [n for n, line in enumerate(lines) if line.startswith("toy-worse-edge: fail: ")]
    reports = next(n for n, line in enumerate(lines) if line.startswith("edgeai: reports in"))
    advice = next(n for n, line in enumerate(lines) if line.startswith("  What to do: "))
    last = next(n for n, line in enumerate(lines) if line.startswith("edgeai: 1 pass, 1 fail (not green)"))
    assert reports < reasons[0] < advice < last
    assert "\x1b[31mtoy-worse-edge: fail: " in terminal.text
    assert not [line for line in lines if len(line) > 80]


def test_a_log_has_a_line_every_few_seconds_and_for_the_last_trial(project: Project) -> None:
    output = project.run("--benchmark-only").stdout.str()
    assert "\r" not in output
    trials = re.findall(r"^edgeai: trial .*$", output, flags=re.M)
    assert re.fullmatch(r"edgeai: trial 8/8, 0:00 left: toy-\S+, median \d+\.\d\d ms", trials[-1])
    assert len(trials) < 8 or "0:00" not in trials[0]


def test_with_v_the_columns_that_do_not_fit_follow_below(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    short = project.run("--benchmark-only").stdout
    short.re_match_lines([r"strategy +verdict +median .*drop +trials"])
    short.no_re_match_line(r"strategy .*link error")
    short.no_re_match_line("Operators of toy on edge: .*")
    whole = project.run("--benchmark-only", "-v").stdout
    whole.re_match_lines([r"strategy +verdict +median .*drop +trials", r"strategy .*link error.*"])
    whole.re_match_lines(["Operators of toy on edge: .*"])


@pytest.mark.parametrize(
    ("arguments", "is_shown"),
    [
        ((), False),
        (("-v",), True),
        (("--benchmark-columns=min,max",), True),
        (("--benchmark-group-by=param:edgeai_tier",), True),
    ],
)
def test_pytest_benchmarks_table_of_trials_is_shown_when_asked_for(
    project: Project, arguments: tuple[str, ...], is_shown: bool
) -> None:
    output = project.run("--benchmark-only", *arguments).stdout.str()
    assert ("Name (time in" in output) == is_shown


def test_pytest_benchmarks_table_can_be_asked_for_in_addopts_and_always_has_other_benchmarks(project: Project) -> None:
    project.pytester.makepyfile(test_other="def test_other(benchmark):\n    benchmark(int)\n")
    output = project.run("--benchmark-only").stdout.str()
    (table,) = re.findall(r"Name \(time in.*?\n-+\n(.*?)\n-+\n", output, flags=re.S)
    assert "test_other" in table
    assert "toy-" not in table
    project.pytester.makeini("[pytest]\npythonpath = .\naddopts = --benchmark-columns=median\n")
    assert "test_strategy[toy-identity-edge-r0]" in project.run("--benchmark-only").stdout.str()
