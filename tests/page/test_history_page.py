"""The page of a history: its structure, its links, that nothing of a session becomes markup, and a real browser."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_edgeai.commands.cli import main
from pytest_edgeai.reporting.page.history import render_history
from pytest_edgeai.versions.history import History, make_history
from pytest_edgeai.versions.storage import read_storage
from tests.page.browser import ALL_DRAWN, errors, opened
from tests.page.test_page import HOSTILE, Outline
from tests.saved_sessions import commit_of, twelve

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

URL = "https://example.org/team/project/commit/{commit}"


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    folder = tmp_path_factory.mktemp("storage")
    twelve(folder)
    return make_history(read_storage(folder).sessions)


def test_a_page_has_a_plot_and_a_table_for_each_strategy_and_links_to_commits(history: History) -> None:
    outline = Outline(render_history(history, URL))
    assert [outline.tags[tag] for tag in ("h1", "main", "nav", "header", "footer")] == [1] * 5
    titles = [text for text in outline.texts["h3"] if text.strip()]
    assert titles == [
        "bert-sptq-edge: latency and spans",
        "bert-sptq-edge: top1",
        "bert-identity-cloud: latency and spans",
        "bert-identity-cloud: top1",
    ]
    assert outline.tags["figure"] == len(outline.data()["plots"]) == 4
    links = {attributes["href"] for tag, attributes in outline.attributes if tag == "a"}
    assert {URL.format(commit=commit_of(number)) for number in range(12)} < links
    rows = outline.data()["plots"]["plot-model-0-0"]
    found = [dict(zip(rows["columns"], row, strict=True)) for row in rows["rows"]]
    assert {row["session"] for row in found if row["kind"] == "change"} == {commit_of(5)[:8]}
    levels = {row["value"] for row in found if (row["kind"], row["quantity"]) == ("level", "latency")}
    assert len(levels) == 2
    assert not any("src" in attributes for _, attributes in outline.attributes)


def test_without_an_address_there_are_no_links_to_commits(history: History) -> None:
    outline = Outline(render_history(history))
    links = {attributes["href"] for tag, attributes in outline.attributes if tag == "a"}
    assert links == {"#main", "#changes", "#strategies", "#model-0", "history.json"}


def test_names_of_a_session_cannot_become_markup_script_or_an_address(history: History) -> None:
    spoiled = [
        replace(
            one,
            commit=HOSTILE,
            branch=HOSTILE,
            values={HOSTILE: one.values["bert-sptq-edge"]},
            keys={HOSTILE: (HOSTILE, "sptq", "edge")},
        )
        for one in history.sessions
    ]
    outline = Outline(render_history(make_history(spoiled), URL))
    assert outline.tags["script"] == 3
    assert outline.tags["img"] == 0
    assert not any("example.org" in value for _, attributes in outline.attributes for value in attributes.values())


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    twelve(folder / ".benchmarks")
    arguments = [f"--storage={folder / '.benchmarks'}", f"--html={folder / 'public'}", f"--commit-url={URL}"]
    assert main(["history", *arguments]) == 0
    assert sorted(path.name for path in (folder / "public").iterdir()) == ["history.json", "index.html"]
    return folder / "public" / "index.html"


def test_the_page_is_drawn_filtered_and_leads_to_commits_in_a_browser(page: Path, browser: Chrome) -> None:
    with opened(page, browser) as driver:
        assert driver.execute_script(ALL_DRAWN)
        assert driver.execute_script("return document.getElementById('shown').textContent") == "2 of 2 strategies shown"
        points = "return document.querySelectorAll('#plot-model-0-1 .layer_2_marks path').length"
        assert driver.execute_script(points) == 12
        driver.execute_script("document.querySelector('input[name=tier][value=cloud]').click()")
        hidden = "return [...document.querySelectorAll('figure[data-tier=cloud]')].every(one => one.hidden)"
        assert driver.execute_script(hidden)
        address = "return document.querySelector('#plot-model-0-1 svg').innerHTML"
        assert commit_of(11)[:8] in driver.execute_script(address)
        assert errors(driver) == []


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (400, "dark")])
def test_the_page_is_accessible_and_not_wider_than_the_window(
    page: Path, width: int, scheme: str, browser: Chrome
) -> None:
    script = resources.files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    with opened(page, browser, width=width, scheme="dark" if scheme == "dark" else "light") as driver:
        assert driver.execute_script("return document.documentElement.scrollWidth") <= width
        driver.execute_script(script)
        found = driver.execute_async_script("const done = arguments[0]; axe.run(document).then(done, done)")
        assert [(one["id"], [node["target"] for node in one["nodes"]]) for one in found["violations"]] == []
        assert "color-contrast" in {one["id"] for one in found["passes"]}


def test_the_page_needs_nothing_from_elsewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    visible = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"\bnan\b", visible, flags=re.IGNORECASE)
