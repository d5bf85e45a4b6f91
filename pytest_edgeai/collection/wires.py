"""Encodings of requests that cannot carry the examples of a model: refused before anything is built."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pytest_edgeai.errors import SettingsError

if TYPE_CHECKING:
    from pytest_edgeai.matrix.strategies import PlannedTrial
    from pytest_edgeai.settings import Settings
    from pytest_edgeai.subjects import SubjectModel


def refuse_images_as_json(
    settings: Settings, subjects: Mapping[str, SubjectModel], trials: Iterable[PlannedTrial]
) -> None:
    """Refuse `wire = "json"` where image files are sent.

    Parameters
    ----------
    settings
        With the profile and the tiers.
    subjects
        The subject models by name.
    trials
        What is to be measured.

    Raises
    ------
    SettingsError
        Names a model whose examples are image files, and the tier that they are sent to.
    """
    from pytest_edgeai.serving.pipeline import ImagePreprocess

    if settings.measurement.wire != "json":
        return
    for trial in trials:
        model, tier = trial.strategy.model, trial.strategy.placement.tiers[0]
        sends_graph_inputs = settings.topology.tiers[tier].pipeline == "client"
        if isinstance(subjects[model].pipeline.preprocess, ImagePreprocess) and not sends_graph_inputs:
            raise SettingsError(
                f'profiles.{settings.profile}.wire: "json" cannot carry the image files that {model} sends to tier '
                f'{tier}: set "binary" or "base64"'
            )
