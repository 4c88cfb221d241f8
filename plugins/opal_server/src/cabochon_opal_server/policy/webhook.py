"""What the webhooks of git services say, and whether they may. Pure.

The shapes are those of GitHub, GitLab, Bitbucket and Azure DevOps; which member of a body means what is as in the peer
(`opal_server.policy.webhook.deps`), with the branches of Bitbucket and Azure DevOps beside it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

from cabochon_opal_server.policy.settings import WebhookParams

__all__ = ["Push", "early_fault", "read_push", "secret_fault"]

_HEADS = "refs/heads/"
_SIGNATURE = re.compile("[0-9a-f]{64}")
_LONGEST_SECRET = 4096
_URL_MEMBERS = ("git_url", "ssh_url", "clone_url", "git_ssh_url", "git_http_url", "url", "html_url")


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """What a webhook is about: the repository's URLs and full names, the branch if it is known."""

    urls: frozenset[str]
    names: frozenset[str]
    branch: str | None

    def is_about(self, url: str) -> bool:
        """Tell whether it names the repository at `url`, whatever credentials that has."""
        ours = _plain(url)
        if self.urls:
            return ours in {_plain(named) for named in self.urls}
        return urlsplit(ours).path.rpartition(":")[2].strip("/") in self.names


def early_fault(params: WebhookParams, secret: str | None, headers: Mapping[str, str]) -> str | None:
    """Say what is wrong with a webhook's secret as far as that shows without its body, None if nothing is."""
    if secret is None:
        return None
    given = _given(params, headers)
    if not given:
        return "No secret was provided!"
    if params.secret_type == "signature":  # noqa: S105 - a kind of secret
        return None if _SIGNATURE.fullmatch(given) else "signatures didn't match!"
    return None if hmac.compare_digest(secret.encode(), given.encode()) else "secret-tokens didn't match!"


def secret_fault(params: WebhookParams, secret: str | None, headers: Mapping[str, str], body: bytes) -> str | None:
    """Say what is wrong with a webhook's secret, None if nothing is. Secrets are compared in constant time."""
    fault = early_fault(params, secret, headers)
    if secret is None or fault is not None or params.secret_type == "token":  # noqa: S105 - a kind of secret
        return fault
    ours = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    is_right = hmac.compare_digest(ours.encode(), _given(params, headers).encode())
    return None if is_right else "signatures didn't match!"


def _given(params: WebhookParams, headers: Mapping[str, str]) -> str:
    header = headers.get(params.secret_header_name.lower(), "")[:_LONGEST_SECRET]
    found = re.search(params.secret_parsing_regex, header)
    return "" if found is None else found[found.re.groups and 1] or ""


def read_push(body: Mapping[str, Any]) -> Push:
    """Read a webhook's body; what it does not say is empty."""
    repository = _object(body.get("repository"))
    project = _object(body.get("project"))
    resource = _object(body.get("resource"))
    urls = [repository.get(member) for member in _URL_MEMBERS]
    urls += [project.get("git_http_url"), project.get("git_ssh_url")]
    urls += [_object(resource.get("repository")).get("remoteUrl")]
    names = [repository.get("full_name"), project.get("path_with_namespace")]
    return Push(urls=_texts(urls), names=_texts(names), branch=_branch(body, resource))


def _branch(body: Mapping[str, Any], resource: Mapping[str, Any]) -> str | None:
    push = _object(body.get("push"))
    ref = (
        body.get("ref")
        or _first(body.get("refUpdates")).get("name")
        or _first(resource.get("refUpdates")).get("name")
        or _object(_first(push.get("changes")).get("new")).get("name")
    )
    return ref.removeprefix(_HEADS) if isinstance(ref, str) else None


def _plain(url: str) -> str:
    """Leave out credentials, a query, and what may or may not be at the end."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, query="", fragment="").geturl().rstrip("/").removesuffix(".git")


def _object(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _first(value: object) -> Mapping[str, Any]:
    """Return an object, or the first of a list of objects."""
    listed = cast("list[object]", value) if isinstance(value, list) else [value]
    return _object(listed[0] if listed else None)


def _texts(values: list[Any]) -> frozenset[str]:
    return frozenset(value for value in values if isinstance(value, str))
