"""Store transactions and JSON patch actions, as the peer's `opal_common.schemas.store` writes them."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Raw, Struct, UnsetType, field

__all__ = ["JSONPatchAction", "RemoteStatus", "StoreTransaction", "TransactionType"]

TransactionType = Literal["policy", "data"]


class RemoteStatus(Struct, frozen=True, kw_only=True):
    """Whether one remote source of a transaction answered; `error` is None when it did."""

    remote_url: str | None = None
    succeed: bool = True
    error: str | None = None


class StoreTransaction(Struct, frozen=True, kw_only=True):
    """A transaction that has ended; times are ISO 8601 in UTC without an offset, as the peer writes them."""

    id: str
    actions: tuple[str, ...]
    transaction_type: TransactionType | None = None
    success: bool = False
    error: str = ""
    creation_time: str | None = None
    end_time: str | None = None
    remotes_status: tuple[RemoteStatus, ...] | None = None


class JSONPatchAction(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One operation of a JSON patch (RFC 6902): `path` and `from` are JSON pointers, `value` is raw JSON, or null.

    The peer's server writes `"from": null` where there is none.
    """

    op: Literal["add", "remove", "replace", "move", "copy", "test"]
    path: str
    value: Raw = field(default=Raw(b""))
    from_field: str | UnsetType | None = field(name="from", default=UNSET)
