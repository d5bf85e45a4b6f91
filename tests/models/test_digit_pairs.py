"""The image samples: photographs in size and format, split by digit, the same every time."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

from PIL import Image

from fixtures import digit_pairs
from pytest_edgeai.subjects import Example


@pytest.fixture(scope="module")
def validation() -> list[Example]:
    return digit_pairs.generate("validation")


def _photograph(sample: Example) -> bytes:
    payload: bytes = sample.inputs["image"][0]
    return payload


def test_images_travel_as_jpeg_of_a_photographs_size(validation: list[Example]) -> None:
    sizes = [len(_photograph(sample)) for sample in validation]
    assert min(sizes) >= 20_000
    assert max(sizes) <= 60_000
    with Image.open(io.BytesIO(_photograph(validation[0]))) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (digit_pairs.SIDE,) * 2)


def test_every_class_has_scenes(validation: list[Example]) -> None:
    assert {sample.reference for sample in validation} == set(range(digit_pairs.CLASSES))


def test_no_validation_digit_is_seen_in_training() -> None:
    def prints(ink: Any) -> set[bytes]:
        return {hashlib.sha256(scan.tobytes()).digest() for scan in ink}

    held_out, of_it = digit_pairs.scans(validation=True)
    seen, of_those = digit_pairs.scans(validation=False)
    assert not prints(held_out) & prints(seen)
    assert set(of_it) == set(of_those) == set(range(10))


def test_samples_are_the_same_every_time(validation: list[Example]) -> None:
    again = digit_pairs.generate("validation")
    assert [_photograph(sample) for sample in again] == [_photograph(sample) for sample in validation]
    assert [sample.reference for sample in again] == [sample.reference for sample in validation]


def test_splits_have_no_scene_in_common(validation: list[Example]) -> None:
    calibration = {_photograph(sample) for sample in digit_pairs.generate("calibration")}
    assert len(calibration) == digit_pairs.COUNTS["calibration"]
    assert not calibration & {_photograph(sample) for sample in validation}


def test_the_brightest_strokes_are_where_the_digits_are(validation: list[Example]) -> None:
    # The average scene is bright in the middle of its halves, where digits are, and dark at its upper and lower rim.
    with_digits = np.mean([_grey(_photograph(sample)) for sample in validation[:200]], axis=0)
    side = digit_pairs.SIDE
    middle = with_digits[side // 2 - 20 : side // 2 + 20, side // 4 - 20 : side // 4 + 20]
    assert middle.mean() > with_digits[:16].mean() + 20


def _grey(photograph: bytes) -> Any:
    with Image.open(io.BytesIO(photograph)) as image:
        return np.asarray(image.convert("L"), dtype=float)
