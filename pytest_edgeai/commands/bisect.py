"""`edgeai bisect`: the first commit at which a strategy got slower or less accurate."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pytest_edgeai.commands.guilt import Answer, Asked, Kind
    from pytest_edgeai.measured import Commit
    from pytest_edgeai.versions.bisection import Found
    from pytest_edgeai.versions.past_commits import PastCommit

DESCRIPTION: Final = """Find the first commit between GOOD and BAD at which a strategy got slower or less accurate.

Each commit that is looked at is checked out in a folder of its own and compared with GOOD: by its artifact where that
says it, else by trials of both versions in one session (--edgeai-against GOOD). The working copy is not touched. Where
BAD is less accurate than GOOD, accuracy is what is followed, else latency (--of chooses). A commit that cannot be built
or collected is skipped, and what trials cannot decide is measured again with more of them. The commit found is compared
with the last good one before it as well. Of a merge, the first parents are followed.
"""
EPILOG: Final = """example:
  edgeai bisect v1.2 main --strategy bert-sptq-edge

exit code: 0 the commit is found, and it is worse than the one before it, 1 it is not found, or not beyond doubt,
           2 the command line, the repository or the settings cannot be used, 130 interrupted
"""
_INTERRUPTED: Final = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line of `edgeai bisect`."""
    add = parser.add_argument
    add("good", metavar="GOOD", help="a revision at which the strategy was still well")
    add("bad", metavar="BAD", nargs="?", default="HEAD", help="a later one at which it is worse (default: HEAD)")
    add("--strategy", required=True, metavar="ID", help="which strategy, for example bert-sptq-edge")
    add("--of", choices=("accuracy", "latency"), help="what got worse (default: accuracy if it did, else latency)")
    add(
        "--max-slowdown",
        type=_share,
        metavar="X%",
        help="a commit is bad if typical requests take longer by more (default: by the verdict of the gate)",
    )
    add("--max-drop", type=float, metavar="X", help="a commit is bad if accuracy drops by more (default: the gate's)")
    add("--tests", type=Path, action="append", default=[], metavar="PATH", help="where the tests are, as for pytest")
    add("--replicates", type=_count, metavar="N", help="trials of each commit (default: gate.replicates)")
    add("--whole", action="store_true", help="each commit has servers and tiers of its own (--edgeai-whole)")
    add("--backend", metavar="NAME", help="what runs the tiers (default: by the settings of each commit)")
    add("--store", type=Path, metavar="DIR", help="artifact store (default: as pytest would use it)")
    add("--wait", default="1h", metavar="TIME", help="how long to wait for another session (default: %(default)s)")
    add("--dry-run", action="store_true", help="only say what it would cost")
    add("--json", action="store_true", help="print JSON")
    add("--root", type=Path, default=Path(), metavar="DIR", help="the project (default: here)")


def run(options: argparse.Namespace) -> int:
    """Search, and print; the exit code."""
    from pytest_edgeai.collection.interruption import Interruption
    from pytest_edgeai.errors import EdgeAIError

    signals = Interruption()
    signals.install()
    try:
        return _search(options)
    except EdgeAIError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: nothing was found, and no checkout is left", file=sys.stderr)
        return _INTERRUPTED
    finally:
        signals.restore()


def _search(options: argparse.Namespace) -> int:
    from pytest_edgeai.commands.guilt import Comparisons
    from pytest_edgeai.measured import Commit
    from pytest_edgeai.versions.bisection import find_first_worse, most_steps
    from pytest_edgeai.versions.checkouts import find_commit
    from pytest_edgeai.versions.past_commits import commits_between

    good, bad = (find_commit(revision, options.root) for revision in (options.good, options.bad))
    commits, asked = commits_between(good, bad), _asked(options)
    cost = _cost(asked, most_steps(len(commits)), len(commits))
    if options.dry_run:
        print(_as_text(cost) if options.json else _sentence(cost))
        return 0
    _say(_sentence(cost))
    numbered = (good, *(Commit(one.digest, one.digest, good.repository) for one in commits))
    kinds: tuple[Kind, ...] = (options.of,) if options.of else ("accuracy", "latency")
    comparisons = Comparisons(asked, numbered, kinds, _say)
    answers: list[dict[str, Any]] = []

    def judge(number: int, base: int, effort: int) -> Any:
        answer = comparisons.compare(number, base, effort)
        if (number, base, answer.mark) == (len(commits), 0, "bad"):
            comparisons.kinds = (answer.kind,)  # what is followed from now on
        against = good.label if base == 0 else commits[base - 1].digest[:10]
        answers.append({"commit": commits[number - 1].digest, "against": against, **answer.as_json()})
        _say(f"{commits[number - 1].label}: {answer.mark}, {_change(answer)}")
        return answer.mark

    found = find_first_worse(len(commits), judge)
    guilty = commits[found.suspects[0] - 1] if found.outcome == "found" else None
    document = _document(found, commits, answers, good) | {"cost": cost, "strategy": asked.strategy.id}
    if options.json:
        print(_as_text(document))
    else:
        print("\n".join(_conclusion(found, commits, answers, good)))
        print(document["log"], end="")
    return 0 if guilty is not None and found.confirmed else 1


def _asked(options: argparse.Namespace) -> Asked:
    """What is compared.

    Raises
    ------
    SettingsError
        The strategy or a place of tests cannot be one, or the settings cannot be used.
    """
    from pytest_edgeai.commands.guilt import Asked
    from pytest_edgeai.errors import SettingsError
    from pytest_edgeai.matrix.strategies import Strategy
    from pytest_edgeai.settings import load_settings
    from pytest_edgeai.store import default_root
    from pytest_edgeai.tiers.placements import Placement

    root = options.root.resolve()
    settings = load_settings(root, {})
    words = options.strategy.split("-")
    if len(words) != 3 or not all(words):
        raise SettingsError(
            f"--strategy: {options.strategy!r} is not MODEL-OPERATOR-TIER, for example bert-sptq-edge; pytest "
            "--collect-only lists them"
        )
    try:
        strategy = Strategy(words[0], words[1], Placement.parse(words[2]))
    except ValueError as error:
        raise SettingsError(f"--strategy: {error}") from None
    for place in options.tests:
        if not place.exists():
            raise SettingsError(f"--tests: there is no {place}")
    store = options.store or (default_root() if settings.store is None else root / settings.store)
    backend = options.backend or settings.backend
    if options.whole and backend not in ("auto", "process"):
        raise SettingsError(f"--whole: the backend {backend} cannot run servers of each commit: give --backend process")
    replicates = options.replicates or settings.replicates or settings.gate.replicates
    return Asked(
        strategy,
        root,
        tuple(str(place.absolute()) for place in options.tests),
        store.absolute(),
        settings,
        replicates,
        options.max_slowdown,
        options.max_drop,
        options.whole,
        options.backend,
        options.wait,
    )


def _cost(asked: Asked, steps: int, commits: int) -> dict[str, Any]:
    """What a search costs at most, by the newest report that has the strategy."""
    import statistics

    from pytest_edgeai.commands.reports import UnreadableReportError, read_report

    trial_s = build_s = None
    try:
        _, report = read_report(None, asked.root)
    except UnreadableReportError:
        report = {"trials": [], "artifacts": []}
    strategy = asked.strategy
    wanted = strategy.model, strategy.operator, str(strategy.placement)
    durations = [
        one["duration_s"] for one in report["trials"] if (one["model"], one["operator"], one["tier"]) == wanted
    ]
    builds = [
        one["provenance"]["build_s"] for one in report["artifacts"] if (one["model"], one["operator"]) == wanted[:2]
    ]
    if durations and builds:
        trial_s, build_s = statistics.median(durations), builds[0]
    total_s = None if trial_s is None or build_s is None else steps * (2 * asked.replicates * trial_s + build_s)
    return {
        "commits": commits,
        "steps": steps,
        "trials": 2 * asked.replicates * steps,
        "trial_s": trial_s,
        "build_s": build_s,
        "total_s": total_s,
    }


def _sentence(cost: Mapping[str, Any]) -> str:
    """What a search costs, for people."""
    many = "s" if cost["commits"] > 1 else ""
    counts = f"{cost['commits']} commit{many}: about {cost['steps']} comparisons at most, {cost['trials']} trials"
    if cost["total_s"] is None:
        return f"{counts}; how long a trial takes is not known, since the newest report does not have the strategy"
    return (
        f"{counts}, about {cost['total_s'] / 60:.1f} minutes by the newest report ({cost['trial_s']:.2f} s a trial, "
        f"{cost['build_s']:.1f} s to build an artifact)"
    )


def _change(answer: Answer) -> str:
    """By how much a commit changed, and why it is called what it is called."""
    from pytest_edgeai.subjects.figures import points, points_interval

    if answer.change is None:
        return answer.reason
    known = answer.low is not None and answer.high is not None
    if answer.kind == "accuracy":
        interval = f" ({points_interval(answer.low or 0.0, answer.high or 0.0, answer.unit)})" if known else ""
        return f"accuracy drop {points(answer.change, answer.unit)}{interval}"
    interval = f" ({answer.low:+.1%} to {answer.high:+.1%})" if known else ""
    trials = " and ".join(map(str, answer.trials))
    return f"latency {answer.change:+.1%}{interval}, {trials} trials" + (
        f": {answer.reason}" if answer.mark == "undecided" else ""
    )


def _document(
    found: Found, commits: Sequence[PastCommit], answers: Sequence[Mapping[str, Any]], good: Commit
) -> dict[str, Any]:
    """What was found, as a JSON object."""
    from pytest_edgeai.versions.past_commits import bisection_log

    guilty = found.suspects[0] if found.outcome == "found" else None
    about = [one for one in answers if guilty is not None and one["commit"] == commits[guilty - 1].digest]
    return {
        "outcome": found.outcome,
        "confirmed": found.confirmed,
        "commit": None if guilty is None else commits[guilty - 1].as_json(),
        "suspects": [commits[number - 1].as_json() for number in found.suspects],
        "change": about[-1] if about else None,
        "answers": list(answers),
        "seconds_measured": sum(one["measured_s"] for one in answers),
        "log": bisection_log(good, commits, found.marks or {}, guilty),
    }


def _conclusion(
    found: Found, commits: Sequence[PastCommit], answers: Sequence[Mapping[str, Any]], good: Commit
) -> list[str]:
    """What was found, for people."""
    from pytest_edgeai.commands.guilt import Answer

    last = commits[-1]
    if found.outcome == "not worse":
        return [f"{last.label} is not worse than {good.label}: there is no commit to find"]
    if found.outcome == "undecided":
        return [f"whether {last.label} is worse than {good.label} cannot be told: {answers[-1]['reason']}"]
    if found.outcome == "skipped":
        names = [f"  {commits[number - 1].label}" for number in found.suspects]
        doubt = [] if found.confirmed else ["  it is not shown that the last one is worse than the last good commit"]
        said = "the first commit that is worse is one of these, of which all but the last cannot be judged:"
        return [said, *names, *doubt]
    guilty = commits[found.suspects[0] - 1]
    about = [one for one in answers if one["commit"] == guilty.digest]
    lines = [f"{guilty.digest} is the first commit that is worse", f"  {guilty.subject}"]
    lines += [f"  {guilty.author}, {guilty.date}"]
    fields = Answer.__dataclass_fields__
    for one in {one["against"]: one for one in about}.values():
        answer = Answer(**{name: one[name] for name in fields})
        lines.append(f"  against {one['against']}: {_change(answer)}")
    if not found.confirmed:
        lines.append("  it is not shown that it is worse than the commit before it: many small changes may add up")
    return lines


def _as_text(document: Mapping[str, Any]) -> str:
    import json

    return json.dumps(document, indent=1, allow_nan=False)


def _say(sentence: str) -> None:
    print(f"edgeai: {sentence}", file=sys.stderr, flush=True)


def _share(text: str) -> float:
    try:
        share = float(text.removesuffix("%")) / 100
    except ValueError:
        share = -1.0
    if not (text.endswith("%") and 0 < share < 10):
        raise argparse.ArgumentTypeError(f"{text!r} is not a percentage such as 10%")
    return share


def _count(text: str) -> int:
    if not (text.isdecimal() and 5 <= int(text) <= 1000):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 5, the fewest that decide anything, to 1000")
    return int(text)
