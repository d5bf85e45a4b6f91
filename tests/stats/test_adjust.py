"""Adjusted p-values, next to Holm's definition and to statsmodels."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import (  # type: ignore[import-untyped, unused-ignore]  # stubs may be there
    multipletests,
)

from pytest_edgeai.stats import P_ADJUST_METHODS, StatisticsInputError, adjust_p, check_method

from . import slow

families = st.lists(st.floats(0, 1) | st.sampled_from([0.0, 1.0, 0.01]), min_size=1, max_size=12)


@settings(deadline=None)
@given(family=families)
def test_holm_is_holms_definition(family: list[float]) -> None:
    assert adjust_p(family, "holm").tolist() == pytest.approx(slow.holm(family), rel=1e-12)


@settings(deadline=None, max_examples=30)
@given(family=families, method=st.sampled_from([m for m in P_ADJUST_METHODS if m != "none"]))
def test_every_method_is_that_of_statsmodels(family: list[float], method: str) -> None:
    with np.errstate(all="ignore"):
        expected = multipletests(family, method=method)[1]

    adjusted = adjust_p(family, method)

    assert adjusted.tolist() == pytest.approx(expected.tolist(), rel=1e-12, nan_ok=True)


def test_none_leaves_the_family_as_it_is() -> None:
    assert adjust_p([0.04, 0.5, 0.0], "none").tolist() == [0.04, 0.5, 0.0]


def test_a_worked_family_comes_back_in_its_own_order() -> None:
    assert adjust_p([0.04, 0.01, 0.03], "holm").tolist() == pytest.approx([0.06, 0.03, 0.06])
    assert adjust_p([0.04, 0.01, 0.5], "bonferroni").tolist() == pytest.approx([0.12, 0.03, 1.0])


@pytest.mark.parametrize("method", [m for m in P_ADJUST_METHODS if m != "fdr_tsbky"])  # which charges 1 + alpha
def test_a_family_of_one_needs_no_adjustment(method: str) -> None:
    assert adjust_p([0.03], method).tolist() == pytest.approx([0.03])


def test_an_empty_family_stays_empty() -> None:
    assert adjust_p([], "holm").size == 0


def test_a_two_stage_method_follows_alpha() -> None:
    family = [0.001, 0.02, 0.03, 0.2, 0.9]

    assert adjust_p(family, "fdr_tsbh", alpha=0.05).tolist() != adjust_p(family, "fdr_tsbh", alpha=0.3).tolist()


def test_other_names_that_statsmodels_knows_are_taken() -> None:
    assert adjust_p([0.01, 0.02], "bonf").tolist() == pytest.approx([0.02, 0.04])


def test_an_unknown_method_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=re.escape(", ".join(P_ADJUST_METHODS))):
        check_method("homl")


@pytest.mark.parametrize("bad", [-0.1, 1.1, float("nan")])
def test_a_number_that_is_no_p_value_is_refused(bad: float) -> None:
    with pytest.raises(StatisticsInputError, match="family of p-values"):
        adjust_p([0.1, bad])


@pytest.mark.parametrize("alpha", [0.0, 1.0, float("nan")])
def test_an_alpha_that_is_no_level_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha must lie between 0 and 1"):
        adjust_p([0.1], alpha=alpha)
