"""Another version of the project beside this one: its own code makes its artifacts, this session measures them.

The other version runs as `pytest --edgeai-hand-over FILE` in a checkout of its own, where it makes ready what is
asked for and writes down where in the store it is. Artifacts that both versions have in common are built once,
because the store finds them by what they are made from.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_edgeai.errors import SettingsError, VersionError
from pytest_edgeai.measure import accuracy
from pytest_edgeai.measured import Commit, OtherVersion
from pytest_edgeai.operators import chains
from pytest_edgeai.operators.preparation import Prepared
from pytest_edgeai.operators.worker import Failure, Progress, Wanted, prepare_all
from pytest_edgeai.store import Artifact, Kind, Store
from pytest_edgeai.subjects import examples as example_store
from pytest_edgeai.subjects.examples import Examples
from pytest_edgeai.versions import own_servers
from pytest_edgeai.versions.checkouts import Checkout, checked_out
from pytest_edgeai.versions.conditions import code_digest

if TYPE_CHECKING:
    from pytest_edgeai.session import MeasuringSession

_FORMAT: Final = 2  # counted up when an evaluation of the store is read otherwise
_PROGRESS: Final = "edgeai-progress:"


@dataclass(frozen=True, slots=True)
class Question:
    """What the other version is asked for.

    Parameters
    ----------
    wanted
        Models and operators.
    store
        The store to make them ready in.
    """

    wanted: tuple[Wanted, ...]
    store: Path


def prepare_version(
    commit: Commit,
    question: Question,
    root: Path,
    arguments: Sequence[str],
    report: Callable[[Progress], None],
) -> OtherVersion:
    """Have another version make its artifacts ready.

    Parameters
    ----------
    commit
        Which.
    question
        What is asked for.
    root
        The project's root folder in the working copy.
    arguments
        Of pytest: where the tests are, and options that decide what models and operators there are.
    report
        Is told about progress.

    Raises
    ------
    VersionError
        It cannot be checked out, or does not answer.
    """
    with checked_out(commit) as checkout:
        return _ask(checkout, question, root, arguments, report)


def add_other_version(session: MeasuringSession, arguments: Sequence[str], report: Callable[[Progress], None]) -> None:
    """Have the commit that a session compares with make its artifacts ready, and keep the trials that are comparable.

    A strategy whose artifact both versions have, byte for byte, is measured once, by as many trials as usual: there is
    nothing to tell apart.

    Parameters
    ----------
    session
        With a commit to compare with.
    arguments
        Where the tests are.
    report
        Is told about progress.

    Raises
    ------
    VersionError
        The commit does not make its artifacts ready.
    """
    assert session.against is not None
    settings = session.settings
    options = ["--edgeai-scale", settings.scale]
    if "default" in settings.weights:
        options += ["--edgeai-weights", settings.weights["default"]]
    question = Question(session.wanted, session.plan.store_root.absolute())
    asked = question, session.root, [*options, *arguments], report
    if session.with_servers:
        checkout = session.hold(checked_out(session.against))  # its servers run from there
        other = own_servers.open_servers(session, _ask(checkout, *asked), checkout)
    else:
        other = prepare_version(session.against, *asked)
    session.keep_comparable(other)


def _ask(
    checkout: Checkout,
    question: Question,
    root: Path,
    arguments: Sequence[str],
    report: Callable[[Progress], None],
) -> OtherVersion:
    """Have a version that is checked out make its artifacts ready."""
    with tempfile.TemporaryDirectory(prefix="edgeai-hand-over-") as scratch:
        path = Path(scratch) / "question.json"
        path.write_text(json.dumps({"format": _FORMAT, "wanted": question.wanted}), encoding="utf-8")
        _run(checkout, path, question.store, root, arguments, report)
        return _read_answer(checkout.commit, _answer_path(path), question)


def hand_over(session: MeasuringSession, path: Path, write: Callable[[str], object]) -> None:
    """The other version's part: make ready what the question asks for, as far as it is known here.

    Parameters
    ----------
    session
        Of the version that is asked.
    path
        The question; the answer is put beside it.
    write
        Writes a line of progress.
    """
    from pytest_edgeai.matrix.strategies import Strategy

    wanted = json.loads(path.read_text(encoding="utf-8"))["wanted"]
    registered, chosen = session.registered, session.selection
    operators = dict(registered.operators)
    for _, operator in wanted:
        with suppress(SettingsError):  # a chain may have a step that is not known here
            operators = chains.with_chains(operators, [operator])
    known = [(model, operator) for model, operator in wanted if model in registered.subjects and operator in operators]
    plan = replace(session.plan, operators=operators)
    artifacts: dict[str, dict[str, Any]] = {}

    def tell(progress: Progress) -> None:
        write(f"{_PROGRESS}{json.dumps(asdict(progress))}")

    unusable = {one: registered.subjects[one[0]].missing for one in known}
    results = prepare_all(plan, [one for one in known if not unusable[one]], tell)
    for one in known:
        model, operator = one
        result = results.get(one, Failure(unusable[one]))
        if isinstance(result, Failure):
            found: Mapping[str, str] = {"failure": result.sentence}
        else:
            evaluated = plan.evaluation_recipe(model, operator, result)
            found = {
                "artifact": result.artifact.entry.digest,
                "evaluation": evaluated.digest,
                "validation": example_store.recipe(registered.subjects[model].examples, "validation").digest,
            }
        artifacts.setdefault(model, {})[operator] = found
    strategies = [
        Strategy(model, operator, placement).id
        for model in chosen.models
        for operator in chosen.operators
        for placement in chosen.placements
        if registered.offers(model, operator) and registered.fits(operator, placement)
    ]
    answer = {
        "format": _FORMAT,
        "artifacts": artifacts,
        "strategies": strategies,
        "code": code_digest(),
        "outside": own_servers.describe(session.settings.topology),
    }
    _answer_path(path).write_text(json.dumps(answer), encoding="utf-8")


def _run(
    checkout: Checkout,
    question: Path,
    store: Path,
    root: Path,
    arguments: Sequence[str],
    report: Callable[[Progress], None],
) -> None:
    """Run the other version to its end, passing on what it says of its progress."""
    label, folder = checkout.commit.label, checkout.counterpart(root)
    if not folder.is_dir():
        raise VersionError(f"{label} has no folder {root.resolve().relative_to(checkout.commit.repository)}")
    places = [checkout.translated(argument) for argument in arguments]
    options = ["-s", "--edgeai-hand-over", str(question), "--edgeai-store", str(store)]

    def hear(line: str) -> bool:
        if not line.startswith(_PROGRESS):
            return False
        said = json.loads(line.removeprefix(_PROGRESS))
        model, operator = said.pop("wanted")
        report(Progress((model, f"{operator}@{checkout.commit.revision}"), **said))
        return True

    code, last = checkout.run_pytest(folder, [*options, *places], {}, hear)
    if not _answer_path(question).is_file():
        raise VersionError(
            f"{label} did not make its artifacts ready (its pytest exited with {code}); it must have this option and "
            f"these tests: {last}"
        )


def _read_answer(commit: Commit, path: Path, question: Question) -> OtherVersion:
    prepared: dict[Wanted, Prepared] = {}
    failures: dict[Wanted, str] = {}
    try:
        answer = json.loads(path.read_text(encoding="utf-8"))
        if answer["format"] != _FORMAT:
            raise VersionError(f"{commit.label} writes format {answer['format']}, and this version reads {_FORMAT}")
        for wanted in question.wanted:
            found = answer["artifacts"].get(wanted[0], {}).get(wanted[1])
            if found is None:
                continue
            if "failure" in found:
                failures[wanted] = str(found["failure"])
            else:
                prepared[wanted] = _found(commit, wanted, found, Store(question.store))
        return OtherVersion(
            commit,
            prepared,
            failures,
            tuple(map(str, answer["strategies"])),
            str(answer.get("code", "")),
            dict(answer.get("outside", {})),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise VersionError(f"{commit.label} gave no answer that can be read ({error})") from None


def _found(commit: Commit, wanted: Wanted, digests: Mapping[str, str], store: Store) -> Prepared:
    shelves: Mapping[str, Kind] = {"artifact": "artifacts", "evaluation": "evaluations", "validation": "samples"}
    entries = {}
    for what, kind in shelves.items():
        entry = store.get(kind, digests[what])
        if entry is None:
            raise VersionError(
                f"{commit.label} built {'-'.join(wanted)}, but {kind}/{digests[what]} is not in the store"
            )
        entries[what] = entry
    artifact = Artifact(*wanted, entries["artifact"])
    return Prepared(artifact, accuracy.load(entries["evaluation"]), Examples(entries["validation"]))


def _answer_path(question: Path) -> Path:
    return question.with_name("answer.json")
