"""Where settings are: the file that is in use, found from the folders that a session is about, and its relative paths.

What the settings mean, and whether they are valid, is the business of `pytest_edgeai.settings`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_edgeai.errors import SettingsError

FILE_NAME = "edgeai.toml"
SHARED_NAME = "pyproject.toml"
_REPOSITORY = ".git"
_DATA_FOLDERS = ("ilsvrc", "ilsvrc_train", "mrpc")
# What stands for no path where a path can be given.
_WORDS = ("generated", "hub", "random")


@dataclass(frozen=True, slots=True)
class Origins:
    """Where settings come from, so that a message can name the option, or the file and the key.

    Parameters
    ----------
    file
        The settings file, or None.
    in_file
        The top-level settings that it gives.
    in_options
        Those that the command line gives; they win.
    """

    file: Path | None = None
    in_file: frozenset[str] = frozenset()
    in_options: frozenset[str] = frozenset()

    def of(self, setting: str) -> str:
        """How a message names a setting and where it was said.

        Parameters
        ----------
        setting
            With the tables that it is in: `budgets.latency`.
        """
        key = setting.partition(".")[0]
        if key in self.in_options:
            return f"--edgeai-{key}"
        if self.file is None or key not in self.in_file:
            return setting
        return f"{self.file}: {f'tool.edgeai.{setting}' if self.file.name == SHARED_NAME else setting}"

    def is_in_file(self, setting: str) -> bool:
        """Whether the settings file says it, and no option says otherwise."""
        return setting in self.in_file and setting not in self.in_options


def find_settings(*folders: Path) -> tuple[Path | None, Mapping[str, Any]]:
    """The settings file of a project and its content, not yet validated; relative paths in it have become absolute.

    Parameters
    ----------
    folders
        Where to look. Of each, the nearest parent folder that has settings counts, up to the top of its repository.

    Returns
    -------
    path, content
        None and nothing where there is no such file.

    Raises
    ------
    SettingsError
        A file is not TOML, both files of a folder have settings, or the folders lead to different files.
    """
    found: dict[Path, Mapping[str, Any]] = {}
    for folder in dict.fromkeys(folder.resolve() for folder in folders):
        path, content = _nearest(folder)
        if path is not None:
            found[path] = content
    if len(found) > 1:
        raise SettingsError(
            f"there are settings in {' and in '.join(map(str, found))}, and a session uses one file: run pytest on the "
            "tests of one project at a time and from its folder, or keep one of these files"
        )
    if not found:
        return None, {}
    ((path, content),) = found.items()
    return path, _anchored(content, path.parent)


def _nearest(folder: Path) -> tuple[Path | None, Mapping[str, Any]]:
    """The settings of a folder or of the nearest parent that has some, within its repository."""
    for parent in (folder, *folder.parents):
        path, content = _settings_of(parent)
        if path is not None:
            return path, content
        if (parent / _REPOSITORY).exists():
            break
    return None, {}


def _settings_of(folder: Path) -> tuple[Path | None, Mapping[str, Any]]:
    own, shared = folder / FILE_NAME, folder / SHARED_NAME
    in_own = _read_toml(own) if own.is_file() else None
    tools = _read_toml(shared).get("tool", {}) if shared.is_file() else {}
    in_shared = tools.get("edgeai") if isinstance(tools, dict) else None
    if in_own is not None and in_shared is not None:
        raise SettingsError(f"both {own} and [tool.edgeai] in {shared} have settings: keep one")
    if in_own is not None:
        return own, in_own
    return (shared, in_shared) if in_shared is not None else (None, {})


def _anchored(content: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """The settings with paths that start at the file's folder, not at that of the process."""
    anchored = {**content, **_with_paths(content, ("store", "report"), folder)}
    if isinstance(content.get("data"), Mapping):
        anchored["data"] = _with_paths(content["data"], _DATA_FOLDERS, folder)
    if isinstance(content.get("weights"), Mapping):
        anchored["weights"] = _with_paths(content["weights"], tuple(content["weights"]), folder)
    if isinstance(content.get("subjects"), Mapping):
        anchored["subjects"] = {
            name: _with_subject_paths(table, folder) if isinstance(table, Mapping) else table
            for name, table in content["subjects"].items()
        }
    topology = content.get("topology")
    if isinstance(topology, Mapping) and isinstance(topology.get("tiers"), Mapping):
        tiers = {
            name: _with_paths(tier, ("token_file", "ca_file"), folder) if isinstance(tier, Mapping) else tier
            for name, tier in topology["tiers"].items()
        }
        anchored["topology"] = {**topology, "tiers": tiers}
    return anchored


def _with_paths(table: Mapping[str, Any], keys: tuple[str, ...], folder: Path) -> dict[str, Any]:
    """The table with absolute paths under these keys; what is no path is left to the validation."""
    paths = {key: table[key] for key in keys if isinstance(table.get(key), str) and table[key] not in _WORDS}
    return {**table, **{key: str(folder / path) for key, path in paths.items()}}


def _with_subject_paths(table: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    anchored = _with_paths(table, ("graph", "examples", "calibration"), folder)
    if isinstance(table.get("assets"), list):
        anchored["assets"] = [str(folder / path) if isinstance(path, str) else path for path in table["assets"]]
    return anchored


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from None
