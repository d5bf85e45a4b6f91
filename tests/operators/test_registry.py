"""Which operators there are, and what is said where one cannot be used."""

from __future__ import annotations

import pytest

from pytest_edgeai.errors import SettingsError
from pytest_edgeai.operators import registry
from pytest_edgeai.operators.sptq import StaticQuantization
from tests.plugin.toy_models import Plain, Worse


def test_the_studys_operators_come_first_and_in_its_order() -> None:
    assert list(registry.merged([Worse]))[:2] == ["identity", "sptq"]
    assert list(registry.merged([Worse]))[-1] == "worse"


def test_a_projects_operator_wins_over_an_installed_one_of_its_name() -> None:
    assert registry.merged([Plain])["identity"] is Plain


def test_what_is_no_operator_is_refused() -> None:
    with pytest.raises(SettingsError, match="not a class derived from"):
        registry.merged([int])  # type: ignore[list-item]  # wrong on purpose


def test_parameters_come_from_the_settings() -> None:
    operators = registry.instantiate({"sptq": StaticQuantization}, {"sptq": {"calibration_samples": 7}})
    assert operators["sptq"].parameters.calibration_samples == 7


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"sptk": {}}, "there is no operator 'sptk'; did you mean 'sptq'"),
        ({"sptq": {"calibration_sample": 7}}, "did you mean 'calibration_samples'"),
        ({"sptq": {"engine": "torch"}}, "operator_parameters.sptq.engine: there is no engine 'torch'"),
    ],
)
def test_wrong_parameters_are_named(parameters: dict[str, dict[str, object]], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        registry.instantiate({"sptq": StaticQuantization}, parameters)
