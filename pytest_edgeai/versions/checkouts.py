"""Another commit of a project, checked out beside it, and what Python needs to run that one and not this one."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import tomllib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pytest_edgeai.errors import VersionError
from pytest_edgeai.measured import Commit

_LAST_LINES: Final = 8


@dataclass(frozen=True, slots=True)
class Checkout:
    """A commit in a folder of its own.

    Parameters
    ----------
    commit
        Which.
    folder
        The top folder of its files.
    search_path
        Folders to put before all others that modules are searched in.
    """

    commit: Commit
    folder: Path
    search_path: tuple[Path, ...]

    def counterpart(self, path: Path) -> Path:
        """Where the checkout has what is at a path of the working copy; the path itself if it is none of these."""
        try:
            return self.folder / path.resolve().relative_to(self.commit.repository)
        except ValueError:
            return path

    def translated(self, argument: str) -> str:
        """An argument of pytest, and where the checkout has it if it is a path.

        Raises
        ------
        VersionError
            The checkout does not have it.
        """
        path = Path(argument)
        if argument.startswith("-") or not path.is_absolute():
            return argument
        there = self.counterpart(path)
        if not there.exists():
            relative = path.resolve().relative_to(self.commit.repository)
            raise VersionError(f"{self.commit.label} has no tests in {relative}")
        return str(there)

    def environment(self) -> dict[str, str]:
        """The environment of a process that runs this commit's code; what pytest was given here is not for it."""
        variables = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
        before = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
        variables["PYTHONPATH"] = os.pathsep.join([*map(str, self.search_path), *before])
        return variables

    def run_pytest(
        self, folder: Path, arguments: Sequence[str], variables: Mapping[str, str], hear: Callable[[str], bool]
    ) -> tuple[int, str]:
        """Run this commit's pytest to its end; what pytest was given here in addition is not for it.

        Parameters
        ----------
        folder
            In the checkout: pytest's root folder.
        arguments
            Of pytest.
        variables
            Of the environment, in addition to `environment`.
        hear
            Is given each line that pytest prints, and says whether it was meant for the caller alone.

        Returns
        -------
        tuple
            The exit code, and the last lines of what was not meant for the caller.
        """
        last: deque[str] = deque(maxlen=_LAST_LINES)
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-o", "addopts=", "--rootdir", "."]
        with subprocess.Popen(
            [*command, *arguments],
            cwd=folder,
            env={**self.environment(), **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as child:
            assert child.stdout is not None
            try:
                for line in child.stdout:
                    if not hear(line) and line.strip():
                        last.append(line.strip())
            except BaseException:
                child.terminate()
                raise
        return child.returncode, " | ".join(last) or "it said nothing"


def find_commit(revision: str, root: Path) -> Commit:
    """The commit that a revision names.

    Parameters
    ----------
    revision
        Anything that git takes for one: a branch, a tag, `HEAD~1`, a commit.
    root
        A folder of the working copy.

    Raises
    ------
    VersionError
        There is no git, no repository or no such commit.
    """
    try:
        top = git(root, "rev-parse", "--show-toplevel")
    except VersionError as error:
        raise VersionError(f"{root} is in no git repository: {error}") from None
    try:
        digest = git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    except VersionError:
        raise VersionError(
            f"{top} has no revision {revision!r}; in a shallow clone it may have to be fetched first"
        ) from None
    return Commit(revision, digest, Path(top).resolve())


@contextlib.contextmanager
def checked_out(commit: Commit) -> Iterator[Checkout]:
    """Check a commit out into a folder of its own, which is gone afterwards; the working copy is not touched.

    Raises
    ------
    VersionError
        Git cannot check it out.
    """
    with tempfile.TemporaryDirectory(prefix="edgeai-checkout-") as scratch:
        folder = Path(scratch).resolve() / "worktree"
        git(commit.repository, "worktree", "add", "--detach", "--force", str(folder), commit.digest)
        try:
            shadow = Path(scratch) / "metadata"
            shadow.mkdir()
            describe_distribution(folder, shadow)
            yield Checkout(commit, folder, (shadow, *_search_path(commit.repository, folder)))
        finally:
            with contextlib.suppress(VersionError):
                git(commit.repository, "worktree", "remove", "--force", str(folder))


def describe_distribution(project: Path, target: Path) -> None:
    """Write what an installer would write of a project's entry points, so that its own count and not the installed.

    Parameters
    ----------
    project
        With a pyproject.toml, or nothing is written.
    target
        A folder that is searched for modules before the one in which the project is installed.
    """
    try:
        declared: Mapping[str, Any] = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
        name, version = str(declared["project"]["name"]), str(declared["project"].get("version", "0"))
        groups: Mapping[str, Mapping[str, str]] = declared["project"].get("entry-points", {})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return
    information = target / f"{name.replace('-', '_')}-{version}.dist-info"
    information.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (information / "METADATA").write_text(metadata, encoding="utf-8")
    lines = [
        line
        for group, points in groups.items()
        for line in (f"[{group}]", *(f"{point} = {value}" for point, value in points.items()), "")
    ]
    (information / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")


def _search_path(repository: Path, folder: Path) -> Iterator[Path]:
    """The checkout's own counterparts of what this process searches for modules, first those of an installed copy."""
    found: dict[Path, None] = {}
    for entry in (repository, repository / "src", *map(Path, filter(None, sys.path))):
        with contextlib.suppress(ValueError, OSError):
            there = folder / entry.resolve().relative_to(repository)
            if there.is_dir():  # an environment inside the working copy is not in a commit
                found[there] = None
    yield from found


def git(folder: Path, *words: str) -> str:
    """What git prints.

    Parameters
    ----------
    folder
        Where it runs.
    words
        Its arguments.

    Raises
    ------
    VersionError
        It cannot be run, or fails.
    """
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=False)
    except OSError as error:
        raise VersionError(f"git cannot be run: {error.strerror}") from None
    if done.returncode:
        raise VersionError(f"git {words[0]}: {done.stderr.strip() or 'failed'}")
    return done.stdout.strip()
