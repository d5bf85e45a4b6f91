"""How trials fare on hosts that are not idle: valid at first, made again, invalid at the end, and wrong.

Sessions of the suite run as subprocesses under four conditions: idle, beside four busy loops of equal priority, beside
bursts (one second busy, one idle), and on a host that is slow to wake up (`slow_wake.c`). A trial is wrong where it is
valid and its median is more than 25 % off the median of its strategy's trials on the idle host.

    python benchmarks/busy_host.py --trials 100 --models bert,resnet
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from pytest_edgeai.measure.host_checks import wake_up_s

ROOT = Path(__file__).parent.parent
SHIM = Path(__file__).with_name("slow_wake.c")
LOOPS = 4
WAKE_US = 1000
WRONG = 0.25
_END_S = 30.0

Environment: TypeAlias = dict[str, str]

# Each ends by itself when whoever started it does, which closes its input.
_LOOP = """
import os, sys, threading, time
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
bursts = sys.argv[1] == "bursts"
while True:
    if bursts and int(time.time()) % 2:
        time.sleep(1 - time.time() % 1)
    for _ in range(10000):
        pass
"""


class SkippedError(RuntimeError):
    """A condition that cannot be made here; says why."""


@dataclass(frozen=True)
class Fate:
    """What became of the trials of a session.

    Parameters
    ----------
    trials
        How many were to be made.
    valid_at_first
        Those that were valid when they were made for the first time.
    retried
        Those that were made again.
    invalid
        Those that were invalid at the end.
    wrong
        Ids of those that are valid and too far off the idle median.
    reasons
        The causes of all invalid attempts, with their number.
    last_line
        What the session said at its end.
    """

    trials: int
    valid_at_first: int
    retried: int
    invalid: int
    wrong: tuple[str, ...]
    reasons: Mapping[str, int]
    last_line: str


def main() -> int:
    """Measure and print; exit code 1 where a trial is wrong or a session did not come to its end."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    fates: dict[str, Fate] = {}
    usual_s: dict[str, float] = {}
    code = 0
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    print(f"commit {commit.strip()}, load {os.getloadavg()[0]:.2f}, wakes up in {wake_up_s() * 1e3:.2f} ms", flush=True)
    for name in options.conditions:
        try:
            with CONDITIONS[name]() as environment:
                document, last_line = _session(options, environment)
        except SkippedError as error:
            print(f"{name}: skipped: {error}", flush=True)
            continue
        except subprocess.TimeoutExpired:
            print(f"{name}: ended after {options.timeout:g} s", flush=True)
            code = 1
            continue
        if name == "idle":
            usual_s = _medians_s(document["trials"])
        fates[name] = _fate(document["trials"], usual_s, last_line)
        print(_line(name, fates[name]), flush=True)
        for reason, number in fates[name].reasons.items():
            print(f"    {number} × {reason}", flush=True)
        code = code or int(bool(fates[name].wrong))
    if options.json is not None:
        options.json.write_text(json.dumps({name: asdict(one) for name, one in fates.items()}, indent=1) + "\n")
    return code


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--trials", type=int, default=100, metavar="N", help="at least so many a condition (default: %(default)s)")
    add("--models", default="bert,resnet", metavar="A,B", help="(default: %(default)s)")
    add("--operators", default="identity,sptq", metavar="A,B", help="(default: %(default)s)")
    add("--tiers", default="mobile,edge,cloud", metavar="A,B", help="(default: %(default)s)")
    add("--backend", default="process", help="(default: %(default)s)")
    add("--conditions", type=_names, default=tuple(CONDITIONS), metavar="A,B", help=f"of {', '.join(CONDITIONS)}")
    add("--timeout", type=float, default=3600.0, metavar="S", help="of a session (default: %(default)s)")
    add("--json", type=Path, metavar="FILE", help="write the figures")
    return parser.parse_args()


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    unknown = [name for name in names if name not in CONDITIONS]
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no condition {unknown[0]!r}, only {', '.join(CONDITIONS)}")
    return names


@contextlib.contextmanager
def _idle() -> Iterator[Environment]:
    yield {}


@contextlib.contextmanager
def _loops(kind: str) -> Iterator[Environment]:
    """Busy loops in a process group of their own."""
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(LOOPS):
            group = processes[0].pid if processes else 0
            command = [sys.executable, "-I", "-S", "-c", _LOOP, kind]
            processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, process_group=group))
        yield {}
    finally:
        for process in processes:
            process.kill()
            process.communicate()


@contextlib.contextmanager
def _slow_to_wake() -> Iterator[Environment]:
    """Whoever waits wakes up a millisecond late, by a library that is loaded before all others."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        raise SkippedError("there is no C compiler (cc), or this is not Linux")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "slow_wake.so"
        command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(SHIM), "-ldl"]
        compiled = subprocess.run(command, capture_output=True, text=True, check=False)
        if compiled.returncode:
            raise SkippedError(f"{SHIM.name} cannot be compiled: {compiled.stderr.strip().splitlines()[-1]}")
        yield {"LD_PRELOAD": str(library), "EDGEAI_WAKE_US": str(WAKE_US)}


CONDITIONS: Mapping[str, Callable[[], contextlib.AbstractContextManager[Environment]]] = {
    "idle": _idle,
    "loops": lambda: _loops("loops"),
    "bursts": lambda: _loops("bursts"),
    "slow-wake": _slow_to_wake,
}


def _session(options: argparse.Namespace, environment: Environment) -> tuple[dict[str, Any], str]:
    """Run a session; its results and what it said last."""
    strategies = math.prod(len(given.split(",")) for given in (options.models, options.operators, options.tiers))
    with tempfile.TemporaryDirectory(prefix="edgeai-busy-host-") as folder:
        command = [sys.executable, "-m", "pytest", "suites/", "--benchmark-only", "-q", "-p", "no:cacheprovider"]
        command += ["--edgeai-models", options.models, "--edgeai-operators", options.operators]
        command += ["--edgeai-tiers", options.tiers, "--edgeai-backend", options.backend]
        command += ["--edgeai-replicates", str(math.ceil(options.trials / strategies)), "--edgeai-report", folder]
        said = _run(command, {**os.environ, **environment}, options.timeout)
        results = Path(folder) / "latest" / "results.json"
        if not results.is_file():
            raise SystemExit(f"the session left no results:\n{said[-3000:]}")
        last_line = next((line for line in reversed(said.splitlines()) if line.startswith("edgeai: ")), "")
        return json.loads(results.read_text(encoding="utf-8")), last_line


def _run(command: Sequence[str], environment: Environment, timeout_s: float) -> str:
    """Run a command in a process group of its own, all of which has ended afterwards."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
    )
    try:
        return process.communicate(timeout=timeout_s)[0]
    except BaseException:
        process.send_signal(signal.SIGINT)  # it ends what it has started
        try:
            process.communicate(timeout=_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        raise


def _attempts(trials: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """The attempts at each trial in the order in which they were made."""
    attempts: dict[str, list[Mapping[str, Any]]] = {}
    for trial in sorted(trials, key=lambda one: int(one["order"])):
        attempts.setdefault(trial["id"], []).extend([*trial.get("attempts", ()), trial])
    return attempts


def _fate(trials: Sequence[Mapping[str, Any]], usual_s: Mapping[str, float], last_line: str) -> Fate:
    attempts = _attempts(trials)
    last = {name: made[-1] for name, made in attempts.items()}
    reasons = Counter(_kind(one) for made in attempts.values() for one in made if one["status"] != "valid")
    return Fate(
        trials=len(attempts),
        valid_at_first=sum(made[0]["status"] == "valid" for made in attempts.values()),
        retried=sum(len(made) > 1 for made in attempts.values()),
        invalid=sum(one["status"] != "valid" for one in last.values()),
        wrong=tuple(name for name, one in last.items() if one["status"] == "valid" and _is_wrong(one, usual_s)),
        reasons=dict(reasons.most_common()),
        last_line=last_line,
    )


def _strategy(trial: Mapping[str, Any]) -> str:
    return f"{trial['model']}-{trial['operator']}-{trial['tier']}"


def _medians_s(trials: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The median of the medians of valid trials, by strategy."""
    medians: dict[str, list[float]] = {}
    for trial in trials:
        if trial["status"] == "valid":
            medians.setdefault(_strategy(trial), []).append(statistics.median(trial["latency_s"]))
    return {name: statistics.median(values) for name, values in medians.items()}


def _is_wrong(trial: Mapping[str, Any], usual_s: Mapping[str, float]) -> bool:
    usual = usual_s.get(_strategy(trial))
    return usual is not None and abs(statistics.median(trial["latency_s"]) / usual - 1) > WRONG


def _kind(trial: Mapping[str, Any]) -> str:
    """The beginning of a reason, without its figures, so that like reasons are counted together."""
    beginning = str(trial["reason"]).partition(":")[0].partition(";")[0]
    words = ["…" if any(letter.isdigit() for letter in word) else word for word in beginning.split()]
    return f"{trial.get('cause') or 'no cause'}: {' '.join(words)[:100]}"


def _line(name: str, fate: Fate) -> str:
    wrong = ", ".join(fate.wrong)
    return (
        f"{name:10} {fate.trials} trials: {fate.valid_at_first / fate.trials:.0%} valid at first, "
        f"{fate.retried} retried, {fate.invalid} invalid at the end, {len(fate.wrong)} wrong{wrong and ': '}{wrong}"
        f"\n    {fate.last_line}"
    )


if __name__ == "__main__":
    sys.exit(main())
