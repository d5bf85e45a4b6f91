"""Where the weights of a full-size subject model come from: the hub, a path, or a generator of random numbers.

What the settings choose is a value; the callables here turn it into a network when a build asks for one, in the
process that builds, so that nothing is downloaded and no torch imported before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pytest_edgeai.subjects import SubjectError, hub

if TYPE_CHECKING:
    import torch

    from pytest_edgeai.subjects.encoder import SequenceClassifier

HUB, RANDOM, DEFAULT = "hub", "random", "default"
_SEED = 0


@dataclass(frozen=True, slots=True)
class Weights:
    """What the settings choose for a model.

    Parameters
    ----------
    model
        Its name, for messages.
    origin
        `hub`, `random`, or `path`.
    path
        The file or folder where the origin is `path`.
    """

    model: str
    origin: Literal["hub", "random", "path"] = "hub"
    path: Path | None = None

    @classmethod
    def chosen(cls, model: str, settings: Mapping[str, str], root: Path) -> Weights:
        """Read the settings' table `weights`.

        Parameters
        ----------
        model
            Name of the model.
        settings
            `hub`, `random` or a path by model, and `default` for all that are not named.
        root
            Where relative paths start.
        """
        value = settings.get(model, settings.get(DEFAULT, HUB))
        if value == HUB:
            return cls(model)
        if value == RANDOM:
            return cls(model, "random")
        return cls(model, "path", root / value)

    @property
    def unmeasured(self) -> str:
        """Why accuracy would mean nothing, or empty."""
        return "random weights" if self.origin == "random" else ""

    @property
    def sources(self) -> tuple[Path, ...]:
        """Files whose content decides the network, besides code."""
        return () if self.path is None or not self.path.exists() else (self.path,)

    @property
    def missing(self) -> str:
        """What is not where the settings say, in a sentence, or empty."""
        if self.path is None or self.path.exists():
            return ""
        return (
            f"weights.{self.model}: {self.path} does not exist; name a file or folder with the weights in edgeai.toml, "
            "or 'hub' to download them, or 'random' to measure latency only"
        )

    def refused(self, source: str, error: Exception) -> SubjectError:
        """The sentence for weights that cannot be loaded."""
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        return SubjectError(
            f"the weights of {self.model} cannot be loaded from {source}: {reason}; set weights.{self.model} in "
            "edgeai.toml to a path where they are, or --edgeai-weights random to measure latency only"
        )


@dataclass(frozen=True, slots=True)
class ImageNetwork:
    """A ResNet at full size, with torchvision's weights.

    Parameters
    ----------
    architecture
        A key of `pytest_edgeai.subjects.resnet.ARCHITECTURES`.
    url
        torchvision's file; its name ends in the beginning of its SHA-256, which is checked.
    weights
        What the settings choose; a path is that of a state dict as `torch.save` or safetensors writes it.
    """

    architecture: str
    url: str
    weights: Weights

    def __call__(self) -> torch.nn.Module:
        """Build the network.

        Raises
        ------
        SubjectError
            Its weights cannot be had, or are another network's.
        """
        import torch

        from pytest_edgeai.subjects.resnet import ARCHITECTURES, ResNet

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_SEED)
            network = ResNet(ARCHITECTURES[self.architecture])
        if self.weights.origin != "random":
            source = self.url if self.weights.path is None else str(self.weights.path)
            try:
                network.load_state_dict(self._state())
            except Exception as error:  # a file that is not there, not the hub's, not torch's, not of this network
                raise self.weights.refused(source, error) from error
        return network.eval()

    def unreachable(self) -> str:
        """Why torchvision's file cannot be had, in a sentence; empty where it can, or is not needed."""
        if self.weights.origin == "hub":
            try:
                hub.ask_for_file(self.url)
            except OSError as error:
                return str(self.weights.refused(self.url, error))
        return ""

    def _state(self) -> Mapping[str, Any]:
        import torch

        path = self.weights.path
        if path is None:
            state: Mapping[str, Any] = torch.hub.load_state_dict_from_url(
                self.url, map_location="cpu", progress=False, check_hash=True, weights_only=True
            )
            return state
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        loaded: Mapping[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return loaded


@dataclass(frozen=True, slots=True)
class TextNetwork:
    """A sequence classifier of two classes at full size, with weights of the Hugging Face hub.

    Parameters
    ----------
    family
        `bert` or `roberta`.
    hub_id
        The model's name on the hub.
    weights
        What the settings choose; a path is that of a folder as transformers' `save_pretrained` writes it.
    configuration
        The network's size, for random weights, where it is not transformers' default: that of BERT base.
    changed
        What is to be other than on the hub or in the folder; weights whose shapes do not fit then stay random.
    revision
        The hub's, or None for its newest.
    """

    family: Literal["bert", "roberta"]
    hub_id: str
    weights: Weights
    configuration: Mapping[str, Any] = field(default_factory=dict)
    changed: Mapping[str, Any] = field(default_factory=dict)
    revision: str | None = None

    def __call__(self) -> SequenceClassifier:
        """Build the network.

        Raises
        ------
        SubjectError
            Its weights cannot be had.
        """
        import torch
        import transformers

        from pytest_edgeai.subjects.encoder import SequenceClassifier

        prefix = {"bert": "Bert", "roberta": "Roberta"}[self.family]
        model_class = getattr(transformers, f"{prefix}ForSequenceClassification")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_SEED)
            if self.weights.origin == "random":
                configuration = getattr(transformers, f"{prefix}Config")(**self.configuration, **self.changed)
                return SequenceClassifier(model_class(configuration)).eval()
            local = self.weights.path is not None
            source = str(self.weights.path) if local else self.hub_id
            try:
                model = model_class.from_pretrained(
                    source,
                    local_files_only=local,
                    revision=self.revision or "main",
                    ignore_mismatched_sizes=bool(self.changed),
                    **self.changed,
                )
            except Exception as error:
                raise self.weights.refused(source if local else f"the hub ({source})", error) from error
            return SequenceClassifier(model).eval()

    def unreachable(self) -> str:
        """Why the hub's weights cannot be had, in a sentence; empty where they can, or are not needed."""
        if self.weights.origin == "hub":
            try:
                hub.ask_for_model(self.hub_id, self.revision)
            except Exception as error:  # noqa: BLE001  # no library, no network, no model: each with classes of its own
                return str(self.weights.refused(f"the hub ({self.hub_id})", error))
        return ""


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """A tokenizer's file.

    Parameters
    ----------
    path
        The file, or None where it is missing.
    missing
        Why, in a sentence.
    revision
        Of the hub's model that it belongs to, or None where it is not from there.
    """

    path: Path | None
    missing: str = ""
    revision: str | None = None


def tokenizer_of(weights: Weights, hub_id: str, stand_in: Path, *, fetch: bool) -> Tokenizer:
    """The file `tokenizer.json` that belongs to weights.

    Parameters
    ----------
    weights
        What the settings choose.
    hub_id
        Where the file is on the Hugging Face hub; it is downloaded once.
    stand_in
        The file of a tokenizer for random weights, to which one token is as good as another.
    fetch
        Whether a file on the hub is to be had at all.
    """
    if weights.origin == "random":
        return Tokenizer(stand_in)
    if weights.path is not None:
        path = weights.path / "tokenizer.json"
        if path.is_file() or weights.missing:
            return Tokenizer(path if path.is_file() else None, weights.missing)
        return Tokenizer(
            None,
            f"weights.{weights.model}: {weights.path} has no tokenizer.json; AutoTokenizer.save_pretrained writes it",
        )
    if not fetch:
        return Tokenizer(None, f"{weights.model} is not among the models that the settings name")
    try:
        path = _from_hub(hub_id, "tokenizer.json")
        return Tokenizer(path, revision=path.parent.name)  # the cache has a folder for each revision
    except Exception as error:  # noqa: BLE001  # no library, no network, no such file: each with classes of its own
        return Tokenizer(None, str(weights.refused(f"the hub ({hub_id})", error)))


def _from_hub(hub_id: str, name: str) -> Path:
    """A file of the hub: that in the cache, or a download.

    The hub is asked for the file's length first, since that is given up at once where the hub cannot be reached; the
    download itself is tried six times in half a minute.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(hub_id, name, local_files_only=True))
    except LocalEntryNotFoundError:
        get_hf_file_metadata(hf_hub_url(hub_id, name))
        return Path(hf_hub_download(hub_id, name))
