"""Names and other values that are wrong: each is one sentence at collection that names where it was said."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import SETTINGS, Project

MODES: tuple[list[str], ...] = ([], ["--collect-only"], ["--edgeai-prepare"])


@pytest.mark.parametrize("mode", MODES, ids=["measure", "collect", "prepare"])
@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("--edgeai-models=tyo", "there is no model 'tyo'; did you mean 'toy'? (known: toy, other)"),
        ("--edgeai-operators=wurse", "there is no operator 'wurse'; did you mean 'worse'? (known: *)"),
        ("--edgeai-operators=identty>worse", "in 'identty>worse', there is no operator 'identty'; did you mean*"),
        ("--edgeai-tiers=egde", "there is no tier 'egde'; did you mean 'edge'? (known: mobile, edge, cloud)"),
        ("--edgeai-profile=quik", "there is no profile 'quik'; did you mean 'quick'? (known: quick, paper)"),
        ("--edgeai-replicates=0", "it must be at least 1 (got 0)"),
        ("--edgeai-backend=proces", "there is no backend 'proces'; did you mean 'process'? (known: auto, *instant)"),
        ("--edgeai-scale=papr", "there is no scale 'papr'; did you mean 'paper'? (known: small, paper)"),
        ("--edgeai-compare=nobody", "no session is saved in */.benchmarks: save one by *"),
        ("--edgeai-against=nobody", "* is in no git repository: *"),
    ],
)
def test_an_option_that_is_wrong_is_named_and_nothing_is_built(
    project: Project, option: str, sentence: str, mode: list[str]
) -> None:
    name, _, value = option.partition("=")
    project.settings('store = "fresh"\n' + SETTINGS)
    result = project.run(name, value, *mode)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {name}: {sentence}"])
    assert sum(bool(line) for line in result.errlines) == 1
    assert not any((project.path / folder).exists() for folder in ("fresh", "reports"))


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        (
            "--edgeai-weights=randm",
            "there is no source of weights 'randm'; did you mean 'random'? (known: hub*",
        ),
        ("--edgeai-wait=soon", "expected a *"),
        ("--edgeai-seed=lucky", "invalid int value: 'lucky'"),
        ("--edgeai-replicates=many", "invalid int value: 'many'"),
    ],
)
def test_an_option_that_cannot_be_read_is_named(project: Project, option: str, sentence: str) -> None:
    name = option.partition("=")[0]
    result = project.run(option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*error: argument {name}: {sentence}*"])


WRONG = [
    ('models = ["tyo"]', "models", "there is no model 'tyo'; did you mean 'toy'?"),
    ('operators = ["identity", "wurse"]', "operators", "there is no operator 'wurse'; did you mean 'worse'?"),
    ('tiers = ["egde"]', "tiers", "there is no tier 'egde'; did you mean 'edge'?"),
    ('baseline = "identty"', "baseline", "there is no operator 'identty'; did you mean 'identity'?"),
    ('profile = "quik"', "profile", "there is no profile 'quik'; did you mean 'quick'?"),
    ("replicates = 0", "replicates", "it must be at least 1 (got 0)"),
    ('backend = "proces"', "backend", "there is no backend 'proces'; did you mean 'process'?"),
    ('scale = "papr"', "scale", "there is no scale 'papr'; did you mean 'paper'?"),
    ('p_adjust = "hlom"', "p_adjust", "there is no adjustment 'hlom'; did you mean 'holm'?"),
    ('profils = "quick"', "profils", "there is no setting 'profils'; did you mean 'profile"),
    ('[profiles.quick]\nwire = "jsn"', "profiles.quick.wire", "there is no wire 'jsn'; did you mean 'json'?"),
    ('[profiles.quick]\nsession = "once"', "profiles.quick.session", "there is no session 'once' (known: per_dep"),
    ('[topology]\norigin = "mobil"', "topology", "origin: there is no tier 'mobil'; did you mean 'mobile'?"),
    ('[topology]\nshaping = "kernal"', "topology.shaping", "there is no shaping 'kernal'; did you mean 'kernel'?"),
    ('[topology.tiers.edge]\ngpu = "yes"', "topology.tiers.edge.gpu", "there is no gpu 'yes' (known: no, prefer, req"),
    ('[topology.links.mobile-clod]\nrate = "1 Mbit/s"', "topology", "links.mobile-clod: a link is named by two tiers"),
    ('[image]\nruntime = "onnx"', "image.runtime", "there is no runtime 'onnx'"),
    ("[budgets.accuracy_drop_pp.operators]\nwurse = 1", "budgets.accuracy_drop_pp", "there is no operator 'wurse'"),
    ("[budgets.accuracy_drop_pp.models.tyo]\nworse = 1", "budgets.accuracy_drop_pp.models", "there is no model 'tyo'"),
    ("[budgets.metric_drop.operators]\nwurse = 1", "budgets.metric_drop", "there is no operator 'wurse'"),
    ("[budgets.accuracy_floor.models.tyo]\nworse = 1", "budgets.accuracy_floor.models", "there is no model 'tyo'"),
    (
        '[[budgets.latency]]\nstrategies = "toy-wurse-*"\nmax_median_s = 1',
        "budgets.latency",
        "no strategy is named by 'toy-wurse-*'; did you mean 'toy-worse-",
    ),
    ('[gate]\ninconclusive = "fial"', "gate.inconclusive", "there is no inconclusive 'fial'; did you mean 'fail'?"),
    ("[operator_parameters.sptk]\nx = 1", "operator_parameters", "there is no operator 'sptk'; did you mean 'sptq'?"),
    (
        "[operator_parameters.sptq]\nengin = 1",
        "operator_parameters.sptq.engin",
        "there is no parameter 'engin'; did y",
    ),
    ("[tolerances]\nlink_shar = 1", "tolerances.link_shar", "there is no setting 'link_shar'; did you mean 'link_sh"),
    ('[weights]\nbert = "random"', "weights.bert", "no subject model of the scale 'small' uses it"),
    ('[data]\nilsvrc = "photos"', "data.ilsvrc", "no subject model of the scale 'small' uses it"),
    ('[data]\nilsvrc_train = "photos"', "data.ilsvrc_train", "no subject model of the scale 'small' uses it"),
    ("[data]\nimages = 200", "data.images", "no subject model of the scale 'small' uses it"),
    (
        '[data]\nmrpc = "pairs"',
        "data.mrpc",
        "no subject model of the scale 'small' uses it, those at full size do",
    ),
    (
        '[subjects.mine]\ngraph = "edgeai.toml"\nexamples = "edgeai.toml"\nmetrics = ["mae"]',
        "subjects.mine.examples",
        "edgeai.toml is none of .npz, .csv, .jsonl",
    ),
]


def _written(text: str, pyproject: bool) -> str:
    """The settings of the toys with others in the place of those that they have."""
    key = text.partition(" =")[0]
    top, _, tables = SETTINGS.partition("\n[")
    kept = "\n".join(line for line in top.splitlines() if not line.startswith(f"{key} ="))
    first, rest = (text, "") if not text.startswith("[") else ("", text)
    tables = f"[{tables}" if "budgets.accuracy_drop_pp" not in rest else ""
    whole = f"{kept}\n{first}\n{tables}\n{rest}"
    return whole.replace("\n[", "\n[tool.edgeai.").replace("[tool.edgeai.[", "[[tool.edgeai.") if pyproject else whole


@pytest.mark.parametrize(("text", "key", "sentence"), WRONG, ids=[one[0].replace("\n", " ") for one in WRONG])
def test_a_setting_that_is_wrong_is_named_with_its_file(project: Project, text: str, key: str, sentence: str) -> None:
    file = project.path / "edgeai.toml"
    file.write_text(_written(text, pyproject=False), encoding="utf-8")
    result = project.run("--collect-only")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (error,) = filter(None, result.errlines)
    assert error.startswith(f"ERROR: {file}: {key}: {sentence}")


def test_a_setting_in_pyproject_is_named_with_its_table(project: Project) -> None:
    (project.path / "edgeai.toml").unlink()
    file = project.path / "pyproject.toml"
    text = _written('[topology]\nshaping = "kernal"', pyproject=True)
    file.write_text(f"[tool.edgeai]\n{text}", encoding="utf-8")
    result = project.run("--edgeai-prepare")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (error,) = filter(None, result.errlines)
    assert error.startswith(f"ERROR: {file}: tool.edgeai.topology.shaping: there is no shaping 'kernal'")


def test_an_option_is_not_blamed_on_the_file_nor_the_file_on_an_option(project: Project) -> None:
    file = project.path / "edgeai.toml"
    file.write_text(_written('profile = "quik"', pyproject=False), encoding="utf-8")
    result = project.run("--collect-only", "--edgeai-models=tyo")
    result.stderr.fnmatch_lines([f"ERROR: {file}: profile: there is no profile 'quik'*"])
    result = project.run("--collect-only", "--edgeai-profile=qick")
    result.stderr.fnmatch_lines(["ERROR: --edgeai-profile: there is no profile 'qick'; did you mean 'quick'?*"])
