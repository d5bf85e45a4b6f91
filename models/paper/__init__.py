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
from pytest_edgeai.settings import Settings
from pytest_edgeai.settings_tables import Data
from pytest_edgeai.subjects import SubjectModel
from pytest_edgeai.subjects.weights import DEFAULT, Weights, tokenizer_of

NAMES: Final = ("resnet", "resnext", "bert", "roberta")
STUDENTS: Final = tuple(f"{name}_student" for name in NAMES)
_IMAGES, _TEXTS = ("resnet", "resnext"), ("bert", "roberta")
_USERS: Final[Mapping[str, tuple[str, ...]]] = {
    "data.ilsvrc": _IMAGES,
    "data.ilsvrc_train": _IMAGES,
    "data.images": _IMAGES,
    "data.mrpc": _TEXTS,
    **{f"weights.{name}{suffix}": (name,) for name in NAMES for suffix in ("", "_student")},
}
"""Which models use a setting."""


def refuse_unused(settings: Settings) -> None:
    """Refuse weights and data of models that the settings file leaves out.

    Models that `--edgeai-models` leaves out are left out for once, and their settings stay.

    Parameters
    ----------
    settings
        Of a session at full size.

    Raises
    ------
    SettingsError
        A line for each, which names the setting and the models that would use it.
    """
    if settings.models is None or not settings.origins.is_in_file("models"):
        return
    given = [f"data.{name}" for name in settings.data.model_fields_set]
    given += [f"weights.{name}" for name in settings.weights]
    unused = [name for name in sorted(given) if name in _USERS and not set(_USERS[name]) & set(settings.models)]
    if unused:
        raise SettingsError(
            "\n".join(
                f"{settings.origins.of(name)}: none of the selected models uses it; {' and '.join(_USERS[name])} would"
                ": add one to models, or leave it out"
                for name in unused
            )
        )


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
    photos = photographs(data, root, chosen["resnet"])
    # Where they are the same, 50,000 files need not be listed again.
    is_same = chosen["resnet"].origin == chosen["resnext"].origin and not photos.missing
    others = photos if is_same else photographs(data, root, chosen["resnext"])
    return [
        resnet.subject(chosen["resnet"], chosen["resnet_student"], photos),
        resnext.subject(chosen["resnext"], chosen["resnext_student"], others),
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
