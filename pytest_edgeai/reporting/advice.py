"""What to do about a verdict that is not green, in a sentence for each kind of verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pytest_edgeai.verdicts import Outcome

_ADVICE: Final[Mapping[Outcome, str]] = {
    "fail": (
        "give the operator other parameters ([operator_parameters]), leave the strategy out, or change the limit "
        "([budgets])"
    ),
    "inconclusive": (
        "measure more trials (--edgeai-replicates, or budgets.max_tail_requests for percentiles), or set a limit that "
        "is further from what was measured; where accuracy is not measured, give the model trained weights and "
        "labelled examples, or set no budget of it"
    ),
    "invalid": (
        "remove the cause that the reason names and measure again; edgeai doctor says how well this host measures"
    ),
    "regression": "look at what the change did to these artifacts, or allow more under [gate]",
    "missing": "measure the strategy in both versions, or remove it from the settings of both",
    "incomparable": "measure both versions in one session with --edgeai-against",
}


def advice(outcome: Outcome) -> str:
    """What to do, as a sentence goes on; empty where nothing has to be done."""
    return _ADVICE.get(outcome, "")
