"""`edgeai check`: whether the declared subject models can be measured, told in seconds and before anything is built."""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_edgeai.errors import EdgeAIError, SettingsError
from pytest_edgeai.measure.findings import Finding
from pytest_edgeai.measure.session_time import RequestCost
from pytest_edgeai.selection import Registered, Selection
from pytest_edgeai.settings import Settings, validated
from pytest_edgeai.settings_files import find_settings

if TYPE_CHECKING:
    from pytest_edgeai.arrays import Array
    from pytest_edgeai.serving.repository import Model
    from pytest_edgeai.settings_tables import Profile
    from pytest_edgeai.subjects import Example, SubjectModel
    from pytest_edgeai.subjects.predictions import Predictions

RUNS: Final = 10
"""How many examples are run."""
_LONGEST_S: Final = 10.0
"""For how long more examples are run, where a metric says nothing about those."""
_HOOKS: Final = (
    "what the hooks of conftest.py add is known to pytest only: pytest --benchmark-only --collect-only -q lists all "
    "trials"
)


def examine(root: Path) -> list[Finding]:
    """Look at the settings of a project, its declared subject models, the operators and the size of a session.

    Parameters
    ----------
    root
        The project's folder.
    """
    from pytest_edgeai.tiers.registry import check_backend

    findings: list[Finding] = []
    has_hooks = any(any(root.glob(f"{depth}conftest.py")) for depth in ("", "*/", "*/*/"))
    if has_hooks:
        findings.append(Finding("conftest.py", "limited", _HOOKS))
    try:
        path, content = find_settings(root)
        settings = validated(path, content, {})
        foreign = _not_installed(settings) if has_hooks else []
        if foreign:
            sentence = f"nothing was looked at, since {', '.join(foreign)} may be what a hook of conftest.py adds"
            return [*findings, Finding("settings", "limited", sentence)]
        registered = registered_in(settings)
        if not has_hooks:
            check_backend(settings.backend, settings.origins.of("backend"), {})
    except SettingsError as error:
        return [*findings, Finding("settings", "broken", str(error))]
    findings.append(Finding("settings", "fine", "defaults" if path is None else str(path)))
    if not settings.subjects:
        sentence = (
            "the settings declare no subject model: a table [subjects.NAME] has graph, examples and metrics; "
            "edgeai init writes one for an ONNX file"
        )
        return [*findings, Finding("subject models", "limited" if has_hooks else "broken", sentence)]
    try:
        selection = Selection.from_settings(settings, registered)
    except SettingsError as error:
        told = f"{error}" + (" among those that are declared" if has_hooks else "")
        return [*findings, Finding("selection", "limited" if has_hooks else "broken", told)]
    costs: dict[str, RequestCost] = {}
    for name in selection.models:
        findings += _subject(registered.subjects[name], settings.measurement, costs)
    findings += _operators(selection, registered)
    findings.append(_session(settings, selection, registered, costs))
    return findings


def registered_in(settings: Settings) -> Registered:
    """What can be measured without hooks: the subject models of the settings, and the operators that are installed.

    Raises
    ------
    SettingsError
        A subject model, a metric or an operator cannot be used.
    """
    from pytest_edgeai.collection import registering

    return Registered(registering.subject_models(settings), registering.operators(settings), {})


def _not_installed(settings: Settings) -> list[str]:
    """The metrics and operators with parameters that the settings name and that only a hook can add."""
    from pytest_edgeai.operators import registry
    from pytest_edgeai.subjects import metric_registry

    metrics, operators = metric_registry.merged(()), registry.merged(())
    named = itertools.chain.from_iterable(table.metrics for table in settings.subjects.values())
    unknown = [name for name in named if name not in metrics and "." not in name]
    return [*dict.fromkeys(unknown), *(name for name in settings.operator_parameters if name not in operators)]


def _subject(subject: SubjectModel, profile: Profile, costs: dict[str, RequestCost]) -> Iterator[Finding]:
    """Findings about a subject model; notes what a request costs."""
    with tempfile.TemporaryDirectory() as folder:
        what = f"{subject.name}: graph"
        try:
            model = _loaded(subject, Path(folder) / subject.name)
            yield Finding(what, "fine", _signature(model), {"load_s": model.load_s})
            what = f"{subject.name}: examples"
            calibration = subject.examples.generate("calibration")
            validation = subject.examples.generate("validation")
            if not (calibration and validation):
                raise EdgeAIError(f"{subject.examples.name} has no examples")
            chosen = _spread(validation, RUNS)
            for number, example in enumerate(_spread(calibration, RUNS)):
                _infer(model, example, f"calibration example {number}")
            answers, taken_s = _timed(model, chosen)
        except (EdgeAIError, ValueError, OSError) as error:
            yield Finding(what, "broken", str(error))
            return
        median_s = statistics.median(taken_s)
        sent = sorted(validation, key=lambda one: -sum(map(_size_bytes, one.inputs.values())))[: profile.inputs]
        costs[subject.name] = RequestCost(
            median_s,
            model.load_s,
            statistics.fmean(_body_bytes(one.inputs, profile) for one in sent),
            statistics.fmean(_body_bytes(answer, profile) for answer in answers),
        )
        sentence = (
            f"{len(validation)} to validate on, {len(calibration)} to calibrate with; {len(chosen)} were run, "
            f"{1000 * median_s:.3g} ms each"
        )
        yield Finding(what, "fine", sentence, {"validation": len(validation), "median_s": median_s})
        yield from _metrics(subject, model, validation, (chosen, answers), median_s)


def _loaded(subject: SubjectModel, folder: Path) -> Model:
    """The model as a tier loads it.

    Raises
    ------
    EdgeAIError
        It cannot be loaded.
    """
    import shutil

    from pytest_edgeai.serving.repository import GRAPH_NAME, Execution, Model
    from pytest_edgeai.subjects.skeletons import put_graph

    assert subject.graph is not None
    folder.mkdir()
    put_graph(subject.graph, folder / GRAPH_NAME)
    for asset in subject.assets:
        shutil.copy(asset, folder)
    if subject.pipeline.preprocess is not None or subject.pipeline.postprocess is not None:
        subject.pipeline.write(folder)
    return Model(folder, Execution())


def _signature(model: Model) -> str:
    sides = (
        ", ".join(
            f"{one.name} {one.datatype} [{', '.join('?' if size < 0 else str(size) for size in one.shape)}]"
            for one in tensors
        )
        for tensors in (model.inputs, model.outputs)
    )
    return "ONNX Runtime loads it; it takes {} and gives {}".format(*sides)


def _spread(examples: Sequence[Example], count: int) -> list[Example]:
    """Examples from everywhere, since files are often sorted by class."""
    count = min(count, len(examples))
    return [examples[number * len(examples) // count] for number in range(count)]


def _infer(model: Model, example: Example, name: str) -> dict[str, Array]:
    from pytest_edgeai.serving.steps import SampleError

    try:
        return model.infer(example.inputs)[0]
    except SampleError as error:
        raise EdgeAIError(f"{name}: {error}") from None


def _timed(model: Model, examples: Sequence[Example]) -> tuple[list[Mapping[str, Array]], list[float]]:
    """Answers, and the seconds that each took."""
    answers: list[Mapping[str, Array]] = []
    taken_s = []
    for number, example in enumerate(examples):
        began = time.perf_counter()
        answers.append(_infer(model, example, f"validation example {number} of those that were run"))
        taken_s.append(time.perf_counter() - began)
    return answers, taken_s


def _metrics(
    subject: SubjectModel,
    model: Model,
    validation: Sequence[Example],
    run: tuple[Sequence[Example], Sequence[Mapping[str, Array]]],
    median_s: float,
) -> Iterator[Finding]:
    """What each metric says about what was run; about more examples, where these do not hold what it needs."""
    from pytest_edgeai.measure.accuracy import metrics_of, score
    from pytest_edgeai.subjects.predictions import MetricError, gathered

    examples, predictions = run[0], gathered(run[1], has_classes=subject.has_classes)
    more = _spread(validation, max(RUNS, int(_LONGEST_S / max(median_s, 1e-6))))
    for one in metrics_of(subject):
        what, metric = f"{subject.name}: {one.name}", replace(one, resamples=0)  # no interval is asked for
        try:
            try:
                found = score(metric, predictions, _references(metric, examples, predictions))
            except MetricError:
                if len(more) == len(examples):
                    raise
                examples, predictions = more, gathered(_timed(model, more)[0], has_classes=subject.has_classes)
                found = score(metric, predictions, _references(metric, examples, predictions))
        except EdgeAIError as error:
            yield Finding(what, "broken", str(error))
        else:
            yield Finding(what, "fine", f"{found} on {len(examples)} examples", {"value": found.value})


def _references(metric: Any, examples: Sequence[Example], predictions: Predictions) -> Any:
    """What a metric compares with, as a session has it."""
    from pytest_edgeai.subjects.predictions import integers

    if metric.compares_with_baseline:
        return predictions.values
    references = [example.reference for example in examples]
    whole = integers(references)
    return references if whole is None else whole


def _operators(selection: Selection, registered: Registered) -> Iterator[Finding]:
    """Which of the selected operators can be used on which model."""
    from pytest_edgeai.operators.chains import lacking, refusal

    for operator in selection.operators:
        subjects = {name: registered.subjects[name] for name in selection.models}
        known = registered.operators
        reasons = {
            name: refusal(operator, one, known) or lacking(operator, one, known) for name, one in subjects.items()
        }
        refused = [f"cannot be used on {name}: {reason}" for name, reason in reasons.items() if reason]
        where = ", ".join(str(one) for one in selection.placements if registered.fits(operator, one))
        sentence = "; ".join(refused) or f"can be used; runs on {where}"
        yield Finding(f"operator {operator}", "broken" if refused else "fine", sentence)


def _session(
    settings: Settings, selection: Selection, registered: Registered, costs: Mapping[str, RequestCost]
) -> Finding:
    """How many trials a session has, and how long they take, computed."""
    from pytest_edgeai.matrix.strategies import Strategy
    from pytest_edgeai.measure.host import this_host
    from pytest_edgeai.measure.session_time import SERVER_S, SessionTime, trial_time
    from pytest_edgeai.operators.chains import takes_every_cut
    from pytest_edgeai.tiers.allotment import allot
    from pytest_edgeai.tiers.registry import AUTO, usual_backend
    from pytest_edgeai.tiers.sharing import share_among_nodes

    host, profile, topology = this_host(), settings.measurement, settings.topology
    alone = allot(topology.tiers, host.cores, host.memory_bytes)
    allotments = share_among_nodes(alone, selection.placements, topology, host.cores)
    backend = usual_backend(topology) if settings.backend == AUTO else settings.backend
    requests, strategies, spent = profile.warmup + profile.requests, 0, SessionTime()
    further, longest = 0, SessionTime()
    for name, operator, placement in itertools.product(selection.models, selection.operators, selection.placements):
        if not registered.fits(operator, placement):
            continue
        strategies += 1
        hops = topology.way(placement.tiers)
        started = {*placement.tiers, *(hop.far for hop in hops)}
        scales = [allotments[tier].compute_scale for tier in placement.tiers if tier in allotments]
        each = trial_time(
            costs.get(name, RequestCost(0.0)),
            requests=requests,
            probe_s=profile.probe_s,
            loads_each=profile.session == "per_request",
            hops=hops,
            scale=max(scales, default=1.0),
            servers=placement.nodes * sum(topology.tiers[tier].url is None for tier in started),
            server_s=SERVER_S.get(backend, 0.0),
        )
        spent += each
        added = settings.most_further_trials({Strategy(name, operator, placement).id: profile.replicates})
        further, longest = further + added, longest + each.times(added)
    spent, trials = spent.times(profile.replicates), strategies * profile.replicates
    every = any(takes_every_cut(name, registered.operators) for name in selection.operators)
    more = " and more, since every cut is a strategy" if every else ""
    sentence = (
        f"{trials} trials{more} for a test that requests trial: {strategies} strategies × {profile.replicates} "
        f"replicates, each with {requests} requests; estimated at {spent.sentence()}, without building artifacts, "
        "every operator computing as long as the model itself"
    )
    if further:
        sentence += f"; up to {further} more trials where a percentile is undecided, at most {longest.sentence()}"
    figures = {
        "trials": trials,
        "strategies": strategies,
        "requests": requests,
        "estimate_s": spent.total_s,
        "computing_s": spent.computing_s,
        "crossing_s": spent.crossing_s,
        "probing_s": spent.probing_s,
        "starting_s": spent.starting_s,
        "further_trials": further,
        "further_s": longest.total_s,
    }
    return Finding("session", "fine", sentence, figures)


def _size_bytes(tensor: Array) -> int:
    """How much a tensor holds; texts and images are objects."""
    return sum(len(one) for one in tensor.flat) if tensor.dtype == object else tensor.nbytes


def _body_bytes(tensors: Mapping[str, Array], profile: Profile) -> int:
    """How long the body of a message with these tensors is; those that the encoding cannot carry are left to pytest."""
    from pytest_edgeai.wire.protocol import InferRequest, ProtocolError, encode_request

    try:
        return encode_request(InferRequest(tensors), encoding=profile.wire).length
    except (ProtocolError, TypeError):
        return sum(map(_size_bytes, tensors.values()))
