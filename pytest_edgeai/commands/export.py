"""`edgeai export`: write an artifact of the store as a model repository; the command line and what it says."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_edgeai.collection.completion import Names, artifacts, complete

if TYPE_CHECKING:
    from pytest_edgeai.commands.repositories import Written

CLIENT = "client"
"""What Triton ignores in a model's folder, as it does all whose name is no number: what runs at the client."""
_USUAL_BATCH = 4  # the largest batch that Triton takes for an ONNX model without a configuration

DESCRIPTION = """Write an artifact, which a session or --edgeai-prepare has built, as a model repository.

STRATEGY is a model and an operator, as in reports: bert-sptq. The artifact is that of the newest report which has it;
where no report has it, the only one of that name in the store.
"""
EPILOG = """layouts:
  plain   as the project's own server takes it, pre- and post-processing included:
            DIR/bert-sptq/model.onnx, pipeline.json and their files
            python -m pytest_edgeai.serving --repository DIR
          of an artifact in parts, a repository for each tier: DIR/part0/bert-sptq/…, DIR/part1/bert-sptq/…
  triton  as Triton Inference Server takes it, the graph alone; the client does the pre- and post-processing:
            DIR/bert-sptq/config.pbtxt
            DIR/bert-sptq/1/model.onnx
            DIR/bert-sptq/client/pipeline.json and its files, which Triton ignores
          of an artifact in parts, a model for each: DIR/bert-sptq.part0/…, DIR/bert-sptq.part1/…

DIR may hold other models. exit code: 0 written, 1 DIR cannot be written, 2 nothing can be written as asked
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line of `edgeai export`."""
    add = parser.add_argument
    complete(add("strategy", metavar="STRATEGY", help="model and operator, as in reports: bert-sptq"), Names(artifacts))
    add("target", metavar="DIR", type=Path, help="the model repository to write into; made when needed")
    add("--layout", choices=("plain", "triton"), default="plain", help="for which server (default: %(default)s)")
    add(
        "--max-batch-size",
        type=_batch,
        default=_USUAL_BATCH,
        metavar="N",
        help="largest batch for Triton, of a graph that takes any (default: %(default)s, as Triton's own is)",
    )
    add("--force", action="store_true", help="replace the folders of this artifact that are in DIR already")
    add("--digest", default="", metavar="HEX", help="the artifact whose digest begins so, whatever reports have")
    add("--root", type=Path, default=Path(), metavar="DIR", help="the project, whose settings count (default: here)")
    add("--store", type=Path, metavar="DIR", help="artifact store (default: as pytest would use it)")


def run(options: argparse.Namespace) -> int:
    """Write an artifact; the exit code."""
    from pytest_edgeai.commands.finding import find_artifact
    from pytest_edgeai.commands.repositories import export
    from pytest_edgeai.errors import EdgeAIError
    from pytest_edgeai.settings import load_settings
    from pytest_edgeai.store import Store, default_root

    try:
        settings = load_settings(options.root, {})
        named = options.store or (None if settings.store is None else options.root / settings.store)
        store = Store(named or default_root())
        artifact, source = find_artifact(options.strategy, store, options.root / settings.report, options.digest)
        written = export(artifact, options.target, options.layout, options.max_batch_size, force=options.force)
    except EdgeAIError as error:
        print(f"error: nothing was written: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename or options.target} cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    print(f"{artifact.name} is artifact {artifact.entry.digest[:12]} of {source}")
    for one in written:
        print(f"wrote {one.folder}")
    explain = _explain_triton if options.layout == "triton" else _explain_plain
    for sentence in explain(written, options.target):
        print(sentence)
    return 0


def _explain_plain(written: Sequence[Written], target: Path) -> Iterator[str]:
    """Say what runs where in the layout plain, and how to start it."""
    if any(one.pipeline.preprocess or one.pipeline.postprocess for one in written):
        yield "The server runs the graph with its pre- and post-processing: clients send what the pipeline takes."
    else:
        yield "The server runs the graph, and there is no pre- or post-processing: clients send the graph's tensors."
    for one in reversed(written):  # a part can only be asked when the next one is there
        upstream = "" if one.pipeline.onward is None else " --upstream HOST:PORT"
        repository = shlex.quote(str(target / one.piece.label))
        command = f"python -m pytest_edgeai.serving --repository {repository}{upstream}"
        yield f"To serve {one.piece.label or 'it'}: {command}"
    if written[0].pipeline.onward is not None:
        yield "HOST:PORT is where the next part is served; clients talk to the first."
    yield from _explain_nodes(written)


def _explain_triton(written: Sequence[Written], target: Path) -> Iterator[str]:
    """Say what runs where in the layout triton, and how to start it."""
    yield "Triton runs the graph: clients send and get its tensors."
    for one in written:
        for step, name, when in (
            (one.pipeline.preprocess, "preprocess", "before"),
            (one.pipeline.postprocess, "postprocess", "after"),
        ):
            if step is not None:
                path = one.folder / CLIENT / "pipeline.json"
                yield f"The client does the step {name} ({step.kind}) of {path} {when} it asks {one.folder.name}."
    if written[0].pipeline.onward is not None:
        yield "The client asks part after part: the outputs of each are the inputs of the next, by their names."
    yield from _explain_nodes(written)
    yield f"To serve it: tritonserver --model-repository={shlex.quote(str(target.absolute()))}"
    yield "MLServer takes the folder too, with MLSERVER_MODEL_IMPLEMENTATION naming a runtime for ONNX."


def _explain_nodes(written: Sequence[Written]) -> Iterator[str]:
    if written[0].piece.is_node:
        yield "Which nodes the client asks, and how it combines their answers, is in aggregation.json."


def _batch(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 2**31 - 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)
