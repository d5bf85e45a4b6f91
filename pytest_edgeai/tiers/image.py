"""The tier image: built from the installed package, tagged with a hash of all that decides its content.

Python packages are put into the build's folder by pip of this environment, for the Python of the base image, so the
build itself needs no package index.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_edgeai.artifacts import source_digest
from pytest_edgeai.tiers.engine import EngineError, first_line
from pytest_edgeai.tiers.specs import ImageSpec

if TYPE_CHECKING:
    import docker

REPOSITORY: Final = "edgeai-tier"
DEFAULT_BASE: Final = "python:3.11-slim-bookworm"
BASE_VARIABLE: Final = "EDGEAI_IMAGE_BASE"
_PACKAGE = Path(__file__).parents[1]
# In a wheel the file lies in the package, in a working copy in its own folder.
_DOCKERFILES = (_PACKAGE / "tiers" / "Dockerfile", _PACKAGE.parent / "docker" / "Dockerfile")
_SERVED = ("__init__.py", "serving")
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
    from docker.errors import ImageNotFound

    base = spec.base or os.environ.get(BASE_VARIABLE) or DEFAULT_BASE
    base_id = _base_id(client, base, note)
    requirements = _requirements(spec)
    tag = f"{REPOSITORY}:{_digest(base_id, requirements)[:12]}"
    try:
        client.images.get(tag)
    except ImageNotFound:
        note(f"building the tier image {tag} from {base}")
    else:
        return tag
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
        _build(client, {"BASE": base, "RUNTIME": spec.runtime}, context, tag, note)
    return tag


def _requirements(spec: ImageSpec) -> list[str]:
    """The packages of the image, in the versions of this environment."""
    try:
        pinned = [f"{name}=={metadata.version(name)}" for name in _LIBRARIES]
        return [f"{spec.runtime}=={metadata.version('onnxruntime')}", *pinned]
    except metadata.PackageNotFoundError as error:
        raise ImageError(f"the tier image needs {error.name} of this environment") from None


def _digest(base_id: str, requirements: Sequence[str]) -> str:
    """A hash of everything that decides the image's content."""
    ingredients = {
        "dockerfile": source_digest(_dockerfile()),
        "package": {name: source_digest(_PACKAGE / name) for name in _SERVED},
        "requirements": requirements,
        "base": base_id,
    }
    return hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()


def _dockerfile() -> Path:
    for path in _DOCKERFILES:
        if path.is_file():
            return path
    raise ImageError(f"the package has lost its Dockerfile: install it again ({_DOCKERFILES[0]})")


def _base_id(client: docker.DockerClient, base: str, note: Callable[[str], None]) -> str:
    from docker.errors import APIError, ImageNotFound

    try:
        image = client.images.get(base)
    except ImageNotFound:
        note(f"fetching the base image {base}")
        try:
            image = client.images.pull(base)
        except (APIError, ImageNotFound) as error:
            raise ImageError(
                f"the base image {base} is not there and cannot be fetched ({first_line(error)}): name one that is "
                f"there by image.base in the settings or {BASE_VARIABLE}; docker/README.md says how to make one "
                "without a registry"
            ) from None
    return str(image.id)


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
    client: docker.DockerClient, arguments: Mapping[str, str], context: Path, tag: str, note: Callable[[str], None]
) -> None:
    from docker.errors import APIError

    last = ""
    try:
        events: Iterator[dict[str, Any]] = client.api.build(
            path=str(context), tag=tag, buildargs=dict(arguments), rm=True, forcerm=True, decode=True
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
