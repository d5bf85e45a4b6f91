"""A comment on a pull request of GitHub: the earlier one is replaced, and what is not allowed is a remark."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pytest_edgeai.errors import EdgeAIError

_TIMEOUT_S: Final = 30
_PAGE: Final = 100
_MOST_PAGES: Final = 50
_REFUSALS: Final = (401, 403, 404)


class PostError(EdgeAIError):
    """A comment that could not be posted, and why."""


class RefusedError(PostError):
    """GitHub does not let this token comment, or there is nothing to comment on."""


def post(text: str, environment: Mapping[str, str], number: int | None = None) -> str:
    """Post a comment, in the place of the one that an earlier session posted.

    Parameters
    ----------
    text
        Markdown; the earlier comment begins with the same line.
    environment
        That of a workflow.
    number
        Of the pull request; by default the one that the workflow runs for.

    Returns
    -------
    str
        What was done, as a sentence.

    Raises
    ------
    RefusedError
        The token may not, there is none, or this is no pull request.
    PostError
        GitHub cannot be reached, or answers with an error.
    """
    number = number or pull_request_of(environment)
    if number is None:
        raise RefusedError("this workflow does not run for a pull request; --pull-request names one")
    missing = [name for name in ("GITHUB_TOKEN", "GITHUB_REPOSITORY") if not environment.get(name)]
    if missing:
        raise RefusedError(f"{' and '.join(missing)} {'are' if len(missing) > 1 else 'is'} not set")
    api = environment.get("GITHUB_API_URL") or "https://api.github.com"
    if not api.startswith(("https://", "http://")):
        raise PostError(f"GITHUB_API_URL is {api!r}, which is no address of the kind https://…")
    repository = f"{api.rstrip('/')}/repos/{environment['GITHUB_REPOSITORY']}"
    token = environment["GITHUB_TOKEN"]
    earlier = _earlier(repository, number, token, text.partition("\n")[0])
    if earlier is not None:
        _call("PATCH", f"{repository}/issues/comments/{earlier}", token, {"body": text})
        return f"replaced the comment on pull request {number}"
    _call("POST", f"{repository}/issues/{number}/comments", token, {"body": text})
    return f"commented on pull request {number}"


def pull_request_of(environment: Mapping[str, str]) -> int | None:
    """The number of the pull request that a workflow runs for, or None."""
    reference = re.fullmatch(r"refs/pull/(\d+)/(merge|head)", environment.get("GITHUB_REF", ""))
    if reference:
        return int(reference[1])
    try:
        event = json.loads(Path(environment.get("GITHUB_EVENT_PATH", "")).read_text(encoding="utf-8"))
        return int(event["pull_request"]["number"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _earlier(repository: str, number: int, token: str, marker: str) -> int | None:
    """The comment that begins with this line, by its number."""
    for page in range(1, _MOST_PAGES + 1):
        comments = _call("GET", f"{repository}/issues/{number}/comments?per_page={_PAGE}&page={page}", token)
        for comment in comments:
            if str(comment.get("body") or "").startswith(marker):
                return int(comment["id"])
        if len(comments) < _PAGE:
            return None
    return None


def _call(method: str, url: str, token: str, content: Mapping[str, str] | None = None) -> Any:
    request = urllib.request.Request(
        url,
        method=method,
        data=None if content is None else json.dumps(content).encode(),
        headers={
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "X-GitHub-Api-Version": "2022-11-28",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        sentence = f"GitHub answers {error.code} {error.reason} to {method} {url}"
        if error.code in _REFUSALS:
            raise RefusedError(
                f"{sentence}: the workflow needs the permission pull-requests: write, which pull requests from forks "
                "do not get"
            ) from None
        raise PostError(sentence) from None
    except (OSError, ValueError) as error:
        raise PostError(f"GitHub cannot be reached at {url}: {error}") from None
