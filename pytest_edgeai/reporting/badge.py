"""A badge that says whether the last session was green, as SVG."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from xml.sax.saxutils import escape

_LABEL: Final = "edgeai"
_DIGIT_WIDTH: Final = 7
_PADDING: Final = 10
_GREEN, _RED, _GREY = "#2e7d32", "#c62828", "#555"
_TEMPLATE: Final = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-label="{label}: {text}">
<title>{label}: {text}</title>
<clipPath id="r"><rect width="{width}" height="20" rx="3"/></clipPath>
<g clip-path="url(#r)"><rect width="{left}" height="20" fill="{grey}"/>\
<rect x="{left}" width="{right}" height="20" fill="{colour}"/></g>
<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">
<text x="{middle_left}" y="14" textLength="{label_width}">{label}</text>
<text x="{middle_right}" y="14" textLength="{text_width}">{text}</text></g>
</svg>
"""


def badge(document: Mapping[str, Any]) -> str:
    """The badge: how many of the strategies are green.

    Parameters
    ----------
    document
        The content of `results.json`.
    """
    from pytest_edgeai.verdicts import is_green

    verdicts = [one["verdict"] for one in document["strategies"]]
    green = sum(map(is_green, verdicts))
    text = f"{green} of {len(verdicts)} green" if verdicts else "nothing measured"
    if document["interrupted"]:
        text += ", interrupted"
    label_width, text_width = (_DIGIT_WIDTH * len(words) for words in (_LABEL, text))
    left, right = label_width + _PADDING, text_width + _PADDING
    return _TEMPLATE.format(
        width=left + right,
        left=left,
        right=right,
        middle_left=left / 2,
        middle_right=left + right / 2,
        label_width=label_width,
        text_width=text_width,
        label=escape(_LABEL),
        text=escape(text),
        colour=_GREEN if document["green"] else _RED,
        grey=_GREY,
    )
