"""`dsptq`: `distilled`, then `sptq`, by the study's name. Its parameters are those of the two."""

from __future__ import annotations

from pytest_edgeai.operators.composition import Composition


class DistilledStaticQuantization(Composition):
    """Distillation, then static post-training quantization."""

    name = "dsptq"
    chain = ("distilled", "sptq")
