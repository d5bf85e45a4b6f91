"""`sptq_partition`: `sptq`, then `partition`, by the study's name. Its parameters are those of the two."""

from __future__ import annotations

from pytest_edgeai.operators.composition import Composition


class StaticQuantizationPartition(Composition):
    """Static post-training quantization, then partition."""

    name = "sptq_partition"
    chain = ("sptq", "partition")
