"""A text classifier from a folder of transformers."""

from pathlib import Path

from pytest_edgeai import SubjectModel

HERE = Path(__file__).parent


def pytest_edgeai_subjects(config):
    """The model in `reviews/`; examples are lines with `text` and `reference`, or a list of (text, label)."""
    examples = HERE / "reviews.jsonl"
    return [
        SubjectModel.from_transformers(
            HERE / "reviews", "text-classification", name="reviews", examples=examples, max_length=16
        )
    ]
