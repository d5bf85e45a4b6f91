"""`edgeai`: what needs no session of its own. Each command is a function that returns an exit code."""

# PYTHON_ARGCOMPLETE_OK: what activate-global-python-argcomplete looks for
from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from pytest_edgeai import __version__
from pytest_edgeai.commands import (
    analyze,
    bisect,
    comment,
    comparing,
    export,
    history,
    init,
    predict,
    recommend,
    showing,
)

if TYPE_CHECKING:
    from pytest_edgeai.measure.findings import Finding
    from pytest_edgeai.settings import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code: 0 all is well, 1 something is not, 2 the command line is wrong."""
    parser = command_parser()
    if "_ARGCOMPLETE" in os.environ:  # a shell asks what may come next
        with contextlib.suppress(ImportError):
            import argcomplete

            argcomplete.autocomplete(parser)
    options = parser.parse_args(arguments)
    try:
        code: int = options.command(options)
    except BrokenPipeError:  # `edgeai … | head`
        sys.stderr.close()
        return 0
    return code


def command_parser() -> argparse.ArgumentParser:
    """The options of every command."""
    parser = argparse.ArgumentParser(
        prog="edgeai",
        description="Commands of pytest-edgeai. To measure: pytest suites/ --benchmark-only",
    )
    parser.add_argument("--version", action="version", version=f"pytest-edgeai {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(
        name: str,
        run: Callable[[argparse.Namespace], int],
        arguments: Callable[[argparse.ArgumentParser], None],
        summary: str,
        about: ModuleType | None = None,
    ) -> None:
        """Add a command; `about` has its DESCRIPTION and EPILOG, where its docstring does not say all."""
        parser = commands.add_parser(
            name,
            help=summary,
            description=run.__doc__ if about is None else about.DESCRIPTION,
            epilog=None if about is None else about.EPILOG,
            formatter_class=argparse.HelpFormatter if about is None else argparse.RawDescriptionHelpFormatter,
        )
        arguments(parser)
        parser.set_defaults(command=run)

    add(
        "analyze",
        analyze.run,
        analyze.add_arguments,
        "compare latencies measured anywhere: tests, effect sizes, figures",
        analyze,
    )
    add(
        "bisect",
        bisect.run,
        bisect.add_arguments,
        "find the commit at which a strategy got slower or less accurate",
        bisect,
    )
    add("init", init.run, init.add_arguments, "write the files of a project that measures an ONNX file")

    check = commands.add_parser(
        "check",
        help="say in seconds whether the declared subject models can be measured, and how long it takes",
        description=_check.__doc__,
    )
    check.add_argument("root", nargs="?", type=Path, default=Path(), metavar="DIR", help="the project (default: here)")
    check.add_argument("--json", action="store_true", help="print JSON")
    check.set_defaults(command=_check)

    doctor = commands.add_parser(
        "doctor",
        help="say what works on this machine, what is missing and how well it measures",
        description=_doctor.__doc__,
    )
    doctor.add_argument("--root", type=Path, default=Path(), metavar="DIR", help="the project (default: here)")
    doctor.add_argument("--json", action="store_true", help="print JSON")
    doctor.add_argument("--no-measure", action="store_true", help="leave out the ten seconds that measure this host")
    doctor.set_defaults(command=_doctor)

    add(
        "export",
        export.run,
        export.add_arguments,
        "write an artifact as a model repository: for the project's own server, or for Triton",
        export,
    )
    add(
        "show",
        showing.show,
        showing.add_show_arguments,
        "open a report in the browser: the newest one, or the one named",
    )
    add(
        "figures",
        showing.figures,
        showing.add_figures_arguments,
        "write a report's plots as SVG and its tables as CSV and LaTeX",
    )

    image = commands.add_parser("image", help="the tier image of the docker backend")
    actions = image.add_subparsers(title="actions", required=True, metavar="ACTION")
    build = actions.add_parser("build", help="build it, unless it is there already", description=_image_build.__doc__)
    build.add_argument("--root", type=Path, default=Path(), metavar="DIR", help="the project (default: here)")
    build.add_argument("--base", metavar="IMAGE", help="the base image (default: the project's settings)")
    build.add_argument(
        "--runtime", choices=("onnxruntime", "onnxruntime-gpu"), help="(default: the project's settings)"
    )
    build.set_defaults(command=_image_build)

    add(
        "compare",
        comparing.compare,
        comparing.add_arguments,
        "say what became worse or better between two saved sessions",
    )
    add(
        "recommend",
        recommend.run,
        recommend.add_arguments,
        "choose the strategy that meets constraints, from what was measured",
        recommend,
    )
    add(
        "predict",
        predict.run,
        predict.add_arguments,
        "say how long requests would take on other links and cores",
        predict,
    )
    add(
        "history",
        history.run,
        history.add_arguments,
        "show how saved sessions changed over commits, and where",
        history,
    )
    add(
        "comment",
        comment.comment,
        comment.add_comment_arguments,
        "print a report as the comment on a pull request, or post it",
    )
    add(
        "badge",
        comment.badge,
        comment.add_badge_arguments,
        "write a badge that says how many strategies are green",
    )

    clean = commands.add_parser(
        "clean",
        help="remove built artifacts, and what killed sessions left behind",
        description=_clean.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    clean.add_argument(
        "--root", type=Path, default=Path(), metavar="DIR", help="the project, whose settings count (default: here)"
    )
    clean.add_argument("--store", type=Path, metavar="DIR", help="artifact store (default: as pytest would use it)")
    clean.add_argument(
        "--unused-for", type=_days, metavar="DAYS", help="only entries that no session has used for so long"
    )
    clean.add_argument(
        "--containers", action="store_true", help="only what killed sessions left on container engines, no artifacts"
    )
    clean.add_argument("--yes", action="store_true", help="do not ask before artifacts are removed")
    clean.add_argument("--images", action="store_true", help="only tier images that no session holds")
    clean.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    clean.set_defaults(command=_clean)
    return parser


def _check(options: argparse.Namespace) -> int:
    """Say whether models load, examples fit, metrics work and operators apply; builds nothing.

    The exit code is 1 where something cannot be measured.
    """
    from pytest_edgeai.commands import check

    return _told(check.examine(options.root), as_json=options.json)


def _doctor(options: argparse.Namespace) -> int:
    """Say what works on this machine, what is missing, and how well it measures, which takes ten seconds."""
    from pytest_edgeai.commands import doctor

    findings = doctor.examine(options.root)
    if not options.no_measure:
        print("measuring this host for ten seconds (--no-measure leaves it out) …", file=sys.stderr, flush=True)
        findings += doctor.measure()
    return _told(findings, as_json=options.json)


def _told(findings: Sequence[Finding], *, as_json: bool) -> int:
    """Print findings; the exit code."""
    import json

    if as_json:
        print(json.dumps([finding.as_json() for finding in findings], indent=2))
    else:
        from rich.console import Console

        from pytest_edgeai.commands import doctor

        doctor.show(findings, Console())
    return 1 if any(finding.level == "broken" for finding in findings) else 0


def _image_build(options: argparse.Namespace) -> int:
    """Build the tier image from the installed package; prints its tag, which changes with its content."""
    from pytest_edgeai.errors import EdgeAIError
    from pytest_edgeai.settings import load_settings
    from pytest_edgeai.tiers import engine
    from pytest_edgeai.tiers.image import ensure_image
    from pytest_edgeai.tiers.specs import USUAL_ENGINE

    given = {"base": options.base, "runtime": options.runtime}
    try:
        settings = load_settings(options.root, {})
        spec = settings.image.model_copy(update={key: value for key, value in given.items() if value is not None})
        with engine.reached(USUAL_ENGINE) as there:
            client = engine.connect(there)
            tag = ensure_image(client, spec, lambda sentence: print(sentence, file=sys.stderr, flush=True))
    except EdgeAIError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(tag)
    return 0


def _clean(options: argparse.Namespace) -> int:
    """Remove artifacts, samples and evaluations from the store, and what killed sessions left behind.

    The next session builds what it needs. The store is that of --store, else of the project's settings, else
    $EDGEAI_STORE, else in the user's cache folder; of a folder that is not a store nothing is removed.
    """
    from pytest_edgeai import scratch
    from pytest_edgeai.errors import EdgeAIError
    from pytest_edgeai.settings import load_settings

    try:
        settings = load_settings(options.root, {})
    except EdgeAIError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    only_engines = options.containers or options.images
    code = 0 if only_engines else _clean_store(options, settings)
    if code == 0:
        if not (only_engines or options.dry_run):
            print(f"removed {len(scratch.sweep())} temporary folders of sessions that were killed")
        _clean_engines(options, settings)
    return code


def _clean_store(options: argparse.Namespace, settings: Settings) -> int:
    """Remove entries of the store, after asking."""
    import time

    from pytest_edgeai.commands import cleaning
    from pytest_edgeai.store import Store, default_root

    named = options.store or (None if settings.store is None else options.root / settings.store)
    store = Store(named or default_root())
    try:
        remark = cleaning.refuse_what_is_not_ours(store)
    except (cleaning.NotOursError, OSError) as error:
        print(f"error: nothing was removed: {error}", file=sys.stderr)
        return 2
    before = None if options.unused_for is None else time.time() - options.unused_for * 86400
    found = cleaning.removable(store, used_before=before)
    size_mb = sum(one.size_bytes for one in found) / 1e6
    if remark:
        print(remark)
    for one in found:
        used = time.strftime("%Y-%m-%d", time.localtime(one.used_at))
        print(f"{one.kind}/{one.digest[:12]}  {one.size_bytes / 1e6:9.1f} MB  last used {used}  {one.what}".rstrip())
    if options.dry_run or not found:
        verb = "would remove" if options.dry_run else "removed"
        print(f"{verb} {len(found)} entries, {size_mb:.1f} MB, from {store.root}")
        return 0
    if not options.yes:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            print("error: nothing was removed: there is no terminal to ask on; give --yes", file=sys.stderr)
            return 2
        if input(f"Remove these {len(found)} entries, {size_mb:.1f} MB, from {store.root}? [y/N] ").lower() != "y":
            print("nothing was removed")
            return 1
    try:
        store.mark()
        removed = [one for one in found if cleaning.remove(one)]
    except OSError as error:
        print(f"error: {error.filename} cannot be removed: {error.strerror}", file=sys.stderr)
        return 1
    freed_mb = sum(one.size_bytes for one in removed) / 1e6
    busy = "" if len(removed) == len(found) else f"; {len(found) - len(removed)} are being built and stay"
    print(f"removed {len(removed)} entries, {freed_mb:.1f} MB, from {store.root}{busy}")
    return 0


def _clean_engines(options: argparse.Namespace, settings: Settings) -> None:
    """Remove what is of no use on the container engines that the settings name, and on the usual one."""
    from pytest_edgeai.tiers import engine
    from pytest_edgeai.tiers.image import remove_images
    from pytest_edgeai.tiers.specs import USUAL_ENGINE

    verb = "would remove" if options.dry_run else "removed"
    addresses = {tier.engine for tier in settings.topology.tiers.values()} - {USUAL_ENGINE}
    if engine.socket_is_there():
        addresses.add(USUAL_ENGINE)
    for address in sorted(addresses, key=str):
        try:
            with engine.reached(address) as there:
                client = engine.connect(there)
                if options.containers or not options.images:
                    names = engine.sweep(client, dry_run=options.dry_run)
                    print(f"{verb} {len(names)} containers and networks that were left behind on {address}")
                if options.images:
                    tags = remove_images(client, dry_run=options.dry_run)
                    print(f"{verb} {len(tags)} tier images that no session holds on {address}")
        except engine.EngineError as error:
            print(f"left what may be on a container engine: {error}")


def _days(text: str) -> float:
    days = float(text)
    if not days >= 0:
        raise argparse.ArgumentTypeError(f"{text} is not 0 or more")
    return days


if __name__ == "__main__":
    sys.exit(main())
