"""`edgeai init`: the three files that a project needs to measure an ONNX file, none of which it may have already."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Final

from pytest_edgeai.errors import EdgeAIError, SettingsError
from pytest_edgeai.settings_files import FILE_NAME, SHARED_NAME

if TYPE_CHECKING:
    import argparse

TEST: Final = "test_edgeai.py"
WORKFLOW: Final = ".github/workflows/edgeai.yml"
_TIERS: Final = ("mobile", "edge")

_SETTINGS_TEMPLATE: Final = Template("""\
# What pytest-edgeai measures and judges. Each setting that is not here has its default (docs/settings.md).

tiers = $tiers  # also "cloud"
operators = ["identity", "sptq"]  # the file as it is, and quantized to int8
profile = "quick"  # 5 trials of each strategy, each a fresh deployment that answers 10 requests

[subjects.$name]
graph = $graph
examples = $examples  # every fourth one calibrates operators, the others are validated on
metrics = $metrics  # budgets are about the first
$steps
$budget

# Limits of latency, size, memory and start, and ratios to identity (docs/usage.md):
# [[budgets.latency]]
# strategies = "*-edge"
# max_median_s = 0.040
# [[budgets.resources]]
# strategies = "*"
# max_size_bytes = "5 MB"
# max_cold_start_s = "300 ms"
# [[budgets.relative]]
# strategies = "*-sptq-*"
# max_ratio_to = "identity"
# size = 0.5
""")
_TEST_TEMPLATE: Final = '''\
"""Measures every strategy of edgeai.toml: model, operator and tier."""


def test_strategy(trial):
    trial()
'''
WORKFLOW_TEMPLATE: Final = """\
# Measures compressed models at each pull request, keeps the report and says on the pull request what it found.
name: edgeai

on:
  pull_request:
  workflow_dispatch:

permissions:
  contents: read
  pull-requests: write # for the comment; pull requests from forks do not get it, and do without

jobs:
  measure:
    runs-on: ubuntu-latest
    timeout-minutes: 60
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: "3.11"
      - run: pip install "pytest-edgeai[all]"
      # Artifacts are stored under the digest of all that decides them, so that an older store is never wrong.
      - uses: actions/cache@v4
        with:
          path: .edgeai/store
          key: edgeai-store-${{ runner.os }}-${{ github.run_id }}
          restore-keys: edgeai-store-${{ runner.os }}-
      - run: pytest --benchmark-only --edgeai-store .edgeai/store
      - name: Say what was found
        if: always() # a report says why something is not green
        env:
          GITHUB_TOKEN: ${{ github.token }}
        run: |
          edgeai comment >> "$GITHUB_STEP_SUMMARY"
          edgeai comment --post
      - uses: actions/upload-artifact@v4
        if: always()
        with:
          name: edgeai-report
          path: reports/
"""
_PERCENT_BUDGET: Final = """\
[budgets.accuracy_drop_pp]
default = 2.0  # how many percentage points worse than identity an operator may be"""
_OTHER_BUDGET: Final = """\
[budgets.metric_drop]
default = "2 %"  # how much worse than identity an operator may be; or a number in the unit of the metric"""
_STEPS: Final = """\
# Examples and answers are the graph's own inputs and outputs. A pipeline in between is described in docs/settings.md:
# preprocess = { kind = "image", ... }
# postprocess = { kind = "classification", input = "logits", k = 5 }
"""
_TEXT_STEPS: Final = """\
# Lines with "text" instead of "inputs" need the tokenizer, and the graph's inputs by what they take:
# preprocess = { kind = "text", input = "text", outputs = { ids = "input_ids" }, max_length = 128, sentences = 1 }
# assets = ["tokenizer.json"]
"""


class InitError(EdgeAIError):
    """Files that cannot be written, and why; nothing was written."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What is to be measured.

    Parameters
    ----------
    graph, examples
        Paths, relative to the current folder.
    metrics, tiers
        Names.
    """

    graph: Path
    examples: Path
    metrics: tuple[str, ...]
    tiers: tuple[str, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `edgeai init`."""
    parser.add_argument("folder", nargs="?", type=Path, default=Path(), metavar="DIR", help="the project (default: .)")
    parser.add_argument("--graph", type=Path, metavar="PATH", help="the ONNX file (default: the first one in DIR)")
    parser.add_argument(
        "--examples", type=Path, metavar="PATH", help="examples: .npz, .csv or .jsonl (default: the first one in DIR)"
    )
    parser.add_argument(
        "--metric",
        metavar="NAME[,NAME]",
        help="accuracy metrics; the first has a budget (default: by the examples)",
    )
    parser.add_argument("--tiers", metavar="NAME[,NAME]", help=f"what runs the model (default: {','.join(_TIERS)})")
    parser.add_argument("--yes", action="store_true", help="ask nothing: defaults for what is not given")


def run(options: argparse.Namespace) -> int:
    """Write a project's settings, its test and its CI workflow; existing files are never changed.

    Paths start at the current folder. Questions are asked on a terminal about what no option gives.
    """
    folder: Path = options.folder
    try:
        refuse_what_is_there(folder)
        complete = None not in (options.graph, options.examples, options.metric)
        if not (complete or options.yes or sys.stdin.isatty()):
            print(
                "error: nothing was written: there is no terminal to ask on; give --graph, --examples and --metric, "
                "or --yes for the defaults",
                file=sys.stderr,
            )
            return 2
        answers = ask(options, (lambda _, default: default) if options.yes else _asked)
        write(folder, contents(folder, answers))
    except EOFError:
        print("\nerror: nothing was written: the questions were not answered", file=sys.stderr)
        return 1
    except EdgeAIError as error:
        print(f"error: nothing was written: {error}", file=sys.stderr)
        return 1
    print(f"wrote {FILE_NAME}, {TEST} and {WORKFLOW} in {folder.resolve()}")
    top = next((one for one in (folder.resolve(), *folder.resolve().parents) if (one / ".git").exists()), None)
    if top is not None and top != folder.resolve():
        print(f"CI reads workflows in {top / '.github'}: move {WORKFLOW} there and run its steps in {folder}")
    there = "" if folder.resolve() == Path.cwd() else f"cd {shlex.quote(str(folder))} && "
    print(f"To see in seconds whether all fits:  {there}edgeai check")
    print(f"To measure:  {there}pytest --benchmark-only")
    return 0


def refuse_what_is_there(folder: Path) -> None:
    """Refuse a folder that has one of the files, or settings in its `pyproject.toml`.

    Raises
    ------
    InitError
        Names it.
    SettingsError
        `pyproject.toml` cannot be read.
    """
    from pytest_edgeai.settings_files import find_settings

    for name in (FILE_NAME, TEST, WORKFLOW):
        if os.path.lexists(folder / name):
            raise InitError(f"there is a file {folder / name} already")
    path, _ = find_settings(folder)
    if path is not None and path.parent == folder.resolve():
        raise InitError(f"there is a table [tool.edgeai] in {folder / SHARED_NAME} already")


def ask(options: argparse.Namespace, asked: Callable[[str, str], str]) -> Answers:
    """What options give, and for the rest the answers to questions.

    Parameters
    ----------
    options
        The command line.
    asked
        Takes a question and its default, and returns the answer.
    """
    graph = options.graph or Path(asked("Path of the ONNX file", _first(options.folder, "model.onnx", ".onnx")))
    examples = options.examples or Path(
        asked("Path of the examples (.npz, .csv or .jsonl)", _first(options.folder, "examples.npz", *_suffixes()))
    )
    metric = options.metric or asked("Metric", usual_metric(examples))
    tiers = _TIERS if options.tiers is None else _names(options.tiers)
    return Answers(graph, examples, _names(metric), tiers)


def usual_metric(examples: Path) -> str:
    """The metric that references suggest: classes, numbers, boxes, or none at all."""
    from pytest_edgeai.subjects import SubjectError
    from pytest_edgeai.subjects.files import FileExamples

    try:
        references = [one.reference for one in FileExamples(examples, examples, None)("validation")]
    except (SubjectError, KeyError):  # the images of a table cannot be read without knowing the graph's input
        return "accuracy"
    if not references or references[0] is None:
        return "cosine"
    if all(isinstance(one, Mapping) for one in references):
        return "map"
    return "mae" if any(isinstance(one, float) for one in references) else "accuracy"


def contents(folder: Path, answers: Answers) -> dict[str, str]:
    """The files by their paths in the project.

    Parameters
    ----------
    folder
        The project.
    answers
        What is to be measured.

    Raises
    ------
    EdgeAIError
        A session could not use these settings; says why.
    """
    from pytest_edgeai.commands.check import registered_in
    from pytest_edgeai.selection import Selection
    from pytest_edgeai.settings import validated

    name = re.sub(r"\W", "_", answers.graph.stem)
    name = name if name.isidentifier() else f"model_{name}"
    for option, path in (("--graph", answers.graph), ("--examples", answers.examples)):
        if not path.is_file():
            raise InitError(f"{option}: there is no file {path}")
    if answers.examples.suffix not in _suffixes():
        raise InitError(f"--examples: {answers.examples.name} is none of {', '.join(_suffixes())}")
    written = {
        "tiers": json.dumps(answers.tiers),
        "name": name,
        "graph": _toml_path(answers.graph, folder),
        "examples": _toml_path(answers.examples, folder),
        "metrics": json.dumps(answers.metrics),
        "steps": _steps(answers),
    }
    content = tomllib.loads(_SETTINGS_TEMPLATE.substitute(written, budget=""))
    content["subjects"][name] |= {"graph": answers.graph.absolute(), "examples": answers.examples.absolute()}
    settings = validated(folder / FILE_NAME, content, {})
    registered = registered_in(settings)
    try:
        Selection.from_settings(settings, registered)
    except SettingsError as error:
        raise InitError(f"--tiers: {error}") from None
    first = registered.subjects[name].metrics[0]
    is_percent = not isinstance(first, str) and first.unit == "%"
    budget = _PERCENT_BUDGET if is_percent else _OTHER_BUDGET
    return {
        FILE_NAME: _SETTINGS_TEMPLATE.substitute(written, budget=budget),
        TEST: _TEST_TEMPLATE,
        WORKFLOW: WORKFLOW_TEMPLATE,
    }


def write(folder: Path, texts: Mapping[str, str]) -> None:
    """Write files that are not there yet, all or none.

    Raises
    ------
    InitError
        One is there already, or cannot be written.
    """
    written: list[Path] = []
    try:
        for name, text in texts.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                written.append(path)
                file.write(text)
    except OSError as error:
        for path in written:
            path.unlink(missing_ok=True)
        raise InitError(f"{error.filename} cannot be written: {error.strerror}") from None


def _steps(answers: Answers) -> str:
    """The lines about the pipeline: images of a table need one, which the shape of the graph's input decides."""
    if answers.examples.suffix == ".jsonl":
        return _TEXT_STEPS
    if answers.examples.suffix != ".csv":
        return _STEPS
    from pytest_edgeai.subjects.graphs import inputs_of

    shapes = inputs_of(answers.graph).shapes
    name, shape = next(iter(shapes.items()), ("", ()))
    modes = {1: "L", 3: "RGB"}
    if len(shapes) != 1 or len(shape) != 4 or shape[1] not in modes or None in shape[2:]:
        raise InitError(
            f"--examples: {answers.examples.name} lists images, and {answers.graph.name} does not say that it takes "
            "them as one input [n, 1 or 3, height, width]; write edgeai.toml by hand (docs/settings.md)"
        )
    zeros, ones = [0.0] * (shape[1] or 1), [1.0] * (shape[1] or 1)
    return (
        f'preprocess = {{ kind = "image", input = "image", output = {json.dumps(name)}, resize = {[*shape[2:]]}, '
        f'mean = {zeros}, std = {ones}, mode = "{modes[shape[1] or 1]}" }}  # of pixels from 0 to 1: as in training\n'
    )


def _asked(question: str, default: str) -> str:
    return input(f"{question} [{default}]: ").strip() or default


def _first(folder: Path, usual: str, *suffixes: str) -> str:
    """The first file of a kind in a folder, else its usual name there."""
    found = sorted(path for path in folder.glob("*") if path.suffix in suffixes)
    return str(found[0] if found else folder / usual)


def _suffixes() -> tuple[str, ...]:
    from pytest_edgeai.subjects.files import SUFFIXES

    return SUFFIXES


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _toml_path(path: Path, folder: Path) -> str:
    """A path as the settings file has it: relative to its folder, quoted as in JSON, which TOML shares."""
    return json.dumps(Path(os.path.relpath(path, folder)).as_posix(), ensure_ascii=False)
