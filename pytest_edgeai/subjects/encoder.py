"""transformers' sequence classifiers as networks that take positional tensors and return logits."""

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
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits [n, classes] and the last hidden states [n, length, hidden size], for training."""
        output = self._run(input_ids, attention_mask, token_type_ids, output_hidden_states=True)
        return output.logits, output.hidden_states[-1]

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
