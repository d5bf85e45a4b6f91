"""Under which conditions it was measured, and the command that measures it again."""

from __future__ import annotations

import json
import shlex
from datetime import UTC, datetime

from pytest_edgeai.reporting.page.parts import Row, Section, Table, Text
from pytest_edgeai.reporting.page.results import Results


def conditions(results: Results) -> Section:
    """Host, versions, digests, settings as used."""
    document = results.document
    host, backend = document["host"], document["backend"]
    facts = {
        "measured": period(results),
        "pytest-edgeai": document["version"],
        "seed": str(document["seed"]),
        "backend": f"{backend['name'] or 'none'}: {backend['description']}",
        "processor": f"{host['processor']}, {host['cores']} cores",
        "instructions": ", ".join(host["instructions"]) or "–",
        "memory": f"{host['memory_bytes'] / 2**30:.1f} GiB",
        "system": host["system"],
        **{name: version or "not installed" for name, version in document["libraries"].items()},
    }
    digests = [
        Row((f"{one['model']}-{one['operator']}", one["digest"], one["content"]), {"model": one["model"]})
        for one in document["artifacts"]
    ]
    return Section(
        "conditions",
        "Conditions",
        (),
        [
            Text("command", "The command that repeats it", repeating_command(results)),
            Table("host", "Host and versions", ("what", "value"), [Row(fact) for fact in facts.items()], texts=2),
            Table(
                "digests",
                "Digests of the artifacts: of the recipe, and of the files",
                ("artifact", "recipe", "content"),
                digests,
                texts=3,
            ),
            Text("settings", "Settings as used", json.dumps(document["settings"], indent=1, ensure_ascii=False)),
        ],
    )


def repeating_command(results: Results) -> str:
    """The command line of the session, with the seed that it drew; in its place the axes, where it is not known."""
    document = results.document
    seed = f"--edgeai-seed={document['seed']}"
    arguments = document.get("arguments")
    if arguments is None:
        arguments = [
            "--benchmark-only",
            f"--edgeai-models={','.join(results.models)}",
            f"--edgeai-operators={','.join(results.operators)}",
            f"--edgeai-tiers={','.join(results.tiers)}",
        ]
    if not any(argument.partition("=")[0] == "--edgeai-seed" for argument in arguments):
        arguments = [*arguments, seed]
    return shlex.join(["pytest", *arguments])


def period(results: Results) -> str:
    """When the first attempt began and the last one ended."""
    spans = [
        (trial["started_at"], trial["started_at"] + (trial["duration_s"] or 0.0))
        for trial in results.document["trials"]
        if trial["started_at"]
    ]
    if not spans:
        return "nothing was measured"
    first, last = (
        datetime.fromtimestamp(moment, UTC)
        for moment in (min(begin for begin, _ in spans), max(end for _, end in spans))
    )
    return f"{first:%Y-%m-%d %H:%M} to {last:%H:%M} UTC"
