"""Policy bundles and the message that announces them, as the peer puts them on the wire."""

from __future__ import annotations

from msgspec import Struct

__all__ = [
    "DataModule",
    "DeletedFiles",
    "PolicyBundle",
    "PolicyUpdateMessage",
    "PolicyUpdateMessageNotification",
    "RegoModule",
]


class DataModule(Struct, frozen=True, kw_only=True):
    """A data file of the policy repository: `path` is its folder, `data` its JSON text."""

    path: str
    data: str


class RegoModule(Struct, frozen=True, kw_only=True):
    """A policy module: `path` in the repository is its id, `rego` its source text."""

    path: str
    package_name: str
    rego: str


class DeletedFiles(Struct, frozen=True, kw_only=True):
    """What a delta bundle removes, by path in the repository."""

    data_modules: tuple[str, ...] = ()
    policy_modules: tuple[str, ...] = ()


class PolicyBundle(Struct, frozen=True, kw_only=True):
    """The policies at commit `hash`: all of them, or the difference since `old_hash` if that is set.

    `manifest` lists the paths in the order in which they should be loaded.
    """

    manifest: tuple[str, ...]
    hash: str
    old_hash: str | None = None
    data_modules: tuple[DataModule, ...]
    policy_modules: tuple[RegoModule, ...]
    deleted_files: DeletedFiles | None = None


class PolicyUpdateMessage(Struct, frozen=True, kw_only=True):
    """A commit changed policies in these folders."""

    old_policy_hash: str
    new_policy_hash: str
    changed_directories: tuple[str, ...]


class PolicyUpdateMessageNotification(Struct, frozen=True, kw_only=True):
    """A policy update message and the topics it goes to."""

    update: PolicyUpdateMessage
    topics: tuple[str, ...]
