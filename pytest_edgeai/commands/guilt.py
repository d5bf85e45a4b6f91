"""Whether a commit is worse than an earlier one in one strategy: by its artifact where that says it, else measured.

A commit is measured by pytest in a checkout of its own, with `--edgeai-against` the earlier commit. The working copy is
not touched.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pytest_edgeai.errors import VersionError
from pytest_edgeai.matrix.strategies import Strategy
from pytest_edgeai.measured import Commit, OtherVersion
from pytest_edgeai.operators.preparation import Prepared
from pytest_edgeai.reporting.files import RESULTS
from pytest_edgeai.settings import Settings
from pytest_edgeai.subjects.metrics import PERCENT
from pytest_edgeai.versions.bisection import Mark
from pytest_edgeai.versions.checkouts import Checkout, checked_out
from pytest_edgeai.versions.other import Question, prepare_version

Kind: TypeAlias = Literal["accuracy", "latency"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is compared, and what counts as worse.

    Parameters
    ----------
    strategy
        Of which the commits are compared.
    root
        The project's folder in the working copy.
    tests
        Where its tests are, as absolute paths; none for where pytest looks by itself.
    store
        Of artifacts.
    settings
        Of the working copy.
    replicates
        Trials of each of two commits, before more effort is made.
    max_slowdown
        The relative change of latency beyond which a commit is worse; None for the verdict of the gate.
    max_drop
        The same of accuracy, in percentage points or the metric's unit; None for the gate's.
    whole
        Whether each commit has servers and tiers of its own.
    backend
        What runs the tiers; None for what the settings of each commit say.
    wait
        How long to wait for another session on this host, as `--edgeai-wait` takes it.
    """

    strategy: Strategy
    root: Path
    tests: tuple[str, ...]
    store: Path
    settings: Settings
    replicates: int
    max_slowdown: float | None = None
    max_drop: float | None = None
    whole: bool = False
    backend: str | None = None
    wait: str = "1h"


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of a commit.

    Parameters
    ----------
    mark
        Whether it is worse.
    reason
        Why that is said.
    kind
        What was compared.
    change, low, high
        By how much it changed, and the interval: the relative change of latency, or the drop of the first metric in its
        unit. None where it was not measured, or has no interval.
    unit
        Of the drop.
    trials
        On each side.
    measured_s
        How long it took to measure; 0 where that was not necessary.
    """

    mark: Mark
    reason: str
    kind: Kind
    change: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    trials: tuple[int, ...] = ()
    measured_s: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """A JSON object."""
        return asdict(self)


def latency_answer(row: Mapping[str, Any], max_slowdown: float | None) -> Answer:
    """What a row of a session's comparison says of latency.

    Parameters
    ----------
    row
        As `results.json` has it.
    max_slowdown
        The relative change beyond which a commit is worse, whose interval has to be on one side of it; None for the
        verdict of the gate.
    """
    found, reason = row["latency"], "; ".join(row["reasons"])
    if found is None:
        if row["same_artifact"]:
            return Answer("good", "its artifact is the same", "latency")
        return Answer("broken" if row["outcome"] == "incomparable" else "undecided", reason, "latency")
    marks: Mapping[str, Mark] = {"regression": "bad", "inconclusive": "undecided"}
    mark = marks.get(found["outcome"], "good")
    low, high = found["low"], found["high"]
    if max_slowdown is not None:
        known = low is not None and high is not None
        mark = "bad" if known and low > max_slowdown else "good" if known and high <= max_slowdown else "undecided"
    return Answer(mark, found["reason"], "latency", found["change"], low, high, "", tuple(found["trials"]))


def accuracy_answer(before: Prepared, after: Prepared, settings: Settings, max_drop: float | None) -> Answer:
    """What two artifacts say of accuracy, by the model's first metric.

    Parameters
    ----------
    before, after
        The artifacts with their evaluations on the same examples.
    settings
        With the limits of the gate.
    max_drop
        Another limit, in percentage points or the metric's unit.
    """
    from pytest_edgeai.subjects.figures import points
    from pytest_edgeai.verdicts.accuracy import drop_interval

    if not before.evaluation.scores or not after.evaluation.scores:
        return Answer("good", "accuracy is not measured", "accuracy")
    was, now = before.evaluation.first, after.evaluation.first
    if was.name != now.name:
        return Answer("broken", f"its first metric is {now.name} and not {was.name}", "accuracy")
    drop = was.value - now.value if now.higher_is_better else now.value - was.value
    gate = settings.gate
    usual = gate.accuracy_drop_pp if now.unit == PERCENT else gate.metric_drop * abs(was.value)
    interval = drop_interval(now, was, confidence=1 - settings.alpha)
    low, high = (None, None) if interval is None else (interval.low, interval.high)
    worse = drop > (usual if max_drop is None else max_drop)
    reason = f"{now.name} is worse by {points(drop, now.unit)}" if worse else "accuracy is kept"
    return Answer("bad" if worse else "good", reason, "accuracy", drop, low, high, now.unit)


@dataclass
class Comparisons:
    """Compares commits, and remembers what it has seen of them.

    Parameters
    ----------
    asked
        What is compared.
    commits
        By number; the first is the good one.
    kinds
        What is looked at, in this order: the first that is worse counts.
    say
        Is told what is going on, in a sentence.
    """

    asked: Asked
    commits: tuple[Commit, ...]
    kinds: tuple[Kind, ...]
    say: Callable[[str], None]
    measured_s: list[float] = field(default_factory=list)
    """How long each measurement took."""
    _versions: dict[int, OtherVersion | str] = field(default_factory=dict)
    _answers: dict[tuple[str, str, int], Answer] = field(default_factory=dict)

    def compare(self, number: int, base: int, effort: int) -> Answer:
        """Whether a commit is worse than an earlier one.

        Parameters
        ----------
        number, base
            The commits.
        effort
            Each step from 0 on doubles the trials.
        """
        kind, versions = self.kinds[0], [self._version(one) for one in (base, number)]
        for version in versions:
            if isinstance(version, str):
                return Answer("broken", version, kind)
        before, after = (version for version in versions if isinstance(version, OtherVersion))
        wanted = self.asked.strategy.artifact
        if not after.has_our_samples(wanted, before.prepared[wanted]):
            return Answer("broken", "it has other examples, with which nothing can be compared", kind)
        answer = Answer("good", "", kind)
        for one in self.kinds:
            if one == "accuracy":
                limits = self.asked.settings, self.asked.max_drop
                answer = accuracy_answer(before.prepared[wanted], after.prepared[wanted], *limits)
            else:
                answer = self._latency(number, base, effort, self._fingerprint(before), self._fingerprint(after))
            if answer.mark != "good":
                break
        return answer

    def _latency(self, number: int, base: int, effort: int, before: str, after: str) -> Answer:
        if before == after:
            outside = " and nothing outside of it differs" if self.asked.whole else ""
            return Answer("good", f"its artifact is the same{outside}: not measured", "latency")
        key = before, after, effort
        if key in self._answers and base == 0:  # against the commit before, it is to be known anew
            return replace(self._answers[key], measured_s=0.0)
        started = time.monotonic()
        with checked_out(self.commits[number]) as checkout:
            answer = self._measured(checkout, self.commits[base], effort)
        answer = replace(answer, measured_s=time.monotonic() - started)
        self.measured_s.append(answer.measured_s)
        self._answers[key] = answer
        return answer

    def _version(self, number: int) -> OtherVersion | str:
        """What a commit has, or why it cannot be known."""
        if number not in self._versions:
            self._versions[number] = self._prepared(self.commits[number])
        return self._versions[number]

    def _prepared(self, commit: Commit) -> OtherVersion | str:
        asked, wanted = self.asked, self.asked.strategy.artifact
        baseline = wanted[0], asked.settings.baseline
        question = Question(tuple(dict.fromkeys((baseline, wanted))), asked.store)
        self.say(f"making the artifact of {commit.label} ready")
        try:
            found = prepare_version(commit, question, asked.root, asked.tests, lambda _: None)
        except VersionError as error:
            return str(error)
        if wanted in found.failures:
            return f"its artifact could not be made: {found.failures[wanted]}"
        if wanted not in found.prepared:
            return f"it does not have {'-'.join(wanted)}"
        if asked.whole and not found.outside:
            return "its plugin does not know --edgeai-whole"
        return found

    def _fingerprint(self, version: OtherVersion) -> str:
        """All that latency can depend on, as far as it is compared."""
        content = version.prepared[self.asked.strategy.artifact].artifact.entry.content
        outside = [version.outside["servers"], version.outside["topology"]] if self.asked.whole else []
        return json.dumps([content, *outside], sort_keys=True)

    def _measured(self, checkout: Checkout, base: Commit, effort: int) -> Answer:
        asked, strategy = self.asked, self.asked.strategy
        trials = asked.replicates * 2**effort
        self.say(f"measuring {checkout.commit.label} against {base.label}, {trials} trials of each")
        with tempfile.TemporaryDirectory(prefix="edgeai-bisect-") as scratch:
            options = {
                "against": base.digest,
                "models": strategy.model,
                "operators": strategy.operator,
                "tiers": strategy.placement,
                "replicates": trials,
                "report": f"{scratch}/reports",
                "store": asked.store,
                "wait": asked.wait,
            }
            arguments = ["-q", "--benchmark-only", *(f"--edgeai-{name}={value}" for name, value in options.items())]
            arguments += ["--edgeai-whole"] if asked.whole else []
            arguments += [f"--edgeai-backend={asked.backend}"] if asked.backend else []
            try:
                arguments += [checkout.translated(place) for place in asked.tests]
            except VersionError as error:
                return Answer("broken", str(error), "latency")
            # What the session leaves behind if it is killed is gone with this folder.
            folder, variables = checkout.counterpart(asked.root), {"TMPDIR": scratch}
            code, last = checkout.run_pytest(folder, arguments, variables, hear=lambda _: False)
            found = sorted(Path(scratch).glob(f"reports/*/{RESULTS}"))
            if not found:
                return Answer("broken", f"pytest exited with {code}: {last}", "latency")
            results = json.loads(found[-1].read_text(encoding="utf-8"))
            if results["interrupted"]:
                raise KeyboardInterrupt
        rows = [row for row in results["comparison"]["strategies"] if row["strategy"] == strategy.id]
        return latency_answer(rows[0], asked.max_slowdown)
