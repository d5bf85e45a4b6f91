"""Networks on disk come back as they were, whatever was removed from them, and nothing else does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_edgeai.operators import BuildError, networks
from tests.operators.small_subject import IMAGES, VECTORS

if TYPE_CHECKING:
    import torch

pytest.importorskip("torch")
pytest.importorskip("safetensors")


def attentive() -> torch.nn.Module:
    """A small BERT with weights of one seed."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    from pytest_edgeai.subjects.encoder import SequenceClassifier

    torch.manual_seed(0)
    configuration = BertConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64
    )
    return SequenceClassifier(BertForSequenceClassification(configuration)).eval()


def residual() -> torch.nn.Module:
    """A small residual network of grouped convolutions."""
    import torch

    from pytest_edgeai.subjects.resnet import Architecture, ResNet

    torch.manual_seed(0)
    architecture = Architecture((1, 1), groups=4, width_per_group=16)
    return ResNet(architecture, (16, 32), classes=5, stem="small").eval()


def _structured(**parameters: Any) -> Any:
    pytest.importorskip("torch_pruning")
    from pytest_edgeai.operators.pruned_structured import StructuredParameters, StructuredPruned

    return StructuredPruned(StructuredParameters(**parameters))


def _example(name: str) -> tuple[torch.Tensor, ...]:
    import torch

    generator = torch.Generator().manual_seed(1)
    if name == "residual":
        return (torch.randn(2, 3, 16, 16, generator=generator),)
    ids = torch.randint(1, 50, (2, 9), generator=generator)
    return ids, torch.ones_like(ids)


@pytest.mark.parametrize("builder", [attentive, residual])
def test_a_network_that_lost_channels_and_heads_comes_back_as_it_is(tmp_path: Path, builder: Any) -> None:
    import torch

    subject = replace(IMAGES, network=builder)
    network, example = builder(), _example(builder.__name__)
    before = sum(parameter.numel() for parameter in network.parameters())
    _structured(channels=0.5, multiple=4)._prune(network, example)  # noqa: SLF001  # the training is tested elsewhere
    networks.save(network, "network", subject, tmp_path)
    loaded = networks.load(tmp_path, subject)
    assert sum(parameter.numel() for parameter in loaded.parameters()) < 0.9 * before
    with torch.no_grad():
        assert torch.equal(loaded(*example), network(*example))
    assert not loaded.training


def test_heads_are_removed_whole(tmp_path: Path) -> None:
    network = attentive()
    _structured(heads=0.5)._prune(network, _example("attentive"))  # noqa: SLF001  # without the training
    attention: Any = network.get_submodule("model.bert.encoder.layer.0.attention.self")
    assert (attention.num_attention_heads, attention.attention_head_size) == (2, 8)
    assert attention.query.weight.shape == (16, 32)


def test_a_student_is_built_by_its_own_definition(tmp_path: Path) -> None:
    import torch

    torch.manual_seed(3)
    student = networks.build(VECTORS, "student").eval()
    networks.save(student, "student", VECTORS, tmp_path)
    assert networks.origin_of(tmp_path) == "student"
    x = torch.ones(1, 32)
    assert torch.equal(networks.load(tmp_path, VECTORS)(x), student(x))


def test_a_network_with_other_modules_than_its_definition_is_refused(tmp_path: Path) -> None:
    from torch import nn

    other = nn.Sequential(VECTORS.trained(), nn.ReLU())
    with pytest.raises(BuildError, match="other modules than its definition"):
        networks.save(other, "network", VECTORS, tmp_path)


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    networks.save(VECTORS.trained(), "network", VECTORS, tmp_path)
    with pytest.raises(RuntimeError, match="Missing key"):
        networks.load(tmp_path, IMAGES)
