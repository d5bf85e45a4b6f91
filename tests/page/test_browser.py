"""The page in a real browser: it draws, filters, is readable with assistive technology, and stays usable when large."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from pytest_edgeai.reporting.page.rendering import render, render_comparison
from tests.page.browser import ALL_DRAWN, errors, opened
from tests.page.documents import comparison, document
from tests.page.test_page import HOSTILE

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.slow

MARKS = """
return Object.fromEntries([...document.querySelectorAll('.plot')].map(place =>
  [place.id, place.querySelectorAll('svg [class*=mark-] path, svg [class*=mark-] line').length]))
"""
"""How many marks each plot has; axes and legends have some as well."""
SYMBOLS = "return document.querySelectorAll('#choice .plot .layer_1_marks path').length"
STRATEGIES = "[...document.querySelectorAll('#verdicts table[data-name=strategies] tbody tr')]"
VISIBLE_ROWS = f"return {STRATEGIES}.filter(row => row.offsetParent).length"
SHOWN = "return document.getElementById('shown').textContent"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = document()
    made["comparison"] = comparison([one["id"] for one in made["strategies"]])
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(made), encoding="utf-8")
    return path


def click(driver: Chrome, selector: str) -> None:
    """Click by the keyboard's way, and wait until all of the page has followed."""
    from selenium.webdriver.support.ui import WebDriverWait

    applied = "const { applied, settled } = document.documentElement.dataset; return [applied, settled]"
    before, _ = driver.execute_script(applied)
    driver.execute_script("document.querySelector(arguments[0]).click()", selector)
    followed = [str(int(before) + 1), "true"]
    WebDriverWait(driver, 60).until(lambda shown: shown.execute_script(applied) == followed)


def test_every_plot_is_drawn_without_an_error(page: Path, browser: Chrome) -> None:
    with opened(page, browser) as driver:
        assert driver.execute_script(ALL_DRAWN)
        marks = driver.execute_script(MARKS)
        assert len(marks) > 10
        assert all(marks.values())
        assert driver.execute_script(SYMBOLS) == 18
        assert errors(driver) == []


def test_filters_hold_for_tables_and_plots_and_can_be_undone(page: Path, browser: Chrome) -> None:
    with opened(page, browser) as driver:
        assert driver.execute_script(VISIBLE_ROWS) == 18
        click(driver, "input[name=model][value=bert]")
        click(driver, "input[name=tier][value=cloud]")
        assert driver.execute_script(VISIBLE_ROWS) == 6
        assert driver.execute_script(SYMBOLS) == 6
        assert (
            driver.execute_script("return document.getElementById('shown').textContent") == "6 of 18 strategies shown"
        )
        hidden = "return [...document.querySelectorAll('figure[data-model=bert]')].every(one => one.hidden)"
        assert driver.execute_script(hidden)
        click(driver, "[data-all=model]")
        click(driver, "[data-none=tier]")
        assert driver.execute_script(VISIBLE_ROWS) == 0
        click(driver, "[data-all=tier]")
        assert (driver.execute_script(VISIBLE_ROWS), driver.execute_script(SYMBOLS)) == (18, 18)
        assert errors(driver) == []


@pytest.mark.parametrize("width", [400, 1400])
def test_nothing_but_tables_and_plots_is_wider_than_the_window(page: Path, width: int, browser: Chrome) -> None:
    with opened(page, browser, width=width) as driver:
        assert driver.execute_script("return document.documentElement.scrollWidth") <= width
        needed, there = driver.execute_script(
            "const { scrollWidth, clientWidth } = document.querySelector('#verdicts .scroll');"
            "return [scrollWidth, clientWidth]"
        )
        assert (needed > there) is (width == 400)  # there it scrolls by itself


def test_the_page_of_a_comparison_is_drawn_without_filters(tmp_path: Path, browser: Chrome) -> None:
    path = tmp_path / "compared.html"
    path.write_text(render_comparison(comparison(["bert-sptq-edge", "resnet-sptq-edge"])), encoding="utf-8")
    with opened(path, browser, width=400) as driver:
        assert driver.execute_script(ALL_DRAWN)
        assert driver.execute_script("return document.querySelectorAll('#comparison .plot svg').length") == 2
        assert not driver.find_element("id", "filters").is_displayed()
        assert driver.execute_script("return document.documentElement.scrollWidth") <= 400
        assert errors(driver) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_violation(tmp_path: Path, scheme: Literal["light", "dark"], browser: Chrome) -> None:
    small = document(models=("bert", "resnet"), operators=("identity", "partition"), tiers=("mobile", "edge"))
    small["comparison"] = comparison([one["id"] for one in small["strategies"]])
    page = tmp_path / "report.html"
    page.write_text(render(small), encoding="utf-8")
    source = resources.files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    with opened(page, browser, scheme=scheme) as driver:
        driver.execute_script(source)
        driver.execute_script("document.querySelectorAll('details').forEach(one => { one.open = true })")
        driver.set_script_timeout(120)
        found: dict[str, Any] = driver.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
        grave = [
            (one["id"], [node["html"][:200] for node in one["nodes"][:3]])
            for one in found["violations"]
            if one["impact"] in ("serious", "critical")
        ]
        assert grave == []
        assert {"color-contrast", "label", "document-title"} <= {one["id"] for one in found["passes"]}


def test_a_model_whose_name_is_a_script_does_nothing(tmp_path: Path, browser: Chrome) -> None:
    name = HOSTILE.removesuffix("\u2028")  # which Vega's expressions cannot have, and no name of a model either
    hostile = document(models=(name, "bert"), tiers=("mobile", "edge"))
    path = tmp_path / "report.html"
    path.write_text(render(hostile), encoding="utf-8")
    with opened(path, browser) as driver:
        assert errors(driver) == []
        assert driver.execute_script(ALL_DRAWN)
        assert driver.title == "pytest-edgeai: not green"
        from selenium.webdriver import ActionChains

        mark = driver.find_element("css selector", "#choice .plot .layer_1_marks path")
        ActionChains(driver).move_to_element(mark).perform()
        tooltip = driver.find_element("id", "vg-tooltip-element")
        assert "alert(1)" in tooltip.text
        assert driver.execute_script("return document.querySelectorAll('img').length") == 0
        assert errors(driver) == []


def test_500_strategies_can_be_used(tmp_path: Path, record_property: Any, browser: Chrome) -> None:
    models = [f"model{number}" for number in range(10)]
    operators = ["identity", *(f"operator{number}" for number in range(9))]
    made = document(models, operators, ["mobile", "edge", "cloud", "mobile+edge", "mobile*5"], replicates=5)
    path = tmp_path / "report.html"
    path.write_text(render(made), encoding="utf-8")
    with opened(path, browser) as driver:
        interactive_ms = driver.execute_script("return Number(document.documentElement.dataset.interactive)")
        record_property("interactive_ms", interactive_ms)
        print(f"interactive after {interactive_ms} ms")
        click(driver, "[data-none=model]")
        click(driver, "input[name=model][value=model3]")
        assert driver.execute_script(VISIBLE_ROWS) == 50
        assert driver.execute_script(SYMBOLS) == 50
        assert errors(driver) == []
