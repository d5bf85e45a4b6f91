"""The tier image: built from the installed package, tagged with a hash of all that decides its content.

Python packages are put into the build's folder by pip of this environment, for the Python of the base image, so the
build itself needs no package index. One image is kept: those that came before go when a new one is built, unless a
container holds them (a session makes one for that).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_edgeai.store import source_digest
from pytest_edgeai.tiers.engine import EngineError, first_line
from pytest_edgeai.tiers.specs import ImageSpec

if TYPE_CHECKING:
    from docker.models.images import Image

    import docker

REPOSITORY: Final = "edgeai-tier"
DEFAULT_BASE: Final = "python:3.11-slim-bookworm"
BASE_VARIABLE: Final = "EDGEAI_IMAGE_BASE"
_LABEL = "edgeai.image=tier"
_BASE_LABEL = "edgeai.base"
_INGREDIENTS_LABEL = "edgeai.ingredients"
_BUILD_S = 3600.0  # longer than any build takes
_PACKAGE = Path(__file__).parents[1]
# In a wheel the file lies in the package, in a working copy in its own folder.
_DOCKERFILES = (_PACKAGE / "tiers" / "Dockerfile", _PACKAGE.parent / "docker" / "Dockerfile")
_SERVED = ("__init__.py", "arrays.py", "errors.py", "serving", "wire")
_LIBRARIES = ("numpy", "pillow", "tokenizers")
_ASK_PYTHON = "import sys, platform; print('%d.%d' % sys.version_info[:2], platform.machine())"


class ImageError(EngineError):
    """The tier image cannot be built; says what failed."""


def ensure_image(client: docker.DockerClient, spec: ImageSpec, note: Callable[[str], None]) -> str:
    """The tag of the tier image, which is built if the engine does not have it.

    Parameters
    ----------
    client
        Of the engine.
    spec
        What it is made from.
    note
        Is told about progress, a sentence at a time.

    Raises
    ------
    ImageError
        The base image cannot be had, or a step of the build failed.
    """
    base = spec.base or os.environ.get(BASE_VARIABLE) or DEFAULT_BASE
    requirements = _requirements(spec)
    ingredients = _ingredients(requirements)
    image_labels = {_BASE_LABEL: base, _INGREDIENTS_LABEL: ingredients}
    base_id = _id(client, base)
    if base_id is None:
        without_base = _built_from(client, image_labels)
        if without_base is not None:
            return without_base
        base_id = _fetched(client, base, note)
    tag = f"{REPOSITORY}:{_digest(base_id, ingredients)[:12]}"
    if _id(client, tag) is not None:
        return tag
    note(f"building the tier image {tag} from {base}")
    version, machine = _python_of(client, base)
    with tempfile.TemporaryDirectory(prefix="edgeai-image-") as temporary:
        context = Path(temporary)
        shutil.copy(_dockerfile(), context / "Dockerfile")
        _install(requirements, version, machine, context / "site")
        for name in _SERVED:
            source, target = _PACKAGE / name, context / "site" / "pytest_edgeai" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        _build(client, {"BASE": base, "RUNTIME": spec.runtime}, image_labels, context, tag, note)
    removed = remove_images(client, keep=tag)
    if removed:
        note(f"removed tier images that are no longer used: {', '.join(removed)}")
    return tag


def remove_images(client: docker.DockerClient, *, keep: str | None = None, dry_run: bool = False) -> list[str]:
    """Remove tier images that no container holds, and what builds that were broken off have left.

    Parameters
    ----------
    client
        Of the engine.
    keep
        The tag of one that stays, or None.
    dry_run
        Only find them.

    Returns
    -------
    list of str
        Their tags, or the identities of those that have none.

    Raises
    ------
    ImageError
        The engine does not answer.
    """
    from docker.errors import APIError, DockerException
    from requests import RequestException

    removed = []
    try:
        held = {one.attrs["Image"] for one in client.containers.list(all=True, ignore_removed=True)}
        for image in _images(client):
            if not image.tags and _age_s(image) < _BUILD_S:
                continue  # it may be the latest step of a build that goes on
            names = [tag for tag in image.tags if tag != keep] or ([] if image.tags else [str(image.short_id)])
            if image.id in held or len(names) < len(image.tags):
                continue
            for name in names:
                with contextlib.suppress(APIError):  # a container has come, or the image is gone
                    if not dry_run:
                        client.images.remove(name)
                    removed.append(name)
    except (DockerException, RequestException) as error:
        raise ImageError(f"the container engine does not answer: {first_line(error)}") from None
    return removed


def _images(client: docker.DockerClient) -> list[Image]:
    """All of ours: those with the label, and those of versions that had none; layers between are not among them."""
    found = {image.id: image for image in client.images.list(filters={"label": _LABEL})}
    for image in client.images.list(REPOSITORY, filters={"label": "edgeai.runtime"}):
        found.setdefault(image.id, image)
    return list(found.values())


def _age_s(image: Image) -> float:
    created = re.sub(r"\.[0-9]+", "", str(image.attrs["Created"]))  # nanoseconds, which Python does not read
    return time.time() - datetime.fromisoformat(created).timestamp()


def _built_from(client: docker.DockerClient, image_labels: Mapping[str, str]) -> str | None:
    """The tag of an image that has all ingredients, its base under that name included, whatever has become of it."""
    wanted = [_LABEL, *(f"{name}={value}" for name, value in image_labels.items())]
    images = client.images.list(REPOSITORY, filters={"label": wanted})
    newest = max(images, key=lambda image: str(image.attrs["Created"]), default=None)
    return None if newest is None else str(newest.tags[0])


def _requirements(spec: ImageSpec) -> list[str]:
    """The packages of the image, in the versions of this environment."""
    try:
        pinned = [f"{name}=={metadata.version(name)}" for name in _LIBRARIES]
        return [f"{spec.runtime}=={metadata.version('onnxruntime')}", *pinned]
    except metadata.PackageNotFoundError as error:
        raise ImageError(f"the tier image needs {error.name} of this environment") from None


def _ingredients(requirements: Sequence[str]) -> str:
    """A hash of everything that decides the image's content but for its base."""
    document = {
        "dockerfile": source_digest(_dockerfile()),
        "package": {name: source_digest(_PACKAGE / name) for name in _SERVED},
        "requirements": requirements,
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _digest(base_id: str, ingredients: str) -> str:
    """A hash of everything that decides the image's content."""
    return hashlib.sha256(f"{base_id} {ingredients}".encode()).hexdigest()


def _dockerfile() -> Path:
    for path in _DOCKERFILES:
        if path.is_file():
            return path
    raise ImageError(f"the package has lost its Dockerfile: install it again ({_DOCKERFILES[0]})")


def _id(client: docker.DockerClient, name: str) -> str | None:
    """The identity of an image; None where the engine does not have it."""
    from docker.errors import ImageNotFound

    try:
        return str(client.images.get(name).id)
    except ImageNotFound:
        return None


def _fetched(client: docker.DockerClient, base: str, note: Callable[[str], None]) -> str:
    from docker.errors import APIError, ImageNotFound

    note(f"fetching the base image {base}")
    try:
        return str(client.images.pull(base).id)
    except (APIError, ImageNotFound) as error:
        raise ImageError(
            f"the base image {base} is not there and cannot be fetched ({first_line(error)}): name one that is "
            f"there by image.base in the settings or {BASE_VARIABLE}; docker/README.md says how to make one "
            "without a registry"
        ) from None


def _python_of(client: docker.DockerClient, base: str) -> tuple[str, str]:
    """Version and machine of the base image's Python."""
    from docker.errors import APIError

    try:
        container = client.containers.create(base, ["python3", "-c", _ASK_PYTHON], network_mode="none")
        try:
            container.start()
            container.wait()
            version, machine = container.logs(stdout=True, stderr=False).decode().split()
        finally:
            container.remove(force=True)
    except (APIError, ValueError) as error:
        raise ImageError(f"the base image {base} has no python3 that runs: {first_line(error)}") from None
    return version, machine


def _install(requirements: Sequence[str], version: str, machine: str, target: Path) -> None:
    # Without dependencies: what these four import while they serve is in themselves or in numpy.
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--no-compile", "--only-binary=:all:", "--implementation=cp", f"--python-version={version}"]
    command += [f"--platform=manylinux_{glibc}_{machine}" for glibc in ("2_28", "2_27", "2_17")]
    command += [f"--platform=manylinux2014_{machine}", f"--target={target}", *requirements]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ImageError(f"pip cannot get the tier image's packages for Python {version} on {machine}: {last}")


def _build(
    client: docker.DockerClient,
    arguments: Mapping[str, str],
    image_labels: Mapping[str, str],
    context: Path,
    tag: str,
    note: Callable[[str], None],
) -> None:
    from docker.errors import APIError

    last = ""
    try:
        events: Iterator[dict[str, Any]] = client.api.build(
            path=str(context),
            tag=tag,
            buildargs=dict(arguments),
            labels=dict(image_labels),
            rm=True,
            forcerm=True,
            decode=True,
        )
        for event in events:
            if "error" in event:
                raise ImageError(f"the tier image cannot be built: {event['error']} (after: {last})")
            text = event.get("stream", "").strip()
            if text:
                last = text
            if text.startswith("Step "):
                note(text)
    except APIError as error:
        raise ImageError(f"the tier image cannot be built: {first_line(error)}") from None
