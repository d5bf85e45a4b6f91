"""transformers' models as networks that take positional tensors and return one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class SequenceClassifier(nn.Module):
    """A sequence classifier, called as a graph is.

    Parameters
    ----------
    model
        Of a class such as `transformers.BertForSequenceClassification`.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Logits [n, classes] of tokens [n, length]."""
        return self._run(input_ids, attention_mask, token_type_ids).logits  # type: ignore[no-any-return]  # transformers tells no type

    def classify(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """Logits [n, classes] and the hidden states [n, length, hidden size] before and after each layer."""
        output = self._run(input_ids, attention_mask, token_type_ids, output_hidden_states=True)
        return output.logits, output.hidden_states

    def _run(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        token_type_ids: torch.Tensor | None,
        **options: Any,
    ) -> Any:
        # Not every encoder knows token types, and those that do take None for zeros.
        if token_type_ids is not None:
            options["token_type_ids"] = token_type_ids
        return self.model(input_ids=input_ids, attention_mask=attention_mask, **options)


class FeatureExtractor(SequenceClassifier):
    """An encoder without a head.

    Parameters
    ----------
    model
        Of a class such as `transformers.BertModel`.
    """

    output_names = ("features",)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The last hidden states [n, length, hidden size] of tokens [n, length]."""
        return self._run(input_ids, attention_mask, token_type_ids).last_hidden_state  # type: ignore[no-any-return]  # transformers has no types


class ImageNetwork(nn.Module):
    """A model of images, called as a graph is.

    Parameters
    ----------
    model
        Of a class such as `transformers.ViTForImageClassification`, or `transformers.ViTModel`.
    has_classes
        Whether it returns logits [n, classes]; else its last hidden states.
    """

    def __init__(self, model: PreTrainedModel, *, has_classes: bool) -> None:
        super().__init__()
        self.model = model
        self.has_classes = has_classes
        self.output_names = ("logits",) if has_classes else ("features",)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Logits or hidden states of images [n, channels, height, width]."""
        output = self.model(pixel_values=pixel_values)
        return output.logits if self.has_classes else output.last_hidden_state  # type: ignore[no-any-return]  # transformers has no types
