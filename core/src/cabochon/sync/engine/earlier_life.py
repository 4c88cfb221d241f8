"""What an earlier life of the agent left over: in the engine, which says what is claimed, and in a backup."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from functools import partial

import anyio
import structlog

from cabochon.documents import json_values
from cabochon.documents.off_loop import off_loop
from cabochon.documents.path import DocumentPath
from cabochon.documents.path_index import PathIndex
from cabochon.sync.desired.bringing_back import removing
from cabochon.sync.desired.policies import DesiredPolicies
from cabochon.sync.desired.state import DesiredState
from cabochon.sync.engine.value_writer import ValueWriter
from cabochon.sync.engine.view import EngineView
from cabochon.transactions.changes import Change, DeleteData, SetData

__all__ = ["EarlierLife"]

log = structlog.get_logger()

_READ_TIMEOUT_S = 10.0


class EarlierLife:
    """Belongs to the committer's task. What is left over goes once this life is synced; until then it stays as it is.

    Attributes:
        left_over: paths that are left over in the engine.
    """

    def __init__(self, view: EngineView, policies: DesiredPolicies, writer: ValueWriter) -> None:
        self._view = view
        self._policies = policies
        self._writer = writer
        self.left_over: list[DocumentPath] = []

    @property
    def may_be_left(self) -> bool:
        """Whether there may be something to remove, in the engine or of what a backup brought."""
        journal = self._view.desired.journal
        return bool(self.left_over) or (journal is not None and bool(journal.left_over))

    async def look(self) -> None:
        """Ask the engine, which this life has not filled, what is left over in it.

        Raises:
            StoreUnavailableError: it does not answer.
        """
        self.left_over = await self._view.ask.owned_paths()

    async def take_newer(self) -> None:
        """Want what the engine holds where it is newer than the backup of its life: a backup is always a little late.

        Raises:
            StoreUnavailableError: the engine does not answer; nothing has changed then.
            TimeoutError: the same.
        """
        view = self._view
        if await view.life.is_past_backup():
            differ = await _taken_from_engine(view.desired, self.left_over, view.put_off, view.ask.read_back)
            log.info("store_backup.outdated", documents=differ)
        view.life.leave_backup()

    async def finish(self) -> None:
        """Remove what is left over, and this life, now synced, did not write again; then the agent is ready.

        What a backup brought is left over too, once this life is synced; until then it counts as written.

        Raises:
            EngineAway: the engine does not answer.
            StateLostError: it has lost our state.
        """
        view = self._view
        if view.log.now.synced:
            # Data files of the policies stay: the policies are as new as the source's, and so are they.
            self.left_over.extend(_disowned(view.desired, keep=self._policies.data_paths))
        if not self.left_over or not view.log.now.served:
            return
        gone = [path for path in self.left_over if view.desired.document(path) is None]
        refused = await self._writer.documents([path for path in gone if view.desired.holder(path) is None])
        view.desired.not_restored.refused_too(refused)
        # They are on the engine's list until the last of them is gone.
        await self._writer.state(releases=[path for path in gone if path not in refused])
        log.info("engine.earlier_life_removed", paths=len(gone))
        self.left_over = []
        view.log.cleared()
        await self._writer.state()


async def _taken_from_engine(
    desired: DesiredState,
    owned: Sequence[DocumentPath],
    written: Iterable[DocumentPath],
    read_back: Callable[[DocumentPath], Awaitable[bytes | None]],
) -> int:
    """Make the desired state what the engine holds at the paths that this agent owns in it; return how many differ.

    Places that were `written` in this life already stay as they are.
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
        if wanted is None or not await off_loop(partial(json_values.same, wanted), value):
            changes.append(SetData(path, value))
    for change in changes:
        desired.apply(change)
    desired.settle()
    if desired.journal is not None:
        desired.journal.left_over.update((change.path, {}) for change in changes if isinstance(change, SetData))
    return len(changes)


def _disowned(desired: DesiredState, *, keep: Collection[DocumentPath]) -> list[DocumentPath]:
    """Stop wanting the documents that a backup brought and nobody has written again; return their paths.

    What was written inside one of them since is wanted still, and so is what is at the paths to `keep`.
    """
    if desired.journal is None:
        return []
    gone: list[DocumentPath] = []
    for path, edits in desired.journal.forget_left_over(keep=keep.__contains__):
        if desired.document(path) is None:
            continue
        for change in (*removing(desired, path), *edits):
            desired.apply(change)
        gone.append(path)
    desired.settle()
    return gone
