"""Two commits of this repository, each compared with the one before it by `--edgeai-against`, on real models.

The repository is cloned. One commit changes a comment of `sptq`, and the session against the commit before it has to be
green. The next one leaves the largest third of the layers float, and the session has to be red for `sptq` and for
nothing else. Printed are each session's verdicts and how long it took; the exit code is 1 where one ends otherwise.

How to run it: README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pytest_edgeai.measure.host import load_average

ROOT: Final = Path(__file__).parents[1]
SPTQ: Final = "pytest_edgeai/operators/sptq.py"
GRAPHS: Final = "pytest_edgeai/operators/neural_compressor/graphs.py"
LARGEST: Final = '''

def _largest(model: Any) -> dict[str, Any]:
    """Leave the largest third of the layers float."""
    sizes = {one.name: int(np.prod(one.dims)) for one in model.graph.initializer}
    layers = [node for node in model.graph.node if node.op_type in ("MatMul", "Gemm", "Conv")]
    layers.sort(key=lambda node: -max((sizes.get(name, 0) for name in node.input), default=0))
    keep_float = {"weight": {"dtype": ["fp32"]}, "activation": {"dtype": ["fp32"]}}
    return {node.name: keep_float for node in layers[: len(layers) // 3]}
'''


def main(arguments: Sequence[str]) -> int:
    """Make both commits, and measure each; 1 where a session does not end as it should."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="resnet,bert", metavar="A,B", help="(default: %(default)s)")
    parser.add_argument("--tiers", default="edge", metavar="A,B", help="(default: %(default)s)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="two-commits-") as scratch:
        clone = Path(scratch) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        _replace(clone / SPTQ, "from __future__", "# Quantized layer by layer.\nfrom __future__")
        _commit(clone, "A comment")
        comment_is_right = _measure(clone, options.models, options.tiers, set())
        graphs = clone / GRAPHS
        given = "            op_type_dict=None if"
        _replace(graphs, given, f"            op_name_dict=_largest(model),\n{given}")
        graphs.write_text(graphs.read_text(encoding="utf-8") + LARGEST, encoding="utf-8")
        _commit(clone, "sptq leaves the largest layers float")
        return 0 if _measure(clone, options.models, options.tiers, {"sptq"}) and comment_is_right else 1


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    if text.count(old) != 1:
        raise SystemExit(
            f"{path.name} is not as this script knows it: {old.strip()!r} is there {text.count(old)} times"
        )
    path.write_text(text.replace(old, new), encoding="utf-8")


def _commit(clone: Path, message: str) -> None:
    author = ["-c", "user.name=two commits", "-c", "user.email=two@commits.invalid"]
    subprocess.run(["git", *author, "commit", "--quiet", "--all", f"--message={message}"], cwd=clone, check=True)


def _measure(clone: Path, models: str, tiers: str, slower: set[str]) -> bool:
    """Measure the working copy against the commit before it; whether these operators are worse, and no others."""
    chosen = [f"--edgeai-models={models}", "--edgeai-operators=identity,sptq", f"--edgeai-tiers={tiers}"]
    command = [sys.executable, "-m", "pytest", "suites/", "--benchmark-only", "--edgeai-backend=process", *chosen]
    load, began = load_average(), time.monotonic()
    code = subprocess.run(
        [*command, "--edgeai-against=HEAD~1"], cwd=clone, env={**os.environ, "PYTHONPATH": str(clone)}, check=False
    ).returncode
    took_s = time.monotonic() - began
    results = json.loads((clone / "reports" / "latest" / "results.json").read_text(encoding="utf-8"))
    outcomes = {row["strategy"]: row["outcome"] for row in results["comparison"]["strategies"]}
    worse = {name for name, outcome in outcomes.items() if outcome != "pass"}
    expected = {name for name in outcomes if name.split("-")[1] in slower}
    is_right = worse == expected and (code == 0) == (not expected)
    print(
        f"{'right' if is_right else 'WRONG'}: exit code {code} after {took_s:.0f} s, load {load:.1f} before; "
        f"worse: {', '.join(sorted(worse)) or 'nothing'}",
        flush=True,
    )
    return is_right


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
