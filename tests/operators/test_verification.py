"""A classifier that guesses is refused, and what tells it from one that does not takes no second to import."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from pytest_edgeai.measure.accuracy import Evaluation
from pytest_edgeai.operators import BuildError
from pytest_edgeai.operators.verification import refuse_collapse
from pytest_edgeai.subjects.predictions import Predictions

COUNT, CLASSES = 40, 4
TRUTH = np.arange(COUNT) % CLASSES


def _by_chance(right: int) -> float:
    """How likely so many right answers or more are where every answer is a guess."""
    terms = (
        math.comb(COUNT, n) * (1 / CLASSES) ** n * (1 - 1 / CLASSES) ** (COUNT - n) for n in range(right, COUNT + 1)
    )
    return math.fsum(terms)


@pytest.mark.parametrize("right", range(COUNT + 1))
def test_right_answers_that_guesses_may_well_give_are_refused(right: int) -> None:
    ranked = np.where(np.arange(COUNT) < right, TRUTH, (TRUTH + 1) % CLASSES)[:, None]
    evaluation = Evaluation(Predictions({"labels": ranked}, has_classes=True), {})
    if _by_chance(right) < 0.01:
        refuse_collapse(evaluation, list(TRUTH))
    else:
        with pytest.raises(BuildError, match=f"{right} of {COUNT} .* no better than always guessing"):
            refuse_collapse(evaluation, list(TRUTH))


def test_of_scipy_a_process_that_builds_imports_only_what_is_soon_imported() -> None:
    script = (
        "import sys; import numpy as np\n"
        "from pytest_edgeai.measure.accuracy import Evaluation\n"
        "from pytest_edgeai.operators import worker\n"
        "from pytest_edgeai.operators.verification import refuse_collapse\n"
        "from pytest_edgeai.subjects.predictions import Predictions\n"
        "truth = np.arange(40) % 4\n"
        "refuse_collapse(Evaluation(Predictions({'labels': truth[:, None]}, has_classes=True), {}), list(truth))\n"
        "print('scipy.special' in sys.modules, 'scipy.stats' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
