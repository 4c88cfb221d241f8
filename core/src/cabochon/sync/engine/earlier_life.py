"""Documents of an earlier life: adopted from the engine where that is newer than the backup, disowned in the end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from functools import partial

import anyio

from cabochon.documents import json_values
from cabochon.documents.path import DocumentPath
from cabochon.documents.path_index import PathIndex
from cabochon.sync.desired.state import DesiredState
from cabochon.transactions.changes import Change, DeleteData, SetData

__all__ = ["adopted", "disown"]

_READ_TIMEOUT_S = 10.0


async def adopted(
    desired: DesiredState,
    owned: Sequence[DocumentPath],
    written: Iterable[DocumentPath],
    read_back: Callable[[DocumentPath], Awaitable[bytes | None]],
) -> int:
    """Make the desired state what the engine holds at the paths that this agent owns in it; return how many differ.

    Places that were `written` in this life already stay as they are.

    Raises:
        StoreUnavailableError: the engine does not answer; nothing has changed then.
        TimeoutError: the same.
    """
    ours: PathIndex[DocumentPath] = PathIndex()
    for path in written:
        ours.add(path, path)
    there: dict[DocumentPath, bytes] = {}
    for path in sorted(owned):
        with anyio.fail_after(_READ_TIMEOUT_S):
            value = await read_back(path)
        if value is not None and not any(ours.overlapping(path)):
            there[path] = value
    changes: list[Change] = [
        DeleteData(path) for path in desired.owned() if path not in there and not any(ours.overlapping(path))
    ]
    for path, value in there.items():
        wanted = desired.read(path)
        if wanted is None or not await json_values.off_loop(partial(_same, wanted), value):
            changes.append(SetData(path, value))
    for change in changes:
        desired.apply(change)
    desired.settle()
    if desired.journal is not None:
        desired.journal.brought.update((change.path, {}) for change in changes if isinstance(change, SetData))
    return len(changes)


def _same(wanted: bytes, there: bytes) -> bool:
    return json_values.decode(wanted) == json_values.decode(there)


def disown(desired: DesiredState, *, keep: Collection[DocumentPath]) -> list[DocumentPath]:
    """Stop wanting the documents that a backup brought and nobody has written again; return their paths.

    What was written inside one of them since is wanted still, and so is what is at the paths to `keep`.
    """
    if desired.journal is None:
        return []
    gone: list[DocumentPath] = []
    for path, edits in desired.journal.forget_brought(keep=keep.__contains__):
        if desired.document(path) is None:
            continue
        for change in (*desired.removing(path), *edits):
            desired.apply(change)
        gone.append(path)
    desired.settle()
    return gone
