"""The study's own subject models at full size: registered with the setting `scale = "paper"`.

What decides them is chosen by the settings: weights from the hub, a path or at random, data by path or generated.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from models.paper import bert, resnet, resnext, roberta
from models.paper.inputs import photographs, sentence_pairs
from pytest_edgeai.settings import Data
from pytest_edgeai.subjects import SubjectModel
from pytest_edgeai.subjects.weights import Weights


def subjects(weights: Mapping[str, str], data: Data, root: Path) -> list[SubjectModel]:
    """The four subject models.

    Parameters
    ----------
    weights, data
        The settings of these names.
    root
        Where their relative paths start.
    """
    chosen = {name: Weights.chosen(name, weights, root) for name in ("resnet", "resnext", "bert", "roberta")}
    return [
        resnet.subject(chosen["resnet"], photographs(data, root, chosen["resnet"])),
        resnext.subject(chosen["resnext"], photographs(data, root, chosen["resnext"])),
        bert.subject(chosen["bert"], sentence_pairs(data, root, chosen["bert"])),
        roberta.subject(chosen["roberta"], sentence_pairs(data, root, chosen["roberta"])),
    ]
