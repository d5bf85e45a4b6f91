"""Figures of metrics as reports have them."""

from __future__ import annotations

import pytest

from pytest_edgeai.subjects import figures


def test_percentages_differ_by_percentage_points_and_other_metrics_in_their_unit() -> None:
    assert figures.amount(95.84, "%") == "95.8 %"
    assert figures.points(1.256, "%") == "1.26 pp"
    assert figures.amount(0.041234, "EUR") == "0.04123 EUR"
    assert figures.points(0.041234, "") == "0.04123"


@pytest.mark.parametrize(("difference", "words"), [(1.0, "+1.00 pp"), (-1.0, "-1.00 pp"), (0.0, "+0.00 pp")])
def test_a_signed_difference_always_has_its_sign(difference: float, words: str) -> None:
    assert figures.signed_points(difference, "%") == words


def test_limits_have_the_digits_that_they_were_given_with() -> None:
    assert figures.points_limit(2.0, "%") == "2 pp"
    assert figures.amount_limit(90.125, "%") == "90.125 %"
    assert figures.points_limit(0.5, "EUR") == "0.5 EUR"


def test_an_interval_has_its_unit_once() -> None:
    assert figures.amount_interval(94.1, 97.2, "%") == "94.10 to 97.20 %"
    assert figures.points_interval(-0.1, 1.3, "%") == "-0.10 to 1.30 pp"
    assert figures.signed_ends(-0.1, 1.3, "%") == "-0.10 to +1.30"
    assert figures.points_interval(0.25, 0.5, "EUR") == "0.25 to 0.5 EUR"
