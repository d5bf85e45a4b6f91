"""`edgeai history`: the command line, and what it prints."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_edgeai.versions import DEFAULT_STORAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_edgeai.versions.history import History
    from pytest_edgeai.versions.storage import Stored
    from pytest_edgeai.versions.summaries import Summary

DESCRIPTION: Final = """Show how latency, spans, accuracy and size changed over the commits of saved sessions.

Sessions are those that pytest --benchmark-autosave left in pytest-benchmark's storage. Where a level changed is found
by step detection and said with the commits on either side. Sessions whose host, scale, backend, tiers, links or profile
are not those of the newest one are left out.
"""
EPILOG: Final = """example:
  edgeai history --strategy 'bert-*-edge' --html public --commit-url 'https://example.org/commit/{commit}'

exit code: 0 the history is shown, 1 a saved session is damaged or was edited and is left out, or something became
           worse within --fail-within, 2 there is nothing to show, or the command line cannot be used
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line of `edgeai history` and of its actions."""
    _add_sources(parser, Path(), DEFAULT_STORAGE)
    _add_selection(parser, branch=None, last=None)
    add = parser.add_argument
    add("--strategy", action="append", default=[], metavar="PATTERN", help="only strategies like 'bert-*-edge'")
    add("--min-change", type=_share, default=0.05, metavar="SHARE", help="smallest change of a time (default: 5%%)")
    add("--min-points", type=_positive, default=0.5, metavar="PP", help="smallest change in points (default: 0.5)")
    add("--fail-within", type=_count, metavar="N", help="exit with 1 if one of the newest N sessions began to be worse")
    add("--html", type=Path, metavar="FOLDER", help="write index.html and history.json there, made when needed")
    add(
        "--commit-url", metavar="URL", help="of a commit, with {commit} in the place of its name, for links of the page"
    )
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="print JSON")
    shown.add_argument("--csv", action="store_true", help="print CSV, a row for each value")
    actions = parser.add_subparsers(title="actions", metavar="[ACTION]")
    removing = actions.add_parser("prune", help="delete old saved sessions", description=run_prune.__doc__)
    _add_sources(removing, argparse.SUPPRESS, argparse.SUPPRESS, imports=False)
    removing.add_argument("--keep", type=_count, required=True, metavar="N", help="how many sessions of a machine stay")
    removing.add_argument("--dry-run", action="store_true", help="only say what would be deleted")
    removing.set_defaults(command=run_prune)
    written = actions.add_parser("export", help="write the history for other tools", description=run_export.__doc__)
    _add_sources(written, argparse.SUPPRESS, argparse.SUPPRESS)
    _add_selection(written, branch=argparse.SUPPRESS, last=argparse.SUPPRESS)
    written.add_argument("target", type=Path, metavar="PATH", help="the file, or for asv the folder of results")
    written.add_argument("--format", choices=FORMATS, required=True, help="of which tool")
    written.set_defaults(command=run_export)


FORMATS: Final = (
    "github-action-benchmark",
    "github-action-benchmark-larger",
    "github-action-benchmark-data",
    "bencher",
    "asv",
)


def run(options: argparse.Namespace) -> int:
    """Show the history; the exit code."""
    import json

    from pytest_edgeai.errors import EdgeAIError
    from pytest_edgeai.reporting import history as written
    from pytest_edgeai.reporting.files import finite
    from pytest_edgeai.versions.history import Least, make_history

    try:
        url = _commit_url(options.commit_url)
        sessions, refused = _sessions(options)
        found = make_history(
            sessions,
            strategies=options.strategy,
            branch=options.branch,
            last=options.last,
            least=Least(options.min_change, options.min_points),
        )
        if options.html is not None:
            _write_page(options.html, found, url)
    except EdgeAIError as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(f"{error.filename} cannot be written: {error.strerror}")
    if options.json:
        print(json.dumps(finite(written.document(found)), indent=1, allow_nan=False))
    elif options.csv:
        print(written.table(found), end="")
    else:
        _show(found)
    if options.html is not None:
        print(options.html / "index.html", file=sys.stderr if options.json or options.csv else sys.stdout)
    newest = len(found.sessions) - (options.fail_within or 0)
    is_worse = any(change.is_worse and change.first >= newest for change in found.changes)
    return max(_said(refused), int(is_worse))


def run_prune(options: argparse.Namespace) -> int:
    """Delete the files of all but the newest saved sessions of each machine, without asking.

    What the history shows of them is kept; they can no more be compared with. Files of other benchmarks, and files that
    are damaged, stay.
    """
    from pytest_edgeai.errors import EdgeAIError
    from pytest_edgeai.versions.pruning import prune, removable
    from pytest_edgeai.versions.storage import storage_folder

    try:
        folder = storage_folder(options.storage, options.root)
        stored = _read(folder)
        found = removable(folder, stored, options.keep)
        if not options.dry_run and found:
            prune(folder, found)
    except EdgeAIError as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(f"{error.filename} cannot be deleted or written: {error.strerror}")
    verb = "would delete" if options.dry_run else "deleted"
    for one in found:
        print(f"{verb} {one.summary.file}  {one.size_bytes / 1e6:.1f} MB  {one.summary.short}")
    size_mb = sum(one.size_bytes for one in found) / 1e6
    print(f"{verb} {len(found)} sessions, {size_mb:.1f} MB, from {folder}; the history keeps their medians")
    return _said(stored.refused)


def run_export(options: argparse.Namespace) -> int:
    """Write the history in the format of another tool.

    Of the newest session: github-action-benchmark (its customSmallerIsBetter), github-action-benchmark-larger (its
    customBiggerIsBetter, for metrics) and bencher (the Bencher Metric Format). Of all sessions:
    github-action-benchmark-data (its data.js) and asv (a folder of results).
    """
    from pytest_edgeai.errors import EdgeAIError
    from pytest_edgeai.versions.exchange import write
    from pytest_edgeai.versions.history import make_history

    try:
        sessions, refused = _sessions(options)
        found = make_history(sessions, branch=options.branch, last=options.last)
        files = write(found.sessions, options.target, options.format)
    except EdgeAIError as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(f"{error.filename} cannot be written: {error.strerror}")
    print(f"wrote {files} file{'s' * (files != 1)}: {options.target}")
    return _said(refused)


def _add_sources(parser: argparse.ArgumentParser, root: Path | str, storage: str, *, imports: bool = True) -> None:
    add = parser.add_argument
    add("--root", type=Path, default=root, metavar="DIR", help="the project (default: here)")
    add(
        "--storage",
        default=storage,
        metavar="DIR",
        help=f"where pytest-benchmark keeps sessions (default: {DEFAULT_STORAGE})",
    )
    if imports:
        add(
            "--from",
            dest="imported",
            type=Path,
            default=None if storage == DEFAULT_STORAGE else storage,
            metavar="PATH",
            help="instead of the storage: data.js of github-action-benchmark, or a folder of results of asv",
        )


def _add_selection(parser: argparse.ArgumentParser, *, branch: str | None, last: str | None) -> None:
    add = parser.add_argument
    add("--branch", default=branch, metavar="B", help="only sessions of this branch")
    add("--last", type=_count, default=last, metavar="N", help="only so many of the newest sessions")


def _sessions(options: argparse.Namespace) -> tuple[Sequence[Summary], Sequence[str]]:
    """All sessions, and a sentence for each file that is refused."""
    from pytest_edgeai.versions.exchange import read
    from pytest_edgeai.versions.storage import storage_folder

    if options.imported is not None:
        return read(options.imported), ()
    stored = _read(storage_folder(options.storage, options.root))
    return stored.sessions, stored.refused


def _read(folder: Path) -> Stored:
    from pytest_edgeai.versions.storage import read_storage

    return read_storage(folder, lambda sentence: print(sentence, file=sys.stderr, flush=True))


def _show(history: History) -> None:
    import shutil
    import textwrap

    from pytest_edgeai.reporting import history as written
    from pytest_edgeai.reporting.drawing import drawn

    width = shutil.get_terminal_size().columns
    print(f"edgeai history: {written.headline(history)}\n")
    print(drawn(written.sheet(history), width, colours=sys.stdout.isatty()))
    print()
    sentences = list(written.sentences(history)) or ["no change of level is found"]
    for sentence in (*sentences, *history.remarks):
        indent = " " * (len(sentence) - len(sentence.lstrip()))
        print(
            "\n".join(
                textwrap.wrap(
                    sentence, width, subsequent_indent=f"{indent}  ", break_long_words=False, break_on_hyphens=False
                )
            )
        )


def _write_page(folder: Path, history: History, url: str) -> None:
    import json

    from pytest_edgeai.reporting.files import finite
    from pytest_edgeai.reporting.history import document
    from pytest_edgeai.reporting.page.history import render_history

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "index.html").write_text(render_history(history, url), encoding="utf-8")
    text = json.dumps(finite(document(history)), indent=1, allow_nan=False) + "\n"
    (folder / "history.json").write_text(text, encoding="utf-8")


def _commit_url(given: str | None) -> str:
    """The template of a commit's address, or empty.

    Raises
    ------
    SettingsError
        It is not the address of a page.
    """
    from pytest_edgeai.errors import SettingsError

    if given is None:
        return ""
    if not given.startswith(("https://", "http://")) or "{commit}" not in given:
        raise SettingsError(
            f"--commit-url: {given!r} is no address of commits: give https://…/{{commit}}, with {{commit}} in it"
        )
    return given


def _said(refused: Sequence[str]) -> int:
    for sentence in refused:
        print(f"error: left out: {sentence}", file=sys.stderr)
    return 1 if refused else 0


def _refuse(sentence: str) -> int:
    print(f"error: {sentence}", file=sys.stderr)
    return 2


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number of sessions: give 1 or more")
    return number


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def _share(text: str) -> float:
    """A share, given as `5%` or `0.05`."""
    return _positive(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
