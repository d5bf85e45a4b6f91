"""Names that a shell completes in options: those of the settings, of what is installed, and of the newest report.

Argcomplete asks for them. No hook of a project is called, which would take importing its code; the names of models that
only hooks know are found in the newest report.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

if TYPE_CHECKING:
    from pytest_edgeai.settings import Settings


class Names:
    """Completes a name, or the last of several with commas between them.

    Parameters
    ----------
    known
        The names, from the settings and the project's folder.
    several
        Whether commas separate names.
    """

    def __init__(self, known: Callable[[Settings, Path], Iterable[str]], *, several: bool = False) -> None:
        self._known = known
        self._several = several

    def __call__(self, prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
        """Complete what has been typed.

        Parameters
        ----------
        prefix
            What has been typed.
        parsed_args
            The words before it; `root` is the project's folder.
        """
        from pytest_edgeai.errors import EdgeAIError
        from pytest_edgeai.settings import Settings, load_settings

        root = getattr(parsed_args, "root", None) or Path()
        head, comma, last = prefix.rpartition(",") if self._several else ("", "", prefix)
        try:
            settings = load_settings(root, {})
        except EdgeAIError:  # a session says what is wrong
            settings = Settings()
        names = dict.fromkeys(self._known(settings, root))
        return [f"{head}{comma}{one}" for one in names if one.startswith(last) and one not in head.split(",")]


def models(settings: Settings, root: Path) -> Iterator[str]:
    """Subject models that are declared, or were measured last."""
    yield from settings.subjects
    yield from settings.models or ()
    yield from (row["model"] for row in _measured(settings, root))


def operators(settings: Settings, root: Path) -> Iterator[str]:
    """Operators that are installed, selected, or were measured last."""
    from pytest_edgeai.operators.registry import GROUP

    yield from (point.name for point in metadata.entry_points(group=GROUP))
    yield from settings.operators or ()
    yield from (row["operator"] for row in _measured(settings, root))


def tiers(settings: Settings, root: Path) -> Iterator[str]:
    """Tiers, and the chains and nodes that are selected or were measured last."""
    yield from settings.topology.tiers
    yield from settings.tiers or ()
    yield from (row["tier"] for row in _measured(settings, root))


def artifacts(settings: Settings, root: Path) -> Iterator[str]:
    """Artifacts of the newest report."""
    yield from (f"{row['model']}-{row['operator']}" for row in _measured(settings, root))


OPTIONS: Final[Mapping[str, Names]] = {
    "edgeai_models": Names(models, several=True),
    "edgeai_operators": Names(operators, several=True),
    "edgeai_tiers": Names(tiers, several=True),
    "edgeai_profile": Names(lambda settings, _: settings.profiles),
    "edgeai_backend": Names(lambda *_: _backends()),
    "edgeai_scale": Names(lambda settings, _: get_args(type(settings).model_fields["scale"].annotation)),
}
"""By the destinations of pytest's options."""


def complete(argument: argparse.Action, names: Names) -> None:
    """Let argcomplete complete an argument of a command.

    Parameters
    ----------
    argument
        As `add_argument` returns it.
    names
        What completes it.
    """
    setattr(argument, "completer", names)  # noqa: B010  # argparse does not declare what argcomplete reads


def _backends() -> tuple[str, ...]:
    from pytest_edgeai.tiers.registry import AUTO, known_backends

    return AUTO, *known_backends({})


def _measured(settings: Settings, root: Path) -> list[Mapping[str, Any]]:
    """The strategies of the newest report; none where there is none that can be read."""
    path = root / settings.report / "latest" / "results.json"
    try:
        rows: list[Mapping[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["strategies"]
    except (OSError, ValueError, KeyError):
        return []
    return rows
