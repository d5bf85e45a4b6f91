"""`edgeai`: what needs no measurement. Each command is a function that returns an exit code; the work is elsewhere."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_edgeai import __version__


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

    doctor = commands.add_parser(
        "doctor", help="say what works on this machine and what is missing", description=_doctor.__doc__
    )
    doctor.add_argument("--root", type=Path, default=Path(), metavar="DIR", help="the project (default: here)")
    doctor.add_argument("--json", action="store_true", help="print JSON")
    doctor.set_defaults(command=_doctor)

    clean = commands.add_parser("clean", help="remove built artifacts", description=_clean.__doc__)
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


def _clean(options: argparse.Namespace) -> int:
    """Remove artifacts, samples and evaluations from the store; the next session builds what it needs."""
    import time

    from pytest_edgeai.artifacts import Store, default_root

    store = Store(options.store or default_root())
    before = None if options.unused_for is None else time.time() - options.unused_for * 86400
    removed, size_bytes = store.clean(used_before=before, dry_run=options.dry_run)
    verb = "would remove" if options.dry_run else "removed"
    print(f"{verb} {removed} entries, {size_bytes / 1e6:.1f} MB, from {store.root}")
    return 0


def _days(text: str) -> float:
    days = float(text)
    if not days >= 0:
        raise argparse.ArgumentTypeError(f"{text} is not 0 or more")
    return days


if __name__ == "__main__":
    sys.exit(main())
