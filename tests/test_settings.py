"""Settings: defaults that hold, tables that change single values, and sentences that name the mend."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_edgeai.errors import SettingsError
from pytest_edgeai.settings import Settings, load_settings
from pytest_edgeai.settings_tables import AccuracyBudgets, AccuracyFloors


def _load(folder: Path, text: str, **overrides: object) -> Settings:
    (folder / "edgeai.toml").write_text(text, encoding="utf-8")
    return load_settings(folder, overrides)


def test_without_a_file_the_defaults_are_the_studys(tmp_path: Path) -> None:
    settings = load_settings(tmp_path, {})
    assert list(settings.topology.tiers) == ["mobile", "edge", "cloud"]
    assert settings.topology.links["mobile-edge"].rate_bps == 200e6
    assert settings.topology.links["edge-cloud"].rate_bps == 1e6
    assert settings.operators == ("identity", "sptq")
    paper = settings.profiles["paper"]
    assert (paper.warmup, paper.inputs, paper.passes, paper.session) == (100, 100, 5, "per_request")


def test_a_table_changes_single_values_of_a_known_profile(tmp_path: Path) -> None:
    settings = _load(
        tmp_path, "[profiles.quick]\nreplicates = 3\n[profiles.mine]\nreplicates=1\nwarmup=0\ninputs=1\npasses=1"
    )
    assert settings.profiles["quick"].replicates == 3
    assert settings.profiles["quick"].inputs == Settings().profiles["quick"].inputs
    assert "paper" in settings.profiles
    assert settings.profiles["mine"].inputs == 1


def test_a_table_changes_single_values_of_the_studys_topology(tmp_path: Path) -> None:
    settings = _load(
        tmp_path, '[topology.links.edge-cloud]\nrate = "5 Mbit/s"\n[topology.tiers.edge]\ncompute_scale = 3'
    )
    assert settings.topology.links["edge-cloud"].rate_bps == 5e6
    assert settings.topology.links["mobile-edge"].rate_bps == 200e6
    assert settings.topology.tiers["edge"].compute_scale == 3
    assert settings.topology.tiers["edge"].cores == 8


def test_a_topology_of_other_tiers_stands_for_itself(tmp_path: Path) -> None:
    settings = _load(
        tmp_path,
        '[topology]\norigin = "sensor"\n[topology.tiers.sensor]\ncores = 1\nmemory = "1 GiB"\n'
        '[topology.tiers.hub]\ncores = 4\nmemory = "8 GiB"\n[topology.links.sensor-hub]\nrate = "250 kbit/s"\n',
    )
    assert list(settings.topology.tiers) == ["sensor", "hub"]
    assert settings.topology.route("hub")[0].link.rate_bps == 250e3


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    settings = _load(tmp_path, 'profile = "paper"\nmodels = ["a"]', models=("b",))
    assert settings.models == ("b",)
    assert settings.profile == "paper"


def test_replicates_override_those_of_the_profile(tmp_path: Path) -> None:
    assert _load(tmp_path, "replicates = 9").measurement.replicates == 9


def test_every_wrong_setting_gets_a_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        _load(tmp_path, "alpha = 2\n[profiles.quick]\nwarmpu = 1\n[budget]\nx = 1")
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert all(line.startswith(f"{tmp_path / 'edgeai.toml'}: ") for line in lines)
    assert any("did you mean 'warmup'?" in line for line in lines)
    assert any("did you mean 'budgets'?" in line for line in lines)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[topology.links.mobile-moon]\nrate = "1 Mbit/s"', "a link is named by two tiers"),
        ('[topology.links.edge-edge]\nrate = "1 Mbit/s"', "only the origin's nodes have one"),
        ('[topology]\norigin = "moon"', "origin: there is no tier 'moon'"),
        ('[topology.tiers.mobile]\nmemory = "4"', "expected a number with a unit"),
        ("[budgets.accuracy_drop_pp]\noperators = { sptq = -1 }", "budgets.accuracy_drop_pp.operators.sptq"),
        ("[topology.tiers.mobile]\ncores = 0", "topology.tiers.mobile.cores"),
        ("[topology.links.edge-cloud]\nloss = 1.0", "topology.links.edge-cloud.loss"),
        ('[topology.links.edge-cloud]\ndelay = "-1 ms"', "expected a number with a unit"),
        ('[topology.tiers.mobile]\nurl = "ftp://x"', "topology.tiers.mobile.url"),
        ('[profiles.quick]\nwire = "pigeon"', "profiles.quick.wire"),
    ],
)
def test_impossible_settings_are_named(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        _load(tmp_path, text)


@given(
    st.dictionaries(st.sampled_from("ab"), st.floats(0, 100)),
    st.dictionaries(st.sampled_from("xy"), st.dictionaries(st.sampled_from("ab"), st.floats(0, 100))),
    st.floats(0, 100),
)
def test_the_most_specific_budget_holds(
    operators: dict[str, float], models: dict[str, dict[str, float]], default: float
) -> None:
    budgets = AccuracyBudgets(default=default, operators=operators, models=models)
    for model in "xyz":
        for operator in "abc":
            candidates = [models.get(model, {}).get(operator), operators.get(operator), default]
            expected = next(value for value in candidates if value is not None)
            assert budgets.of(model, operator) == expected


def test_the_most_specific_floor_holds_and_there_is_none_by_default() -> None:
    assert AccuracyFloors().of("bert", "sptq") is None
    floors = AccuracyFloors(operators={"sptq": 80.0, "partition": 70.0}, models={"bert": {"sptq": 90.0}})
    assert [floors.of(*one) for one in (("bert", "sptq"), ("resnet", "sptq"), ("resnet", "qat"))] == [
        90.0,
        80.0,
        None,
    ]
    assert floors.of("resnet", "partition.3") == 70.0
    assert AccuracyFloors(default=50.0).of("resnet", "qat") == 50.0


def test_relative_paths_start_at_the_folder_of_the_settings_file(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    text = (
        'store = "s"\nreport = "r"\nscale = "paper"\n[data]\nilsvrc = "images"\nmrpc = "generated"\n'
        '[weights]\ndefault = "hub"\nresnet = "w.pth"\n[topology.tiers.cloud]\ntoken_file = "t"\nca_file = "c"\n'
        'url = "https://c:1"\n'
    )
    (tmp_path / "edgeai.toml").write_text(text, encoding="utf-8")
    settings = load_settings(tmp_path / "inner", {})
    assert (settings.store, settings.report) == (tmp_path / "s", tmp_path / "r")
    assert (settings.data.ilsvrc, settings.data.mrpc) == (tmp_path / "images", Path("generated"))
    assert settings.weights == {"default": "hub", "resnet": str(tmp_path / "w.pth")}
    assert settings.topology.tiers["cloud"].token_file == tmp_path / "t"
    assert settings.topology.tiers["cloud"].ca_file == tmp_path / "c"


def test_the_settings_of_the_page_on_remote_tiers_are_valid(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "remote.md").read_text(encoding="utf-8")
    example = page.partition("```toml\n")[2].partition("```")[0]
    lab = _load(tmp_path, example).topology.tiers["lab"]
    assert (lab.pipeline, lab.version, lab.ca_file) == ("client", "2", tmp_path / "lab-ca.pem")


def test_what_a_profile_does_not_say_of_the_wire_is_not_chosen(tmp_path: Path) -> None:
    assert _load(tmp_path, "replicates = 3").measurement.chosen_wire is None
    assert _load(tmp_path, '[profiles.quick]\nwire = "binary"').measurement.chosen_wire == "binary"
    assert _load(tmp_path, 'profile = "paper"\nreplicates = 3').measurement.chosen_wire == "base64"


def test_settings_of_another_repository_around_are_not_ours(tmp_path: Path) -> None:
    (tmp_path / "edgeai.toml").write_text("baseline = 'other'", encoding="utf-8")
    (tmp_path / "project" / ".git").mkdir(parents=True)
    assert load_settings(tmp_path / "project", {}).baseline == "identity"


def test_a_limit_of_latency_is_a_number_of_seconds_or_has_a_unit(tmp_path: Path) -> None:
    text = "[[budgets.latency]]\nstrategies = '*'\nmax_median_s = 0.04\nmax_p95_s = '50 ms'\n"
    (limit,) = _load(tmp_path, text).budgets.latency
    assert (limit.max_median_s, limit.max_p95_s) == (0.04, 0.05)


@pytest.mark.parametrize("number", ["inf", "nan"])
def test_a_budget_that_is_not_a_finite_number_is_refused(tmp_path: Path, number: str) -> None:
    with pytest.raises(SettingsError, match=r"edgeai\.toml: budgets\.latency\.0\.max_median_s: it must be"):
        _load(tmp_path, f"[[budgets.latency]]\nstrategies = '*'\nmax_median_s = {number}\n")
