"""The options of the command line: declared, and read once into one value."""

from __future__ import annotations

import argparse
import os
import secrets
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from pytest_edgeai.errors import unknown

_NAMES: Final = ("models", "operators", "tiers")
_ABOUT_THE_TABLE: Final = tuple(
    f"--benchmark-{name}" for name in ("columns", "compare", "group-by", "histogram", "name", "sort", "verbose")
)
_SINGLE: Final = ("profile", "backend", "report", "store", "replicates", "scale")


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for.

    Parameters
    ----------
    overrides
        Settings that it gives.
    seed
        Of the order of trials: given, that of the controller of pytest-xdist, or a new one.
    prepares
        Whether artifacts are built and nothing is measured.
    hand_over
        The question of another version that is to be answered, or None.
    wait_s
        How long to wait for another session that measures on this host.
    compare, against
        The saved session, or the git revision, to compare with; or None.
    storage
        Where pytest-benchmark keeps its files, or None for its default.
    is_worker
        Whether this is a worker process of pytest-xdist, where nothing is measured.
    restricts
        Whether an option restricts what the settings ask for.
    shows_benchmarks
        Whether trials are shown in pytest-benchmark's table: with `-v`, or where an option is about that table.
    window
        How many saved sessions tell the spread between them, the one to compare with included.
    with_servers
        Whether the revision's own servers and tiers run its trials.
    """

    overrides: Mapping[str, Any]
    seed: int
    prepares: bool
    hand_over: Path | None
    wait_s: float
    compare: str | None
    against: str | None
    storage: str | None
    is_worker: bool
    restricts: bool
    shows_benchmarks: bool
    window: int = 1
    with_servers: bool = False

    @classmethod
    def read(cls, config: pytest.Config) -> Options:
        """The options of a session."""
        given = config.getoption
        worker = getattr(config, "workerinput", {}).get("edgeai_seed")
        seeds = (given("edgeai_seed"), worker)
        restricting = ("edgeai_models", "edgeai_operators", "edgeai_tiers", "keyword", "markexpr", "deselect", "lf")
        return cls(
            overrides=_overrides(config),
            seed=next((seed for seed in seeds if seed is not None), secrets.randbelow(2**32)),
            prepares=bool(given("edgeai_prepare")),
            hand_over=given("edgeai_hand_over"),
            wait_s=given("edgeai_wait"),
            compare=given("edgeai_compare"),
            against=given("edgeai_against"),
            storage=given("benchmark_storage", None),
            is_worker=hasattr(config, "workerinput"),
            restricts=any(given(name, None) for name in restricting) or any("::" in one for one in config.args),
            shows_benchmarks=config.get_verbosity() > 0
            or any(one.startswith(_ABOUT_THE_TABLE) for one in _given(config)),
            window=given("edgeai_window"),
            with_servers=bool(given("edgeai_whole")),
        )


def add_options(parser: pytest.Parser) -> None:
    """Add the options of pytest-edgeai.

    Parameters
    ----------
    parser
        pytest's.
    """
    group = parser.getgroup("edgeai", "model compression on mobile, edge and cloud tiers (pytest-edgeai)")
    add = group.addoption
    add("--edgeai-models", metavar="A,B", help="subject models to measure (default: all registered)")
    add("--edgeai-operators", metavar="A,B", help="operators to measure (default: identity,sptq)")
    add(
        "--edgeai-tiers",
        metavar="A,B",
        help="tiers and chains (mobile+edge) to measure on (default: all)",
    )
    add("--edgeai-profile", metavar="NAME", help="how much to measure: quick (default), paper, or one of your settings")
    add("--edgeai-replicates", type=int, metavar="N", help="trials of each strategy (default: the profile's)")
    add("--edgeai-backend", metavar="NAME", help="what runs the tiers: auto (default), process, docker or remote")
    add("--edgeai-report", metavar="DIR", help="where each session makes its folder of reports (default: reports)")
    add("--edgeai-store", metavar="DIR", help="artifact store (default: $EDGEAI_STORE or the user's cache folder)")
    add(
        "--edgeai-compare",
        metavar="REV|NAME|latest",
        help="fail if a strategy is worse than in a saved session: by git revision, name, number or path",
    )
    add(
        "--edgeai-window",
        type=int,
        default=1,
        metavar="N",
        help="with --edgeai-compare of a branch or name: judge by the spread between its last N sessions (10 are good)",
    )
    add(
        "--edgeai-against",
        metavar="REV",
        help="measure a git revision in the same session, trial by trial, and fail if a strategy is worse than there",
    )
    add(
        "--edgeai-whole",
        action="store_true",
        help="with --edgeai-against: servers and settings of tiers are those of the revision for its trials, too",
    )
    add(
        "--edgeai-hand-over", type=Path, metavar="FILE", help=argparse.SUPPRESS
    )  # what --edgeai-against asks the revision for
    add("--edgeai-scale", metavar="NAME", help="small (default), or paper: the study's own models at full size")
    add(
        "--edgeai-weights",
        type=_weights,
        metavar="FROM",
        help="of full-size models: hub (default), random to measure latency only, or a path",
    )
    add("--edgeai-prepare", action="store_true", help="build and evaluate all artifacts, also with -n; measure nothing")
    add(
        "--edgeai-wait",
        type=_duration,
        default=0.0,
        metavar="TIME",
        help="how long to wait for another session that measures on this host, e.g. 10m (default: not at all)",
    )
    add("--edgeai-seed", type=int, metavar="N", help="seed of the order of trials (default: a new one, printed)")
    if "_ARGCOMPLETE" in os.environ:  # a shell asks what an option may be
        from pytest_edgeai.collection.completion import OPTIONS, complete

        for option in group.options:
            action = getattr(option, "_action", None)  # argparse's; pytest has no way to say it
            if action is not None and action.dest in OPTIONS:
                complete(action, OPTIONS[action.dest])


def _given(config: pytest.Config) -> Iterator[str]:
    """All words of the command line, those of the configuration and of the environment included."""
    yield from config.getini("addopts")
    yield from shlex.split(os.environ.get("PYTEST_ADDOPTS", ""))
    yield from map(str, config.invocation_params.args)


def _duration(text: str) -> float:
    from pytest_edgeai.tiers.quantities import parse_quantity

    try:
        return parse_quantity(text, "duration")
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _weights(text: str) -> str:
    from pytest_edgeai.subjects.weights import HUB, RANDOM

    if text in (HUB, RANDOM):
        return text
    if not Path(text).exists():
        raise argparse.ArgumentTypeError(f"{unknown('source of weights', text, (HUB, RANDOM))}, and no such path")
    return str(Path(text).absolute())


def _overrides(config: pytest.Config) -> dict[str, Any]:
    overrides: dict[str, Any] = {}
    for name in _NAMES:
        text = config.getoption(f"edgeai_{name}")
        if text is not None:
            overrides[name] = tuple(word.strip() for word in text.split(",") if word.strip())
    for name in _SINGLE:
        value = config.getoption(f"edgeai_{name}")
        if value is not None:
            overrides[name] = value
    if config.getoption("edgeai_weights") is not None:
        overrides["weights"] = {"default": config.getoption("edgeai_weights")}
    return overrides
