"""ILSVRC 2012 and MRPC by path."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_edgeai.subjects import SubjectError, ilsvrc, mrpc
from pytest_edgeai.subjects.ilsvrc import Photos

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Forty files in one folder, of growing size; their labels are 25 times their number."""
    lines = ["file,class_index"]
    for number in range(40):
        name = f"ILSVRC2012_val_{number:08}.JPEG"
        (tmp_path / name).write_bytes(b"." * (number + 1))
        lines.append(f"{name},{25 * number}")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def _sizes(source: Photos, split: str) -> list[int]:
    return [len(sample.inputs["image"][0]) for sample in source(split)]  # type: ignore[arg-type]  # one of the three


def test_labels_are_those_of_the_table_and_files_are_sent_as_they_are(photos: Path) -> None:
    for sample in Photos(photos)("validation"):
        assert sample.reference == 25 * (len(sample.inputs["image"][0]) - 1)
        assert sample.inputs["image"].shape == (1,)


def test_a_list_as_text_says_the_same_as_the_table(photos: Path) -> None:
    table = ilsvrc.labelled(photos)
    rows = (photos / "labels.csv").read_text(encoding="utf-8").splitlines()[1:]
    (photos / "val.txt").write_text("\n".join(row.replace(",", " ") for row in rows), encoding="utf-8")
    (photos / "labels.csv").unlink()
    assert ilsvrc.labelled(photos) == table


def test_class_folders_are_numbered_in_the_order_of_their_names(tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / f"n{number:08}").mkdir()
    (tmp_path / "n00000999" / "a.JPEG").write_bytes(b"a")
    (tmp_path / "n00000003" / "b.JPEG").write_bytes(b"b")
    assert [(path.name, label) for path, label in ilsvrc.labelled(tmp_path)] == [("b.JPEG", 3), ("a.JPEG", 999)]


def test_calibration_samples_are_not_validated_on(photos: Path) -> None:
    source = Photos(photos)
    calibration, validation = _sizes(source, "calibration"), _sizes(source, "validation")
    assert len(calibration) == 10
    assert sorted(calibration + validation) == list(range(1, 41))
    assert _sizes(source, "calibration") == calibration


def test_fewer_images_are_drawn_or_the_largest(photos: Path) -> None:
    every = _sizes(Photos(photos), "validation")
    drawn = _sizes(Photos(photos, images=5), "validation")
    assert len(drawn) == 5
    assert set(drawn) < set(every)
    assert _sizes(Photos(photos, images=5, largest=True), "validation") == sorted(every)[:-6:-1]


def test_training_needs_its_own_folder(photos: Path) -> None:
    with pytest.raises(SubjectError, match=r"data\.ilsvrc_train is not set"):
        Photos(photos)("train")
    assert len(Photos(photos, training=photos)("train")) == 40


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("none", "no class folders, no labels.csv"),
        ("name", "has no label for ILSVRC2012_val_00000000.JPEG"),
        ("range", "are not class indices from 0 to 999"),
        ("word", "labels in .* cannot be read"),
        ("folder", "has 1 class folders; ILSVRC 2012 has 1000"),
    ],
)
def test_a_layout_that_is_not_understood_is_one_sentence(photos: Path, change: str, sentence: str) -> None:
    table = photos / "labels.csv"
    rows = table.read_text(encoding="utf-8")
    if change == "none":
        table.unlink()
    elif change == "folder":
        (photos / "n01440764").mkdir()
    else:
        first = "ILSVRC2012_val_00000000.JPEG,0"
        table.write_text(
            rows.replace(first, {"name": "x.JPEG,0", "range": first + "000000", "word": first + "x"}[change]).replace(
                ",0000000", ",1000"
            ),
            encoding="utf-8",
        )
    with pytest.raises(SubjectError, match=sentence):
        ilsvrc.labelled(photos)


def test_another_file_or_another_choice_is_another_sample_set(photos: Path) -> None:
    keys = {ilsvrc.source(Photos(photos)).key, ilsvrc.source(Photos(photos, images=5)).key}
    (photos / "ILSVRC2012_val_00000000.JPEG").write_bytes(b"other")
    keys.add(ilsvrc.source(Photos(photos)).key)
    assert len(keys) == 3


@pytest.fixture
def glue(tmp_path: Path) -> Path:
    """Two files as GLUE writes them: with a byte order mark, and quotes that quote nothing."""
    for name, count in (("train.tsv", 40), ("dev.tsv", 7)):
        rows = [f'{number % 2}\t{number}\t{number}\tHe said " no\t{name} {number}' for number in range(count)]
        text = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n" + "\n".join(rows) + "\n"
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_the_development_set_is_validated_on(glue: Path) -> None:
    samples = mrpc.Pairs(glue)("validation")
    assert [sample.reference for sample in samples] == [0, 1, 0, 1, 0, 1, 0]
    assert samples[6].inputs["text"].tolist() == [[b'He said " no', b"dev.tsv 6"]]


def test_calibration_pairs_are_held_out_from_training(glue: Path) -> None:
    pairs = mrpc.Pairs(glue)
    texts = {split: {one.inputs["text"][0, 1] for one in pairs(split)} for split in ("train", "calibration")}
    assert (len(texts["train"]), len(texts["calibration"])) == (30, 10)
    assert not texts["train"] & texts["calibration"]


@pytest.mark.parametrize(
    "text", ["", "Quality\n1\n", "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\nx\t1\t1\ta\tb\n1\t\n"]
)
def test_a_file_that_is_not_glues_is_refused(glue: Path, text: str) -> None:
    (glue / "dev.tsv").write_text(text or "a\tb\n1\t2\n", encoding="utf-8")
    with pytest.raises(SubjectError, match=r"dev\.tsv is not GLUE's MRPC"):
        mrpc.Pairs(glue)("validation")


@pytest.mark.skipif(not SHARED.is_dir(), reason="no data sets beside this repository")
def test_real_files_are_read() -> None:
    pairs = mrpc.Pairs(SHARED / "mrpc")
    assert (len(pairs("train")), len(pairs("calibration")), len(pairs("validation"))) == (3412, 256, 408)
    photos = Photos(SHARED / "ilsvrc")
    assert (len(photos("calibration")), len(photos("validation"))) == (4, 12)
