"""Docker contexts come from the user's configuration folder and from nowhere else."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from pytest_edgeai.tiers import engine
from pytest_edgeai.tiers.contexts import ContextError, current_name, read_context
from pytest_edgeai.tiers.engine import EngineError
from pytest_edgeai.tiers.specs import USUAL_ENGINE, EngineAddress

LAB = EngineAddress(context="lab")


def write_context(folder: Path, name: str, url: str) -> Path:
    """A context as `docker context create` writes it; the folder of its certificates."""
    identity = hashlib.sha256(name.encode()).hexdigest()
    meta = folder / "contexts" / "meta" / identity
    meta.mkdir(parents=True)
    document = {"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": url, "SkipTLSVerify": False}}}
    (meta / "meta.json").write_text(json.dumps(document), encoding="utf-8")
    return folder / "contexts" / "tls" / identity / "docker"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without any configuration, in a working directory with a folder of contexts."""
    for name in ("DOCKER_CONFIG", "DOCKER_CONTEXT", "DOCKER_HOST"):
        monkeypatch.delenv(name, raising=False)
    folder, here = tmp_path / "home", tmp_path / "here"
    monkeypatch.setenv("HOME", str(folder))
    write_context(here, "lab", "tcp://somewhere.invalid:2375")
    monkeypatch.chdir(here)
    return folder


def test_a_folder_of_contexts_in_the_working_directory_is_refused(home: Path) -> None:
    pytest.importorskip("testcontainers")
    sentence = f"there is no Docker context 'lab' in {home}/.docker/contexts; `docker context ls` lists them"
    with pytest.raises(EngineError) as refused:
        engine.client_options(LAB)
    assert str(refused.value) == sentence


def test_a_context_of_the_working_directory_is_not_the_current_one_either(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("testcontainers")
    monkeypatch.setenv("DOCKER_CONTEXT", "lab")
    with pytest.raises(EngineError, match="there is no Docker context 'lab' in "):
        engine.connect()


def test_contexts_are_those_of_the_folder_that_docker_config_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("testcontainers")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "config"))
    certificates = write_context(tmp_path / "config", "lab", "tcp://lab:2376")
    assert engine.client_options(LAB) == {"environment": {"DOCKER_HOST": "tcp://lab:2376"}}
    certificates.mkdir(parents=True)
    (certificates / "cert.pem").touch()
    environment = engine.client_options(LAB)["environment"]
    assert environment["DOCKER_CERT_PATH"] == str(certificates)
    assert environment["DOCKER_TLS_VERIFY"] == "1"
    assert engine.reach_of(LAB) == "lab"
    assert not engine.is_here(LAB)


def test_the_usual_engine_is_that_of_the_context_in_use(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("testcontainers")
    write_context(home / ".docker", "desk", "tcp://desk:2375")
    write_context(home / ".docker", "lab", "tcp://lab:2375")
    assert engine.is_here(USUAL_ENGINE)
    (home / ".docker" / "config.json").write_text('{"currentContext": "desk"}', encoding="utf-8")
    assert engine.reach_of(USUAL_ENGINE) == "desk"
    monkeypatch.setenv("DOCKER_CONTEXT", "lab")
    assert engine.reach_of(USUAL_ENGINE) == "lab"
    monkeypatch.setenv("DOCKER_HOST", "tcp://host:2375")
    assert engine.reach_of(USUAL_ENGINE) == "host"


def test_the_configuration_of_another_folder_says_nothing_of_the_context_in_use(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / ".docker").mkdir(parents=True)
    (home / ".docker" / "config.json").write_text('{"currentContext": "desk"}', encoding="utf-8")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "empty"))
    assert current_name() == "default"


@pytest.mark.parametrize("content", ["", "[]", '{"Endpoints": {}}', '{"Endpoints": {"docker": []}}'])
def test_a_damaged_context_is_named_with_its_file(home: Path, content: str) -> None:
    write_context(home / ".docker", "lab", "tcp://lab:2375")
    (path,) = home.rglob("meta.json")
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ContextError, match=f"^the Docker context lab cannot be read: {path}: "):
        read_context("lab")
