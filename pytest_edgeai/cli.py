"""`edgeai`: what needs no measurement. Each command is a function that returns an exit code; the work is elsewhere."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_edgeai import __version__, analyze


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code: 0 all is well, 1 something is not, 2 the command line is wrong."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        code: int = options.command(options)
    except BrokenPipeError:  # `edgeai … | head`
        sys.stderr.close()
        return 0
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edgeai",
        description="Commands of pytest-edgeai that measure nothing. To measure: pytest suites/ --benchmark-only",
    )
    parser.add_argument("--version", action="version", version=f"pytest-edgeai {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    latencies = commands.add_parser(
        "analyze",
        help="compare latencies measured anywhere: tests, effect sizes, figures",
        description=analyze.DESCRIPTION,
        epilog=analyze.EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    analyze.add_arguments(latencies)
    latencies.set_defaults(command=analyze.run)

    doctor = commands.add_parser(
        "doctor", help="say what works on this machine and what is missing", description=_doctor.__doc__
    )
    doctor.add_argument("--root", type=Path, default=Path(), metavar="DIR", help="the project (default: here)")
    doctor.add_argument("--json", action="store_true", help="print JSON")
    doctor.set_defaults(command=_doctor)

    image = commands.add_parser("image", help="the tier image of the docker backend")
    actions = image.add_subparsers(title="actions", required=True, metavar="ACTION")
    build = actions.add_parser("build", help="build it, unless it is there already", description=_image_build.__doc__)
    build.add_argument("--root", type=Path, default=Path(), metavar="DIR", help="the project (default: here)")
    build.add_argument("--base", metavar="IMAGE", help="the base image (default: the project's settings)")
    build.add_argument(
        "--runtime", choices=("onnxruntime", "onnxruntime-gpu"), help="(default: the project's settings)"
    )
    build.set_defaults(command=_image_build)

    compare = commands.add_parser(
        "compare",
        help="say what became worse or better between two saved sessions",
        description=_compare.__doc__,
    )
    for name in ("before", "after"):
        compare.add_argument(
            name, metavar=name.upper(), help="a path, a name, a number, a git revision, or latest, of a saved session"
        )
    compare.add_argument("--root", type=Path, default=Path(), metavar="DIR", help="the project (default: here)")
    compare.add_argument(
        "--storage",
        default="file://./.benchmarks",
        metavar="DIR",
        help="where pytest-benchmark keeps sessions (default: %(default)s)",
    )
    compare.add_argument("--json", metavar="PATH", help="write JSON; - prints it instead of the table")
    compare.add_argument("--markdown", metavar="PATH", help="write Markdown for a pull request; - prints it instead")
    compare.add_argument("--junit", metavar="PATH", help="write a JUnit report; - prints it instead")
    compare.set_defaults(command=_compare)

    clean = commands.add_parser(
        "clean", help="remove built artifacts, and containers that were left behind", description=_clean.__doc__
    )
    clean.add_argument(
        "--root", type=Path, default=Path(), metavar="DIR", help="the project, which may name engines (default: here)"
    )
    clean.add_argument("--store", type=Path, metavar="DIR", help="artifact store (default: as pytest would use it)")
    clean.add_argument(
        "--unused-for", type=_days, metavar="DAYS", help="only entries that no session has used for so long"
    )
    clean.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    clean.set_defaults(command=_clean)
    return parser


def _doctor(options: argparse.Namespace) -> int:
    """Say what works on this machine and what is missing."""
    import json

    from pytest_edgeai import doctor

    findings = doctor.examine(options.root)
    if options.json:
        print(json.dumps([finding.as_json() for finding in findings], indent=2))
    else:
        from rich.console import Console

        doctor.show(findings, Console())
    return 1 if any(finding.level == "broken" for finding in findings) else 0


def _compare(options: argparse.Namespace) -> int:
    """Compare two saved sessions, strategy by strategy; exit code 1 where something is worse or missing."""
    import json

    from pytest_edgeai.baselines import find_recording
    from pytest_edgeai.reporting import comparison as written
    from pytest_edgeai.reporting import junit
    from pytest_edgeai.reporting.files import finite
    from pytest_edgeai.settings import SettingsError, load_settings
    from pytest_edgeai.verdicts.comparison import compare, rules

    try:
        sides = [find_recording(wanted, options.root, options.storage) for wanted in (options.before, options.after)]
        found = compare(sides[0], sides[1], *rules(load_settings(options.root, {})))
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for path, text in (
        (options.json, json.dumps(finite(found.as_json()), indent=1, allow_nan=False) + "\n"),
        (options.markdown, written.markdown(found)),
        (options.junit, junit.comparison_report(found)),
    ):
        if path == "-":
            print(text, end="")
        elif path is not None:
            try:
                Path(path).write_text(text, encoding="utf-8")
            except OSError as error:
                print(f"error: {path} cannot be written: {error.strerror}", file=sys.stderr)
                return 2
    if "-" not in (options.json, options.markdown, options.junit):
        from rich.console import Console

        console = Console(highlight=False)
        if not console.is_terminal:
            console.width = max(console.width, 170)
        console.print(written.table(found))
        for sentence in written.sentences(found):
            console.print(sentence, markup=False, soft_wrap=True)
        console.print(written.verdict(found), markup=False, soft_wrap=True, style="green" if found.green else "red")
    return 0 if found.green else 1


def _image_build(options: argparse.Namespace) -> int:
    """Build the tier image from the installed package; prints its tag, which changes with its content."""
    from pytest_edgeai.settings import SettingsError, load_settings
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
    except (SettingsError, engine.EngineError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(tag)
    return 0


def _clean(options: argparse.Namespace) -> int:
    """Remove artifacts, samples and evaluations from the store, and what killed sessions left on a container engine.

    The next session builds what it needs.
    """
    import time

    from pytest_edgeai.artifacts import Store, default_root
    from pytest_edgeai.settings import SettingsError, load_settings
    from pytest_edgeai.tiers import engine
    from pytest_edgeai.tiers.specs import USUAL_ENGINE

    store = Store(options.store or default_root())
    before = None if options.unused_for is None else time.time() - options.unused_for * 86400
    removed, size_bytes = store.clean(used_before=before, dry_run=options.dry_run)
    verb = "would remove" if options.dry_run else "removed"
    print(f"{verb} {removed} entries, {size_bytes / 1e6:.1f} MB, from {store.root}")
    try:
        tiers = load_settings(options.root, {}).topology.tiers.values()
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    addresses = {tier.engine for tier in tiers} - {USUAL_ENGINE}
    if engine.socket_is_there():
        addresses.add(USUAL_ENGINE)
    for address in sorted(addresses, key=str):
        try:
            with engine.reached(address) as there:
                names = engine.sweep(engine.connect(there), dry_run=options.dry_run)
        except engine.EngineError as error:
            print(f"left what may be on a container engine: {error}")
        else:
            print(f"{verb} {len(names)} containers and networks that were left behind on {address}")
    return 0


def _days(text: str) -> float:
    days = float(text)
    if not days >= 0:
        raise argparse.ArgumentTypeError(f"{text} is not 0 or more")
    return days


if __name__ == "__main__":
    sys.exit(main())
