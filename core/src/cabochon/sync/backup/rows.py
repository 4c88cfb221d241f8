"""How paths and edits are written in the rows of a backup.

A path is its segments in UTF-8, each followed by a slash, with `~` as `~0` and `/` as `~1`: `users/bob/`, and nothing
for the root. So everything at and below a path is one range of keys, because `0` is the character after the slash.
"""

from __future__ import annotations

import zlib
from typing import Literal, TypeAlias, cast

import msgspec

from cabochon.documents.json_patch import PatchOperation
from cabochon.documents.path import ROOT, DocumentPath
from cabochon.transactions.changes import Change, DeleteData, PatchData, SetData

__all__ = ["checksum", "edit_from", "edit_row", "end_of", "key_of", "path_from"]

_Operation: TypeAlias = tuple[str, list[str], bytes | None, list[str] | None]
_Op: TypeAlias = Literal["add", "remove", "replace", "move", "copy", "test"]

_operations = msgspec.msgpack.Decoder(list[_Operation])
_encoder = msgspec.msgpack.Encoder()


def key_of(path: DocumentPath) -> bytes:
    """Write a path as a key."""
    return "".join(part.replace("~", "~0").replace("/", "~1") + "/" for part in path).encode()


def end_of(key: bytes) -> bytes:
    """Return the first key after all that lie at `key`, which is not the root's, or below it."""
    return key[:-1] + b"0"


def path_from(key: bytes) -> DocumentPath:
    """Read a key.

    Raises:
        ValueError: it is none.
    """
    if not key:
        return ROOT
    parts = key.decode().split("/")
    if parts.pop():
        msg = "a key that does not end with a slash"
        raise ValueError(msg)
    return DocumentPath([part.replace("~1", "/").replace("~0", "~") for part in parts])


def checksum(*parts: bytes) -> int:
    """Return the CRC-32 of all parts, one after the other."""
    value = 0
    for part in parts:
        value = zlib.crc32(part, value)
    return value


def edit_row(edit: Change) -> tuple[str, bytes, bytes]:
    """Write an edit as its kind, the key of its path inside the document, and its content.

    Raises:
        TypeError: it is no data change.
    """
    match edit:
        case SetData(path, value):
            return "set", key_of(path), value
        case DeleteData(path):
            return "delete", key_of(path), b""
        case PatchData(path, operations):
            plain = [(op.op, op.path, op.value, op.source) for op in operations]
            return "patch", key_of(path), _encoder.encode(plain)
        case _:
            msg = f"{type(edit).__name__} is no data change"
            raise TypeError(msg)


def edit_from(document: DocumentPath, kind: str, at: bytes, content: bytes) -> Change:
    """Read an edit of the document at a path; it names its place in the whole data.

    Raises:
        ValueError: it is none.
    """
    path = document.joined(path_from(at))
    if kind == "set":
        return SetData(path, content)
    if kind == "delete":
        return DeleteData(path)
    if kind != "patch":
        msg = f"an edit of the unknown kind {kind!r}"
        raise ValueError(msg)
    operations = [
        PatchOperation(cast("_Op", op), DocumentPath(below), value, None if source is None else DocumentPath(source))
        for op, below, value, source in _operations.decode(content)
    ]
    return PatchData(path, tuple(operations))
