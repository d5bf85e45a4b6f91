"""Plant a commit that is slower or less accurate in a history, and let `edgeai bisect` find it, many times.

Each history has 16 commits of a toy operator whose tiers are processes: comments, changes of the artifact that cost
nothing, commits that cannot be built, and one from which on it is slower (by a fifth to a half of its products) or
forgets a class. A seed decides where what is.

How to run it: README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from provocation_project import ROOT, Project

from pytest_edgeai.measure.host import load_average
from tests.plugin.conftest import CONFTEST, PROCESSES
from tests.plugin.test_gate_commits import OPERATOR

COMMITS: Final = 16
STRATEGY: Final = "toy-worse-edge"
DETOURS: Final = 20
KINDS: Final = ("latency", "accuracy")
AIM: Final = 30 / 32
_SETTINGS: Final = (
    'models = ["toy"]\noperators = ["identity", "worse"]\ntiers = ["edge"]\n'
    + PROCESSES.replace("replicates = 1", "replicates = 8").replace("inputs = 3", "inputs = 8")
    + "\n[gate]\nmax_replicates = 16\n"
)


def main() -> int:
    """Search all histories; the exit code is 1 where too few commits were found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--histories", type=int, default=32, metavar="N", help="how many (default: %(default)s)")
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="a line for each history is added to it, and histories that it has are not searched again",
    )
    parser.add_argument("--kind", choices=KINDS, help="only histories in which this gets worse (default: both)")
    options = parser.parse_args()
    kept = options.json is not None and options.json.exists()
    lines = options.json.read_text(encoding="utf-8").splitlines() if kept else []
    outcomes = {one["seed"]: one for one in map(json.loads, lines)}
    with tempfile.TemporaryDirectory(prefix="bisect-") as scratch:
        for seed in range(options.histories):
            if seed in outcomes or options.kind not in (None, KINDS[seed % 2]):
                continue
            folder = Path(scratch) / str(seed)
            folder.mkdir()
            outcomes[seed] = outcome = search(seed, folder, Path(scratch) / "store")
            print(json.dumps(outcome), flush=True)
            if options.json is not None:
                with options.json.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(outcome) + "\n")
    return report(list(outcomes.values())[: options.histories])


def operators(seed: int) -> tuple[str, int, float, list[str]]:
    """What a history is made of: what gets worse, at which commit from 1, by which share, and the operator at each.

    The first one is that of the commit before.
    """
    chance = random.Random(seed)
    kind, guilty, share = KINDS[seed % 2], chance.randint(1, COMMITS), chance.choice((0.2, 0.3, 0.5))
    scale = 1.0
    versions = []
    for number in range(COMMITS + 1):
        fate = chance.random() if number not in (0, guilty, guilty - 1, COMMITS) else 0.0
        scale += 1e-3 * (fate > 0.5)
        worse = number >= guilty
        detours = round(DETOURS * (1 + share)) if worse and kind == "latency" else DETOURS
        text = OPERATOR.replace("DETOURS = 0", f"DETOURS = {detours}  # {number}")
        text = text.replace("np.eye(width, CLASSES)", f"{scale!r} * np.eye(width, CLASSES)")
        if worse and kind == "accuracy":
            text = text.replace("KEPT = CLASSES", "KEPT = CLASSES - 1")
        if fate > 0.9:
            text = text.replace("width = 1024", "raise ValueError('no width')")
        versions.append(text)
    return kind, guilty, share, versions


def search(seed: int, folder: Path, store: Path) -> dict[str, Any]:
    """Make a history in a folder and search it."""
    project = Project(folder, store)
    kind, guilty, share, versions = operators(seed)
    with_rounded = CONFTEST.replace("toy_models.Worse", "rounded.Rounded").replace("import", "import rounded, ", 1)
    project.write("conftest.py", with_rounded)
    project.write(".gitignore", "reports/\n__pycache__/\n")
    project.settings(_SETTINGS)
    project.git("init", "-q", "-b", "main")
    for number, text in enumerate(versions):
        project.write("rounded.py", text)
        project.git("add", ".")
        project.git("commit", "-qm", str(number))
        if number == 0:
            project.git("tag", "good")
    own = {"PYTHONPATH": str(ROOT), "EDGEAI_STORE": str(store)}
    command = [sys.executable, "-m", "pytest_edgeai.commands.cli", "bisect", "good", "--strategy", STRATEGY, "--json"]
    started, before = time.monotonic(), load_average()
    done = subprocess.run(
        command, cwd=project.path, env={**os.environ, **own}, capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"history {seed}: edgeai bisect exited with {done.returncode}: {done.stderr}")
    found = json.loads(done.stdout)
    subjects = [int(one["subject"]) for one in found["suspects"]]
    return {
        "seed": seed,
        "kind": kind,
        "share": share if kind == "latency" else None,
        "guilty": guilty,
        "suspects": subjects,
        "confirmed": found["confirmed"],
        "measured": sum(one["measured_s"] > 0 for one in found["answers"]),
        "seconds": round(time.monotonic() - started, 1),
        "load": before,
    }


def report(outcomes: Sequence[Mapping[str, Any]]) -> int:
    """Print the table and whether the aim is met; the exit code."""
    from scipy.stats import binomtest

    print("| got worse in | histories | found | another one | none | measurements each | minutes each |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    right = [one["suspects"] == [one["guilty"]] for one in outcomes]
    for name in (*KINDS, "either"):
        mine = [(one, well) for one, well in zip(outcomes, right, strict=True) if name in (one["kind"], "either")]
        if not mine:
            continue
        count, found = len(mine), sum(well for _, well in mine)
        wrong = sum(len(one["suspects"]) == 1 and not well for one, well in mine)
        interval = binomtest(found, count).proportion_ci(method="wilson")
        measured = sum(one["measured"] for one, _ in mine) / count
        minutes = sum(one["seconds"] for one, _ in mine) / count / 60
        print(
            f"| {name} | {count} | {found} ({interval.low:.0%} to {interval.high:.0%}) | {wrong} | "
            f"{count - found - wrong} | {measured:.1f} | {minutes:.1f} |"
        )
    met = sum(right) >= AIM * len(right)
    print(f"aim: the right commit in at least {AIM:.0%}: {'met' if met else 'not met'} ({sum(right)} of {len(right)})")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
