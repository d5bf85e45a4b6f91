"""`edgeai image build`, `edgeai clean` and `edgeai doctor` where there is an engine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_edgeai.commands import cli
from pytest_edgeai.tiers import engine, image
from pytest_edgeai.tiers.containers import DockerBackend
from pytest_edgeai.tiers.specs import ImageSpec
from tests.containers.conftest import HeldImage

if TYPE_CHECKING:
    from docker import DockerClient


def test_image_build_prints_the_tag_of_an_image_that_is_there(
    client: DockerClient, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.main(["image", "build", "--root", str(tmp_path)]) == 0
    tag = capsys.readouterr().out.strip()
    assert tag == image.ensure_image(client, ImageSpec(), print)
    assert client.images.get(tag).tags == [tag]


def test_image_build_says_which_base_is_missing(
    client: DockerClient, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.main(["image", "build", "--root", str(tmp_path), "--base", "edgeai-test:no-such-base"]) == 1
    said = capsys.readouterr().err
    assert "error: the base image edgeai-test:no-such-base is not there and cannot be fetched" in said
    assert "EDGEAI_IMAGE_BASE" in said


@pytest.fixture
def without_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out pip's packages, which take seconds to install and to send: no server is started from these images."""
    monkeypatch.setattr(image, "_install", lambda requirements, version, machine, target: target.mkdir())


def test_the_tag_changes_with_the_content_and_with_nothing_else(
    client: DockerClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    before = image.ensure_image(client, ImageSpec(), print)
    request.getfixturevalue("without_packages")
    changed = tmp_path / "Dockerfile"
    changed.write_text(Path("docker/Dockerfile").read_text(encoding="utf-8") + "LABEL changed=yes\n", encoding="utf-8")
    monkeypatch.setattr(image, "_DOCKERFILES", (changed,))
    said: list[str] = []
    after = image.ensure_image(client, ImageSpec(), said.append)
    try:
        assert after != before
        assert said[0].startswith(f"building the tier image {after} from ")
        assert any(sentence.startswith("Step ") for sentence in said)
        assert client.images.get(after).labels["changed"] == "yes"
    finally:
        client.images.remove(after, force=True)


@pytest.fixture
def marked(
    client: DockerClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, without_packages: None
) -> Callable[[str], str]:
    """Builds tier images whose content differs; each one's tag."""

    def build(mark: str) -> str:
        changed = tmp_path / f"Dockerfile-{mark}"
        content = Path("docker/Dockerfile").read_text(encoding="utf-8")
        changed.write_text(f"{content}LABEL mark={mark}\n", encoding="utf-8")
        monkeypatch.setattr(image, "_DOCKERFILES", (changed,))
        return image.ensure_image(client, ImageSpec(), print)

    return build


def tags(client: DockerClient) -> set[str]:
    return {tag for one in client.images.list(image.REPOSITORY) for tag in one.tags}


def test_of_tier_images_the_newest_is_kept_and_those_that_are_held(
    client: DockerClient, usual_image: HeldImage, marked: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    first = marked("one")
    holder = client.containers.create(first, network_mode="none")
    second = marked("two")
    assert {first, second} <= tags(client), "a container holds the first"
    holder.remove()
    third = marked("three")
    assert tags(client) == {third, usual_image.tag}
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith("removed tier images that are no longer used: ")
    assert {first, second} <= set(said.partition(": ")[2].split(", "))


def test_the_image_of_a_session_is_held_before_and_between_its_trials(
    backend: DockerBackend, usual_image: HeldImage, marked: Callable[[str], str]
) -> None:
    (before,) = {one.image for one in backend._engines.all}  # noqa: SLF001  # nobody else is told
    assert before == usual_image.tag
    usual_image.release()
    marked("other")
    assert before in tags(usual_image.client)
    usual_image.hold()


@pytest.mark.usefixtures("without_packages")
def test_a_tier_image_needs_its_base_no_more(client: DockerClient) -> None:
    base = os.environ.get(image.BASE_VARIABLE) or image.DEFAULT_BASE
    like_it = client.containers.create(base, ["true"], network_mode="none")
    like_it.commit("edgeai-test-base", "gone")  # another image, of which no tier image was built
    like_it.remove()
    spec = ImageSpec(base="edgeai-test-base:gone")
    try:
        built = image.ensure_image(client, spec, print)
    finally:
        client.images.remove("edgeai-test-base:gone")
    said: list[str] = []
    assert image.ensure_image(client, spec, said.append) == built
    assert said == []


@pytest.mark.usefixtures("without_packages")
def test_what_a_build_that_was_broken_off_leaves_is_removed_once_it_cannot_go_on(
    client: DockerClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "Dockerfile"
    broken.write_text(f"ARG BASE\nFROM ${{BASE}}\nLABEL edgeai.image=tier\nLABEL at={tmp_path}\nRUN exit 3\n")
    monkeypatch.setattr(image, "_DOCKERFILES", (broken,))
    with pytest.raises(image.ImageError):
        image.ensure_image(client, ImageSpec(), print)
    mine = {"label": f"at={tmp_path}"}
    image.remove_images(client)
    assert len(client.images.list(filters=mine)) == 1, "another session may be building"
    monkeypatch.setattr(image, "_BUILD_S", 0.0)
    image.remove_images(client)
    assert client.images.list(filters=mine) == []


def test_clean_removes_tier_images_and_leaves_the_store(
    client: DockerClient,
    usual_image: HeldImage,
    marked: Callable[[str], str],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    image.remove_images(client)
    marked("cleaned")
    capsys.readouterr()
    before, store = tags(client), tmp_path / "store"
    options = ["clean", "--images", "--root", str(tmp_path), "--store", str(store)]
    assert cli.main([*options, "--dry-run"]) == 0
    assert "would remove 1 tier images that no session holds on the usual engine" in capsys.readouterr().out
    assert tags(client) == before
    assert cli.main(options) == 0
    assert "removed 1 tier images" in capsys.readouterr().out
    assert tags(client) == {usual_image.tag}
    assert not store.exists()


@pytest.mark.usefixtures("without_packages")
def test_a_build_that_fails_says_after_which_step(
    client: DockerClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "Dockerfile"
    broken.write_text("ARG BASE\nFROM ${BASE}\nRUN exit 3\n", encoding="utf-8")
    monkeypatch.setattr(image, "_DOCKERFILES", (broken,))
    with pytest.raises(image.ImageError, match=r"the tier image cannot be built: .*returned a non-zero code: 3"):
        image.ensure_image(client, ImageSpec(), lambda sentence: None)


def test_clean_removes_what_a_killed_session_left_behind(
    client: DockerClient, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    owner = engine.labels("gone")[engine.OWNER_LABEL].rpartition("/")[0]
    labels = {engine.SESSION_LABEL: "gone", engine.OWNER_LABEL: f"{owner}/{ended.pid}"}
    client.networks.create("edgeai-gone-entry", labels=labels)
    assert cli.main(["clean", "--dry-run", "--containers", "--root", str(tmp_path)]) == 0
    assert "would remove 1 containers and networks" in capsys.readouterr().out
    assert cli.main(["clean", "--containers", "--root", str(tmp_path)]) == 0
    assert "removed 1 containers and networks" in capsys.readouterr().out
    assert client.networks.list(names=["edgeai-gone-entry"]) == []


def test_doctor_names_the_engine(client: DockerClient, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    cli.main(["doctor", "--root", str(tmp_path), "--no-measure"])
    assert f"fine     engine: {client.version()['Version']}" in capsys.readouterr().out
