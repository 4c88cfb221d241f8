"""What a scope is, as the peer puts it on the wire (`opal_common.schemas.scopes`)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal
from urllib.parse import quote, urlsplit

import msgspec
from msgspec import Struct, field

from cabochon.schemas import DataSourceConfig

__all__ = ["GitSource", "Scope", "described", "fault_of", "scopes_of"]

_LONGEST_NAME = 255
_LONGEST_PATH = 1024
_LONGEST_URL = 4096
_MOST_NAMES = 1000
_TOPIC = re.compile(r"(.*?):(?:data|policy):", re.DOTALL)


class _NoAuth(Struct, frozen=True, kw_only=True, tag_field="auth_type", tag="none"):
    """The repository is open."""


class _SshAuth(Struct, frozen=True, kw_only=True, tag_field="auth_type", tag="ssh"):
    username: str
    private_key: str
    public_key: str | None = None


class _GithubAuth(Struct, frozen=True, kw_only=True, tag_field="auth_type", tag="github_token"):
    token: str


class _PasswordAuth(Struct, frozen=True, kw_only=True, tag_field="auth_type", tag="userpass"):
    username: str
    password: str


class GitSource(Struct, frozen=True, kw_only=True):
    """The policy repository of a scope.

    Attributes:
        url: where it is.
        auth: how it knows us.
        directories: what is served of it.
        extensions: of the files that may be in a bundle.
        bundle_ignore: patterns of paths that may not.
        manifest: path of the manifest, or of the folder that has one.
        poll_updates: whether to look for new commits by ourselves.
        branch: the one to follow.
    """

    source_type: Literal["git"] = "git"
    url: str
    auth: _NoAuth | _SshAuth | _GithubAuth | _PasswordAuth
    directories: tuple[str, ...] = (".",)
    extensions: tuple[str, ...] = (".rego", ".json")
    bundle_ignore: tuple[str, ...] | None = None
    manifest: str = ".manifest"
    poll_updates: bool = False
    branch: str = "main"

    @property
    def full_url(self) -> str:
        """The URL with what it takes to be let in.

        Raises:
            ValueError: it is none.
        """
        urlsplit(self.url)
        match self.auth:
            case _PasswordAuth(username=user, password=password):
                return _with_user(self.url, f"{quote(user, safe='')}:{quote(password, safe='')}")
            case _GithubAuth(token=token):
                return _with_user(self.url, f"git:{quote(token, safe='')}")
            case _SshAuth(username=user) if "://" in self.url:
                return _with_user(self.url, quote(user, safe=""))
            case _:
                return self.url

    @property
    def ssh_key(self) -> str | None:
        """The private key's text."""
        return self.auth.private_key if isinstance(self.auth, _SshAuth) else None


class Scope(Struct, frozen=True, kw_only=True):
    """A scope: its name, its policy repository, its base data sources."""

    scope_id: str
    policy: GitSource
    data: DataSourceConfig = field(default_factory=lambda: DataSourceConfig(entries=()))


def fault_of(scope: Scope) -> tuple[str, tuple[str, ...]] | None:
    """Say what is wrong with a scope that could be followed in no way, and where in it; None if nothing is."""
    source = scope.policy
    if ":" in scope.scope_id:
        # `blue:data` would share its topics with the scope `blue`, whose tokens could then read them.
        return "should have no colon: that parts a scope's name from its topics", ("scope_id",)
    for name, text, longest in (
        ("scope_id", scope.scope_id, _LONGEST_NAME),
        ("branch", source.branch, _LONGEST_NAME),
        ("url", source.url, _LONGEST_URL),
        ("manifest", source.manifest, _LONGEST_PATH),
    ):
        where = (name,) if name == "scope_id" else ("policy", name)
        if len(text) > longest or not text.isprintable() or not (text or name == "manifest"):
            return f"should be printable text of at most {longest} characters", where
    for name in ("directories", "extensions", "bundle_ignore"):
        listed: tuple[str, ...] = getattr(source, name) or ()
        if len(listed) > _MOST_NAMES or any(len(one) > _LONGEST_PATH for one in listed):
            return f"should be at most {_MOST_NAMES} names of at most {_LONGEST_PATH} characters", ("policy", name)
    try:
        _ = source.full_url
    except ValueError as err:
        return f"is no URL: {err}", ("policy", "url")
    return None


def described(scope: Scope, trouble: str | None = None) -> dict[str, Any]:
    """Describe a scope without its credentials, as the peer does, with `error` beside if there is trouble."""
    found: dict[str, Any] = msgspec.to_builtins(scope)
    del found["policy"]["auth"]
    return found if trouble is None else {**found, "error": trouble}


def scopes_of(topics: Iterable[str]) -> set[str]:
    """Name the scopes that topics belong to; others belong to none.

    Example:
        >>> scopes_of(["blue:data:users", "blue:policy:.", "policy_data/users", "policy:."])
        {'blue'}
    """
    return {found[1] for topic in topics if (found := _TOPIC.match(topic))}


def _with_user(url: str, user: str) -> str:
    parts = urlsplit(url)
    if not parts.netloc:
        return url  # a path, or SSH's short form, which names its user
    return parts._replace(netloc=f"{user}@{parts.netloc.rpartition('@')[2]}").geturl()
