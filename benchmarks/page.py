"""The page of 500 strategies in Chromium, and how long a session goes on after its last trial.

    PYTHONPATH=. .venv/bin/python benchmarks/page.py

It needs the packages chromium and chromium-driver. The page is drawn from made-up results of any size (those that its
tests use), and opened several times; the session is one of toys whose trials take no time.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

from pytest_edgeai.measure.host import this_host
from pytest_edgeai.reporting.page.bundle import javascript
from pytest_edgeai.reporting.page.rendering import render
from tests.page.browser import errors, opened, started
from tests.page.documents import document

_AIM_S: Final = 2.0
_AIM_BYTES: Final = 5_000_000
_TIERS: Final = ("mobile", "edge", "cloud", "mobile+edge", "mobile*5")
_OPERATORS: Final = 10
_WITHOUT: Final = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")
"""What else the environment of the tests has pytest do at its end."""
_TOYS: Final = Path(__file__).parents[1] / "tests" / "plugin" / "toy_models.py"
_CONFTEST: Final = """
import time
from pathlib import Path

import toy_models

def pytest_edgeai_subjects(config):
    return [toy_models.subject(name) for name in ("toy", "other", "third", "fourth")]

def pytest_edgeai_operators(config):
    return [toy_models.Plain, toy_models.Worse]

def pytest_edgeai_backends(config):
    return {"instant": toy_models.InstantBackend}

def pytest_runtest_logfinish():
    Path("last").write_text(f"{time.time()} {time.process_time()}")

def pytest_unconfigure():
    Path("said").write_text(f"{time.time()} {time.process_time()}")
"""
_SETTINGS: Final = """
models = ["toy", "other", "third", "fourth"]
operators = ["identity", "worse"]
backend = "instant"
replicates = 5

[budgets.accuracy_drop_pp]
default = 100

[tolerances]
link_share = 0.99
waiting_requests = 1
foreign_cores = 1000
slow_host = 1000
"""


class Opened(NamedTuple):
    """What a browser did with a page, in seconds."""

    interactive_s: float
    drawn_s: float
    filtered_s: float


_FILTER: Final = """
const done = arguments[arguments.length - 1], root = document.documentElement, before = root.dataset.applied;
const began = performance.now();
new MutationObserver(() => {
  if (root.dataset.applied !== before) requestAnimationFrame(() => done(performance.now() - began));
}).observe(root, { attributes: true });
document.querySelector("[name=operator]").click();
"""


def browse(page: Path) -> Opened:
    """Open a page until all of it is drawn, and use a filter.

    Parameters
    ----------
    page
        Its file.
    """
    began = time.perf_counter()
    with started() as browser, opened(page, browser) as driver:
        drawn_s = time.perf_counter() - began
        driver.set_script_timeout(120)
        interactive_ms = float(driver.execute_script("return document.documentElement.dataset.interactive"))
        filtered_ms = float(driver.execute_async_script(_FILTER))
        if errors(driver):
            raise SystemExit(f"the page has errors: {errors(driver)}")
    return Opened(interactive_ms / 1e3, drawn_s, filtered_ms / 1e3)


class Ended(NamedTuple):
    """Seconds from the last trial of a session on: to its last word, with CPU time, and to the end of its process."""

    said_s: float
    said_cpu_s: float
    ended_s: float


def session_end() -> Ended:
    """Run a session of toys."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        shutil.copy(_TOYS, folder)
        for name, text in (
            ("conftest.py", _CONFTEST),
            ("edgeai.toml", _SETTINGS),
            ("test_suite.py", "def test_strategy(trial):\n    trial()\n"),
            ("pytest.ini", "[pytest]\npythonpath = .\n"),
        ):
            (folder / name).write_text(text, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "--benchmark-only", *_WITHOUT],
            cwd=folder,
            env={**os.environ, "EDGEAI_STORE": str(folder / "store"), "EDGEAI_LOCK_DIR": scratch},
            capture_output=True,
            text=True,
        )
        ended = time.time()
        if done.returncode:
            raise SystemExit(f"the session of toys failed:\n{done.stdout}{done.stderr}")
        last, said = ([float(word) for word in (folder / name).read_text().split()] for name in ("last", "said"))
    return Ended(said[0] - last[0], said[1] - last[1], ended - last[0])


def main() -> int:
    """Measure; 1 where an aim is not met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=10, metavar="N", help="50 strategies each (default: %(default)s)")
    parser.add_argument("--times", type=int, default=5, metavar="N", help="of each measurement (default: %(default)s)")
    options = parser.parse_args()
    print(this_host())
    javascript()  # which a session makes before its first trial
    operators = ["identity", *(f"operator{number}" for number in range(1, _OPERATORS))]
    models = [f"model{number}" for number in range(options.models)]
    made = document(models, operators, _TIERS, replicates=5, requests=20)
    began = time.process_time()
    text = render(made)
    rendered_s = time.process_time() - began
    size_bytes = len(text.encode())
    with tempfile.TemporaryDirectory() as scratch:
        page = Path(scratch) / "report.html"
        page.write_text(text, encoding="utf-8")
        seen = [browse(page) for _ in range(options.times)]
    interactive_s, drawn_s, filtered_s = (statistics.median(values) for values in zip(*seen, strict=True))
    ends = [session_end() for _ in range(options.times)]
    said_s, said_cpu_s, ended_s = (statistics.median(values) for values in zip(*ends, strict=True))
    print(f"load average: {os.getloadavg()[0]:.1f}")
    print(f"\n| of {len(made['strategies'])} strategies | |\n| --- | --- |")
    print(f"| size of the file | {size_bytes / 1e6:.2f} MB |")
    print(f"| writing it, CPU time | {rendered_s:.2f} s |")
    print(f"| until it can be used | {interactive_s:.2f} s |")
    print(f"| until all plots are drawn, browser started | {drawn_s:.2f} s |")
    print(f"| until a filter has changed what is seen | {filtered_s:.2f} s |")
    print(f"| 120 trials of toys: from the last one until all is said | {said_s:.2f} s |")
    print(f"| of it CPU time | {said_cpu_s:.2f} s |")
    print(f"| and until the process has ended | {ended_s:.2f} s |\n")
    aims = (
        (f"the file is smaller than {_AIM_BYTES / 1e6:.0f} MB", size_bytes < _AIM_BYTES),
        (f"the page can be used after {_AIM_S:g} s", interactive_s < _AIM_S),
        (f"{_AIM_S:g} s after the last trial all is said", said_s < _AIM_S),
    )
    for sentence, met in aims:
        print(f"{'met' if met else 'NOT MET'}: {sentence}")
    return 0 if all(met for _, met in aims) else 1


if __name__ == "__main__":
    sys.exit(main())
