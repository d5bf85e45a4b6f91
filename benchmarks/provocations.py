"""What a session says to measurements that are broken, forged or missing, and to slowdowns: each provoked for real.

Every point is provoked in a temporary project of toy models, by sessions and commands in processes of their own. What
was done, the exit code and what was said are printed, and whether that is as it should be; the exit code is 1 where
one is not. Recordings are real sessions whose latencies were exchanged.

    python benchmarks/provocations.py --only 1,6
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # the toys of the tests are not installed

from forged_server import forged_server
from provocation_project import (
    GATE,
    ROOT,
    Finding,
    Project,
    ProvocationError,
    bits_of_weights,
    exchange,
    forget_accuracies,
    judged,
    junit_failures,
    scale,
)

from pytest_edgeai.verdicts.regression import Rule, judge_changes
from tests.partition import test_shapes as shapes
from tests.plugin.conftest import CONFTEST, PROCESSES, SETTINGS
from tests.plugin.test_full_disk import FULL_IN_TWO_TRIALS
from tests.verdicts.test_regression import some_requests_slower

Point: TypeAlias = Callable[[Project], Iterator[Finding]]

BROKEN = SETTINGS.replace("default = 100", "default = 2")  # toy-worse loses more
ONE_TIER = SETTINGS.replace('"mobile", ', "")
JUDGEMENTS = {True: "as it should be", False: "NOT AS IT SHOULD BE", None: "not provoked"}
CALIBRATION = "python benchmarks/gate_calibration.py --json gate.json"
QUANTIZED = """
import dataclasses
import toy_models
from benchmarks.provocation_toys import OnAvx2, OnVnni
from tests.operators.small_subject import IMAGES

states = toy_models._Deployment.states
toy_models._Deployment.states = lambda self: tuple(
    dataclasses.replace(state, limits={**state.limits, "instructions": ["avx2"]}) for state in states(self)
)

def pytest_edgeai_subjects(config):
    return [IMAGES]

def pytest_edgeai_operators(config):
    return [OnVnni, OnAvx2]

def pytest_edgeai_backends(config):
    return {"instant": toy_models.InstantBackend}
"""


def control(project: Project) -> Iterator[Finding]:
    """Nothing is provoked: what is red below is so for what was done there."""
    yield judged("nothing", project.pytest("--benchmark-only"), {0}, r"4 pass \(green\)")


def budgets_dropped(project: Project) -> Iterator[Finding]:
    """A path as a separate word, by which pytest chooses another root folder, may not drop the budgets."""
    project.settings(BROKEN)
    (project.beside / "elsewhere").mkdir()
    for option in ("--edgeai-store", "--edgeai-report"):
        ended = project.pytest("--benchmark-only", option, "../elsewhere")
        what = f"a broken budget, and {option} ../elsewhere as a separate word"
        yield judged(what, ended, {1}, r"edgeai: settings .*edgeai\.toml", r"toy-worse-edge: fail: ")


def inconclusive_comparisons(project: Project) -> Iterator[Finding]:
    """A comparison that cannot decide may not be green."""
    project.settings(SETTINGS + GATE)
    session = project.save("once", "--edgeai-replicates=1")
    ended = project.pytest("--benchmark-only", "--edgeai-compare=once", "--edgeai-replicates=1")
    yield judged("--edgeai-compare with one replicate a side", ended, {4}, r"ERROR: --edgeai-compare: .*2 a side")
    project.save_changed(session, "slower", partial(scale, factor=300))
    ended = project.edgeai("compare", "once", "slower")
    what = "two saved sessions of one replicate, the later one 300 times as slow"
    yield judged(what, ended, {1}, r"inconclusive: ", r"\d inconclusive \(not green\)")


def everything_slower(project: Project) -> Iterator[Finding]:
    """A slowdown of everything is red where the reference computation stayed, and no column is made up."""
    project.settings((SETTINGS + GATE).replace("replicates = 2", "replicates = 10"))
    slept = {"toy-identity": 5, "toy-worse": 5}
    project.save("quick", TOY_SLEEP_MS=json.dumps(slept), TOY_REFERENCE_MS="2")
    later = json.dumps({name: ms + 30 for name, ms in slept.items()})
    arguments = ("--benchmark-only", "--edgeai-compare=quick")
    ended = project.pytest(*arguments, TOY_SLEEP_MS=later, TOY_REFERENCE_MS="2")
    what = "30 ms more for each request of every strategy, the reference computation as before"
    yield judged(what, ended, {1}, r"toy-worse-edge: regression: ", r"4 regression \(not green\)")
    ended = project.pytest(*arguments, TOY_SLEEP_MS=later, TOY_REFERENCE_MS="14")
    what = "the same, and the reference computation takes seven times as long"
    yield judged(what, ended, {1}, r"so is the reference computation", r"4 inconclusive \(not green\)")
    project.git("init", "-q", "-b", "main")
    project.git("add", "conftest.py", "toy_models.py", "test_suite.py", "pytest.ini", "edgeai.toml")
    project.git("commit", "-qm", "one")
    ended = project.pytest("--benchmark-only", "--edgeai-against=HEAD", "--edgeai-replicates=5")
    rows = project.results["comparison"]["strategies"]
    filled = [row["strategy"] for row in rows if row["median_s"][0] is not None]
    said = f"medians before: {filled or 'none'}, since artifacts that are the same are measured once"
    what = "--edgeai-against a revision with the same artifacts"
    yield judged(what, ended.with_lines([said]), {0}, r"medians before: none", r"\(green\)")


def some_requests_slow(project: Project) -> Iterator[Finding]:
    """A slowdown of some requests or inputs may not pass."""
    project.settings(SETTINGS + GATE)
    session = project.save("real")
    before, after = some_requests_slower(0, 0.1, 20.0)["s0"]
    for name, side in (("steady", before), ("few", after)):
        project.save_changed(session, name, partial(exchange, latencies_s=side))
    ended = project.edgeai("compare", "steady", "few")
    what = "10 % of the requests of recordings of ten trials take twenty times as long"
    yield judged(what, ended, {1}, r"toy-worse-edge: (regression|inconclusive): ", r"\(not green\)", never=r"\d pass")
    cases: Mapping[str, Callable[[int], dict[str, tuple[Any, Any]]]] = {
        "10 % of requests twenty times as slow": lambda seed: some_requests_slower(seed, 0.1, 20.0),
        "half of the requests twice as slow": lambda seed: some_requests_slower(seed, 0.5, 2.0),
        "2 of 10 inputs ten times as slow": _some_inputs_slower,
    }
    for what, make in cases.items():
        found = [judge_changes(make(seed), Rule(), together=True)["s0"] for seed in range(20)]
        counts = [f"{sum(one.outcome == name for one in found)} {name}" for name in ("pass", "inconclusive")]
        red = sum(one.outcome == "regression" for one in found)
        said = f"of 20 sessions {red} regression, {', '.join(counts)}"
        well = all(one.outcome == "regression" or (one.outcome == "inconclusive" and one.slower) for one in found)
        yield Finding(f"{what}, judged as --edgeai-against does", None, (said,), well)


def calibration(_: Project) -> Iterator[Finding]:
    """How often the gate is wrong is measured on sessions on which it was not tuned."""
    said = f"skipped: no session shows it, and it takes half an hour on sessions held back: {CALIBRATION}"
    yield Finding("how often the gate is wrong on sessions on which no rule was chosen", None, (said,), None)


def nothing_measured(project: Project) -> Iterator[Finding]:
    """A session in which nothing or half was measured may not be green."""
    yield judged("--benchmark-skip", project.pytest("--benchmark-skip"), {5}, r"edgeai: nothing was measured: all")
    marks = "\nimport pytest\n\ndef pytest_collection_modifyitems(items):\n    for item in items:\n"
    marks += "        if 'worse' in item.nodeid:\n            item.add_marker(pytest.mark.skip('not today'))\n"
    project.write("conftest.py", CONFTEST + marks)
    ended = project.pytest("--benchmark-only")
    yield judged("skip marks on half of the trials", ended, {1}, r"toy-worse-edge: invalid: .*skipped: not today")


def junit_green(project: Project) -> Iterator[Finding]:
    """The JUnit report has failures where the exit code is not 0."""
    project.settings(BROKEN)
    ended = project.pytest("--benchmark-only", "--junit-xml=junit.xml")
    said = junit_failures(project.path / "junit.xml")
    yield judged("a broken budget, and --junit-xml", ended.with_lines(said), {1}, r"8 passed", r"^JUnit: failures 2")
    project.settings(SETTINGS + GATE)
    project.save("both")
    project.save("one", "--edgeai-tiers=edge")
    ended = project.edgeai("compare", "both", "one", "--junit=junit.xml")
    said = [line for line in junit_failures(project.path / "junit.xml") if line.startswith("JUnit: failures")]
    what = "edgeai compare --junit, the later session without half of the strategies"
    yield judged(what, ended.with_lines(said), {1}, r"^JUnit: failures [2-4]", r"toy-worse-mobile: missing: ")


def artifacts_exchanged(project: Project) -> Iterator[Finding]:
    """An artifact that is not what it is taken for may not be measured."""
    project.take_own_store()
    project.settings(ONE_TIER)
    project.pytest("--benchmark-only")
    entries, spare = project.entries(), project.beside / "spare"
    places = (entries["identity"], spare), (entries["worse"], entries["identity"]), (spare, entries["worse"])
    for source, target in places:
        source.rename(target)
    ended = project.pytest("--benchmark-only")
    percent = project.strategy("toy-identity-edge")["metrics"]["top1"]
    said = [f"top1 of toy-identity-edge: {percent:g} %"]
    what = "two entries of the store, swapped as folders"
    yield judged(what, ended.with_lines(said), {0}, r"its manifest is that of another entry", r"identity-edge: 100 %")
    project.write(
        "test_suite.py",
        "import onnx\n\ndef test_strategy(trial, artifact):\n    trial()\n"
        "    path = artifact.entry.folder / 'model.onnx'\n    replaced = onnx.load(path)\n"
        "    replaced.doc_string += 'another'  # answers as before\n    onnx.save(replaced, path)\n",
    )
    ended = project.pytest("--benchmark-only", "--edgeai-operators=identity")
    yield judged(
        "model.onnx replaced between two trials", ended, {1}, r"has loaded files of .* other than the artifact"
    )
    project.write("test_suite.py", "def test_strategy(trial):\n    trial()\n")
    project.settings(ONE_TIER + "[budgets.accuracy_floor.operators]\nworse = 99\n")
    yield judged(
        "an accuracy below its floor", project.pytest("--benchmark-only"), {1}, r"worse-edge: fail: .*floor 99"
    )


def int8_of_another_processor(project: Project) -> Iterator[Finding]:
    """The processor of the builder decides nothing, and 8 bits on a tier that saturates are a remark."""
    project.write("conftest.py", QUANTIZED)
    names = ("sptq_on_vnni", "sptq_on_avx2")
    operators = "".join(
        f'\n[operator_parameters.{name}]\nreduce_range = REDUCED\nengine = "neural-compressor"\n' for name in names
    )
    settings = ONE_TIER.replace("replicates = 2", "replicates = 1").replace('"toy"', '"images"')
    settings = settings.replace('"identity", "worse"', '"identity", ' + ", ".join(f'"{name}"' for name in names))
    for reduced in ("false", "true"):
        project.settings(settings + operators.replace("REDUCED", reduced))
        project.take_own_store()
        ended = project.pytest("--benchmark-only")
        said = []
        for name, folder in sorted(project.entries().items()):
            if name in names:
                document = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
                told = (
                    document["recipe"]["operator"]["parameters"]["reduce_range"],
                    document["provenance"]["reduce_range"],
                )
                said.append(f"{name}: reduce_range {told[0]} in its recipe, {told[1]} in its provenance; ")
                said[-1] += bits_of_weights(folder)
        remark = r"int8 on tier edge: sums may saturate"
        bits = "7 bits" if reduced == "true" else "8 bits"
        wanted = [rf"{name}: reduce_range {reduced.title()} .*{reduced.title()} .*{bits}" for name in names]
        yield judged(
            f"sptq built on processors with and without VNNI, reduce_range = {reduced}, and run on a tier with AVX2",
            ended.with_lines(said),
            {0},
            *wanted,
            *([remark] if reduced == "false" else []),
            never=remark if reduced == "true" else "",
        )


def forged_spans(project: Project) -> Iterator[Finding]:
    """Spans that cannot be make a trial invalid; what a server does not tell is absent."""
    project.take_own_store()
    project.settings(ONE_TIER)
    project.pytest("--benchmark-only", "--edgeai-operators=identity")
    repository = project.beside / "models"
    shutil.copytree(project.entries()["identity"], repository / "toy-identity")
    shared = PROCESSES.replace('"process"', '"remote"')
    head = 'models = ["toy"]\noperators = ["identity"]\ntiers = ["edge"]\n'
    for told, said in (
        ('compute;dur=-5000;desc="edge"', "compute of edge is negative"),
        ('compute;dur=1e15;desc="edge"', r"compute of edge is 1e\+12 s, in an exchange of "),
        ('compute;dur=soon;desc="edge"', "compute of edge is not a number"),
        (None, ""),
    ):
        with forged_server(repository, told, ROOT) as url:
            project.settings(head + shared + f'\n[topology.tiers.edge]\nurl = "{url}"\n')
            ended = project.pytest("--benchmark-only")
        if told is not None:
            yield judged(f"a remote server tells {told}", ended, {1}, said, r"nothing was measured")
            continue
        spans = sorted(project.strategy("toy-identity-edge")["spans_s"])
        ended = ended.with_lines([f"spans of toy-identity-edge: {spans}"])
        what = "a remote server tells no spans, over a link that is not ours"
        wanted = r"edgeai: tiers .*edge at http.*, its link as it is", r"spans of toy-identity-edge: .*exchange"
        yield judged(what, ended, {0}, *wanted, never=r"links mobile-edge|spans of .*compute|\b0\.00 ms")


def renamed_identity(project: Project) -> Iterator[Finding]:
    """An operator that is the baseline under another name is neither faster nor slower."""
    project.write(
        "conftest.py",
        "from benchmarks.provocation_toys import Renamed\n" + CONFTEST.replace("toy_models.Slow", "Renamed"),
    )
    project.settings(ONE_TIER)
    ended = project.pytest("--benchmark-only", "--edgeai-operators=identity,renamed", "--edgeai-replicates=10")
    what = "an operator that promises speed and is a renamed identity, ten replicates"
    row = project.strategy("toy-renamed-edge")
    ended = ended.with_lines([f"toy-renamed-edge: {row['verdict']}: {row['reason']}"])
    said = r"toy-renamed-edge: pass: whether it computes faster is inconclusive"
    yield judged(what, ended, {0}, said, never="no benefit")


def costs_of_cuts(project: Project) -> Iterator[Finding]:
    """What cuts cost is taken from an example, weights in subgraphs count, and what ties a graph is said."""
    from pytest_edgeai.partition.choosing import halves
    from pytest_edgeai.partition.cuts import what_ties
    from pytest_edgeai.partition.running import cuts_of

    _, _, cuts = cuts_of(shapes.unet(project.path / "unet.onnx"), {"image": np.ones((1, 3, 64, 64), np.float32)})
    said = f"{cuts[0].crossing_bytes} bytes cross at {cuts[0].name!r}"
    what = "a U-Net whose height and width are dynamic, with an example of 64 × 64"
    yield Finding(what, None, (said,), cuts[0].crossing_bytes == 262_144)
    example = {"x": np.ones((1, 320), np.float32)}
    _, _, cuts = cuts_of(shapes.loop(project.path / "loop.onnx"), example)
    sizes = halves(cuts)[0].size_bytes
    said = f"halves of {sizes[0] / 1e3:.0f} + {sizes[1] / 1e3:.0f} kB"
    yield Finding("`half` of a graph with a Loop whose body has a weight", None, (said,), min(sizes) > 0)
    _, graph, cuts = cuts_of(shapes.tied(project.path / "tied.onnx"), {"x": np.ones((1, 128), np.float32)})
    said = what_ties(graph)
    yield Finding("a graph that cannot be cut", None, (said,), not cuts and "'shared'" in said)


def full_disk(project: Project) -> Iterator[Finding]:
    """A trial that could not be written was not made."""
    project.write("test_suite.py", FULL_IN_TWO_TRIALS)
    ended = project.pytest("--benchmark-only")
    rows = project.samples()
    whole = all(float(row["latency_s"]) > 0 for row in rows)
    ended = ended.with_lines(
        [f"samples.csv: {len(rows)} rows of 6 trials, {'all' if whole else 'not all'} of them whole"]
    )
    what = "files can grow no further during two of eight trials (RLIMIT_FSIZE)"
    said = r"its samples were not kept: .*File too large", r"2 failed, 6 passed", r"60 rows of 6 trials, all of them"
    yield judged(what, ended, {1}, *said, never=r"edgeai: \d pass \(green\)")


def silently_passed(project: Project) -> Iterator[Finding]:
    """What is not judged is said."""
    project.settings(SETTINGS + GATE + '[[budgets.latency]]\nstrategies = "toy-*-moon"\nmax_median_s = 1e-9\n')
    ended = project.pytest("--benchmark-only")
    yield judged("a latency budget for a tier that there is not", ended, {4}, r"budgets\.latency: .*toy-\*-moon")
    project.settings(SETTINGS + GATE)
    project.git("init", "-q", "-b", "main")
    project.git("add", "conftest.py")
    project.git("commit", "-qm", "one")
    project.write("conftest.py", CONFTEST + "# a change that is not committed\n")
    session = project.save("dirty")
    ended = project.pytest("--benchmark-only", "--edgeai-compare=HEAD")
    what = "--edgeai-compare HEAD, of which the only session was saved with changes that are not committed"
    yield judged(what, ended, {0, 1}, r"was saved with changes that were not committed")
    project.save_changed(session, "blind", forget_accuracies)
    ended = project.edgeai("compare", "blind", "dirty")
    yield judged("a saved session without accuracies", ended, {1}, r"toy-worse-edge: incomparable: .*accuracy")
    rows = [f"toy,{operator},edge,{run},{0.01 + 0.001 * run}" for operator in ("a", "b") for run in range(5)]
    text = "\n".join(["model,operator,tier,run,latency_s", *rows, *rows]) + "\n"
    ended = project.edgeai("analyze", str(project.write("latencies.csv", text)), "--json", "analysis.json")
    document = json.loads((project.path / "analysis.json").read_text(encoding="utf-8"))
    (table,) = document["tables"]
    pair = table["pairs"][0]
    effects = (
        f"epsilon² {table['kruskal']['epsilon_squared']:.2f}, delta {pair['delta_low']:.2f} to {pair['delta_high']:.2f}"
    )
    what = "analyze of a file in which every row is there twice"
    yield judged(what, ended.with_lines([effects]), {0}, r"caution: 10 rows repeat others", r"epsilon² .*, delta ")


POINTS: Mapping[int, tuple[str, Point]] = {
    1: ("budgets dropped", budgets_dropped),
    2: ("inconclusive is green", inconclusive_comparisons),
    3: ("a slowdown of everything", everything_slower),
    4: ("a slowdown of some requests", some_requests_slow),
    5: ("calibration on what it was tuned on", calibration),
    6: ("nothing measured", nothing_measured),
    7: ("JUnit green, session red", junit_green),
    8: ("artifacts are trusted", artifacts_exchanged),
    9: ("int8 depends on the builder's processor", int8_of_another_processor),
    10: ("a remote server's spans are believed", forged_spans),
    11: ("no benefit by two medians", renamed_identity),
    12: ("costs of cuts", costs_of_cuts),
    13: ("a full disk", full_disk),
    14: ("silently passed", silently_passed),
}


def main() -> int:
    """Provoke; the exit code is 1 where something is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=_numbers, default=tuple(POINTS), metavar="1,6", help="points (default: all)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="provocations-store-") as store:
        wrong = _shown("-", "control", control, Path(store))
        for number in options.only:
            wrong += _shown(str(number), *POINTS[number], Path(store))
    print(f"\n{wrong} provocations are not answered as they should be" if wrong else "\nall is as it should be")
    return 1 if wrong else 0


def _shown(number: str, title: str, point: Point, store: Path) -> int:
    """Provoke a point and print what was found; how many findings are not as they should be."""
    started_s = time.monotonic()
    print(f"\n{number}. {title}", flush=True)
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="provocation-") as folder:
        try:
            for found in point(Project(Path(folder), store)):
                code = "" if found.code is None else f"; exit code {found.code}"
                print(f"   provoked: {found.provoked}{code}; {JUDGEMENTS[found.well]}")
                for line in found.said:
                    print(f"      {line}", flush=True)
                wrong += found.well is False
        except (ProvocationError, OSError, LookupError, ValueError) as error:
            print(f"   NOT AS IT SHOULD BE: {type(error).__name__}: {error}")
            wrong += 1
    print(f"   ({time.monotonic() - started_s:.0f} s)", flush=True)
    return wrong


def _numbers(text: str) -> tuple[int, ...]:
    numbers = tuple(int(one) for one in text.split(","))
    if unknown := [one for one in numbers if one not in POINTS]:
        raise argparse.ArgumentTypeError(f"there is no point {unknown[0]}; points are 1 to {max(POINTS)}")
    return numbers


def _some_inputs_slower(seed: int) -> dict[str, tuple[Any, Any]]:
    sides = some_requests_slower(seed, 0.0, 1.0)
    sides["s0"][1][:, [2, 7]] *= 10
    return sides


if __name__ == "__main__":
    sys.exit(main())
