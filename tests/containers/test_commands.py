"""`edgeai image build`, `edgeai clean` and `edgeai doctor` where there is an engine."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_edgeai import cli
from pytest_edgeai.tiers import engine, image
from pytest_edgeai.tiers.specs import ImageSpec

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


def test_the_tag_changes_with_the_content_and_with_nothing_else(
    client: DockerClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = image.ensure_image(client, ImageSpec(), print)
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
