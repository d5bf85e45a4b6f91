"""Which backend runs the tiers, and how it is said that none does."""

from dataclasses import replace
from pathlib import Path

import pytest

from pytest_edgeai.errors import SettingsError
from pytest_edgeai.tiers.backend import Backend, BackendContext, TierError
from pytest_edgeai.tiers.process import ProcessBackend
from pytest_edgeai.tiers.registry import check_backend, known_backends, open_backend
from pytest_edgeai.tiers.remote import RemoteBackend

from .conftest import make_site


def test_auto_is_the_embedded_default_without_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    assert isinstance(open_backend("auto", make_site(tmp_path), {}), ProcessBackend)


def test_every_backend_of_ours_keeps_the_protocol(tmp_path: Path) -> None:
    site = replace(make_site(tmp_path), placements=())

    assert set(known_backends({})) == {"process", "docker", "remote"}
    assert isinstance(open_backend("process", site, {}), Backend)
    assert isinstance(open_backend("remote", site, {}), RemoteBackend)


def test_a_registered_backend_takes_the_place_of_ours(tmp_path: Path) -> None:
    made: list[BackendContext] = []

    def factory(site: BackendContext) -> Backend:
        made.append(site)
        return ProcessBackend(site)

    site = make_site(tmp_path)
    open_backend("mine", site, {"mine": factory})

    assert made == [site]


def test_an_unknown_backend_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(SettingsError, match="there is no backend 'proces'; did you mean 'process'"):
        check_backend("proces", "--edgeai-backend", {})


def test_a_backend_that_cannot_run_the_tiers_is_a_setting_that_cannot_be_used(tmp_path: Path) -> None:
    def refuse(_: BackendContext) -> Backend:
        raise TierError("link mobile-edge: no")

    with pytest.raises(SettingsError, match=r"^backend mine: link mobile-edge: no$"):
        open_backend("mine", make_site(tmp_path), {"mine": refuse})
