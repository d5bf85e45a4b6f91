"""The study's own subject models at full size: registered with the setting `scale = "paper"`.

What decides them is chosen by the settings: weights from the hub, a path or at random, data by path or generated.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from models import bert as small_bert
from models import roberta as small_roberta
from models.paper import bert, resnet, resnext, roberta
from models.paper.inputs import photographs, sentence_pairs
from pytest_edgeai.errors import SettingsError, unknown
from pytest_edgeai.settings_tables import Data
from pytest_edgeai.subjects import SubjectModel
from pytest_edgeai.subjects.weights import DEFAULT, Weights, tokenizer_of

NAMES: Final = ("resnet", "resnext", "bert", "roberta")
STUDENTS: Final = tuple(f"{name}_student" for name in NAMES)


def subjects(weights: Mapping[str, str], data: Data, root: Path, wanted: Collection[str] = NAMES) -> list[SubjectModel]:
    """The four subject models.

    Parameters
    ----------
    weights, data
        The settings of these names.
    root
        Where their relative paths start.
    wanted
        The models that are going to be used: of the others nothing is downloaded.

    Raises
    ------
    SettingsError
        Weights are chosen for a model that there is not.
    """
    for name in weights:
        if name not in (*NAMES, *STUDENTS, DEFAULT):
            raise SettingsError(f"weights: {unknown('model', name, (*NAMES, *STUDENTS, DEFAULT))}")
    chosen = {name: Weights.chosen(name, weights, root) for name in (*NAMES, *STUDENTS)}
    tokenizers = {
        name: tokenizer_of(chosen[name], hub_id, stand_in, fetch=name in wanted)
        for name, hub_id, stand_in in (
            ("bert", bert.HUB_ID, small_bert.TOKENIZER),
            ("roberta", roberta.HUB_ID, small_roberta.TOKENIZER),
        )
    }
    return [
        resnet.subject(chosen["resnet"], chosen["resnet_student"], photographs(data, root, chosen["resnet"])),
        resnext.subject(chosen["resnext"], chosen["resnext_student"], photographs(data, root, chosen["resnext"])),
        bert.subject(
            chosen["bert"], chosen["bert_student"], sentence_pairs(data, root, chosen["bert"]), tokenizers["bert"]
        ),
        roberta.subject(
            chosen["roberta"],
            chosen["roberta_student"],
            sentence_pairs(data, root, chosen["roberta"]),
            tokenizers["roberta"],
        ),
    ]
