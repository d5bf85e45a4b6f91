"""Writes the skeletons of the subject models' graphs: what torch exports, without the weights.

    python -m models.skeletons

They are to be written again when a network has changed its architecture (and need not be when it was only trained
again). With the same libraries, the same files are written every time.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from models import checkpoint
from pytest_edgeai.subjects import SubjectModel

NAMES: Final = ("resnet", "resnext", "bert", "roberta", "mobilenet")
_BATCH: Final = 2  # the exporter takes a batch of 1 for a constant


def write(name: str) -> Path:
    """Export a subject model, take its weights out of the graph, and see that they fit in again.

    Parameters
    ----------
    name
        Of the subject model.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    GraphError
        The weights on disk are not those of the network.
    """
    import onnx

    from models.lessons import graph_inputs
    from pytest_edgeai.operators.export import export
    from pytest_edgeai.operators.identity import IdentityParameters
    from pytest_edgeai.subjects import skeletons

    subject: SubjectModel = importlib.import_module(f"models.{name}").SUBJECT
    tensors = graph_inputs(subject, subject.examples.generate("calibration")[:_BATCH])
    example = {one: tensor.numpy() for one, tensor in zip(subject.graph_inputs, tensors, strict=True)}
    path = checkpoint.skeleton_of(name)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / path.name
        export(subject.trained(), example, whole, IdentityParameters().opset, fold=False)
        graph = onnx.load(whole)
        skeletons.empty(graph, checkpoint.path_of(name))
        graph.producer_version = graph.producer_version.partition("+")[0]  # the same by every build of torch
        path.write_bytes(graph.SerializeToString(deterministic=True))
        skeletons.fill(path, whole)
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the skeletons of the subject models that the command line names, or of all."""
    parser = argparse.ArgumentParser(prog="python -m models.skeletons", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(NAMES)}; all if none is given")
    names = parser.parse_args(arguments).names or NAMES
    unknown = set(names) - set(NAMES)
    if unknown:
        parser.error(f"no subject model is called {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    for name in names:
        path = write(name)
        print(f"{name}: {path.stat().st_size / 1000:.0f} kB in {path.parent.name}/{path.name}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
