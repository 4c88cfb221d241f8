"""The backup of an agent: when it is written, what becomes of a file that can't be read, what the operator is told."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import anyio
import structlog
from anyio import to_thread

from cabochon.backoff import Backoff
from cabochon.contract.metrics import Metrics
from cabochon.errors import ConfigurationError
from cabochon.sync.backup.file import BackedUp, BackupFile, BackupState, UnusableBackupError, moved_aside
from cabochon.sync.backup.rows import key_of, path_from
from cabochon.sync.bell import Bell
from cabochon.sync.desired.journal import ChangeJournal
from cabochon.sync.desired.policies import DesiredPolicies
from cabochon.sync.engine.view import EngineView
from cabochon.transactions.changes import Marker

__all__ = ["StoreBackup", "open_store_backup"]

log = structlog.get_logger()

_SHARE_OF_TIME = 0.1
_LAST_SAVE_S = 3.0


@dataclass(slots=True)
class StoreBackup:
    """An open backup. `attach` it once, before anything is written; then let it `run`, and at the end `finish`.

    Attributes:
        store: the name of the policy store that the backup is for.
        interval_s: seconds between two backups at least; more after one that took long, so that no more than a tenth
            of the time is spent on writing.
    """

    store: str
    interval_s: float
    _file: BackupFile
    _loaded: BackedUp | None
    _wall: Callable[[], float] = time.time
    _journal: ChangeJournal = field(default_factory=ChangeJournal)
    _bell: Bell = field(default_factory=Bell)
    _one_at_a_time: anyio.Lock = field(default_factory=anyio.Lock)
    _policies: DesiredPolicies = field(default_factory=DesiredPolicies)
    _known: tuple[object, ...] = ()

    def attach(self, view: EngineView, policies: DesiredPolicies) -> None:
        """Make the agent want what was backed up, and have its desired state tell of every change from now on."""
        self._policies = policies
        if self._loaded is not None:
            _fill(view, policies, self._loaded)
            self._known = self._apart_from_documents(view)
            self._journal.left_over = {path: {} for path in view.desired.owned()}
            # The desired state has it now.
            self._loaded = None
        self._journal.on_settled = self._bell.ring
        view.desired.journal = self._journal

    def close(self) -> None:
        """Close the file, unless a last backup that took too long is still being written: it ends with the process."""
        if not self._one_at_a_time.locked():
            self._file.close()

    # --------------------------------------------------------------------------------------------------- writing

    async def run(self, view: EngineView, metrics: Metrics) -> None:
        """Write a backup soon after each commit, until cancelled."""
        metrics.gauge("store_backup.unsaved", lambda: len(self._journal))
        backoff = Backoff(first_s=1.0, longest_s=60.0)
        failed = 0
        while True:
            await self._bell.answered()
            began = anyio.current_time()
            if await self.save(view, metrics):
                failed = 0
            else:
                failed += 1
                self._bell.ring()
            took = anyio.current_time() - began
            pause = max(self.interval_s, took / _SHARE_OF_TIME - took)
            await anyio.sleep(max(pause, backoff.wait_s(failed)) if failed else pause)

    async def finish(self, view: EngineView, metrics: Metrics) -> None:
        """Write the last backup, within 3 s; one that takes longer is lost, and the one before it stays."""
        with anyio.move_on_after(_LAST_SAVE_S, shield=True) as scope:
            await self.save(view, metrics, abandon_on_cancel=True)
        if scope.cancelled_caught:
            log.warning("store_backup.failed", error=f"the last backup was not written within {_LAST_SAVE_S:g} s")

    async def save(self, view: EngineView, metrics: Metrics, *, abandon_on_cancel: bool = False) -> bool:
        """Write what has changed since the last backup; tell whether all of it is on disk."""
        async with self._one_at_a_time:
            # All of this is as of one commit: nothing here waits until everything is taken.
            known = self._apart_from_documents(view)
            if not self._journal and known == self._known:
                return True
            unsaved, policies, state = self._journal.take(), self._policies.by_id, self._state(view)
            began = anyio.current_time()
            try:
                size = await to_thread.run_sync(
                    partial(self._file.save, state, unsaved, policies), abandon_on_cancel=abandon_on_cancel
                )
            except (OSError, UnusableBackupError) as err:
                self._journal.put_back(unsaved)
                metrics.count("store_backup.failed")
                log.warning("store_backup.failed", error=str(err))
                return False
            self._known = known
            metrics.count("store_backup.saved")
            took = anyio.current_time() - began
            log.debug("store_backup.saved", paths=len(unsaved), size_bytes=size, duration_s=round(took, 4))
            return True

    def _state(self, view: EngineView) -> BackupState:
        # With writes put off it is newer than the engine, whatever marker that shows: it may hold our lost answer's.
        marker = view.life.marker if view.log.now.engine_current and not view.put_off else None
        return BackupState(
            store=self.store,
            saved_at=self._wall(),
            policy_hash=self._policies.hash,
            policy_synced=view.log.now.policy_served,
            data_synced=view.log.now.data_served,
            initial_paths=tuple(key_of(path) for path in sorted(view.log.now.initial_paths)),
            policy_data_paths=tuple(key_of(path) for path in sorted(self._policies.data_paths)),
            marker=None if marker is None else (marker.epoch, marker.number),
        )

    def _apart_from_documents(self, view: EngineView) -> tuple[object, ...]:
        now, policies = view.log.now, self._policies
        return (
            policies.by_id,
            policies.hash,
            policies.data_paths,
            now.policy_served,
            now.data_served,
            now.initial_paths,
        )


def _fill(view: EngineView, policies: DesiredPolicies, loaded: BackedUp) -> None:
    desired, state = view.desired, loaded.state
    for change in loaded.changes:
        desired.apply(change)
    desired.settle()
    policies.by_id = loaded.policies
    policies.hash = state.policy_hash
    policies.data_paths = frozenset(map(path_from, state.policy_data_paths))
    view.life.come_from_backup(None if state.marker is None else Marker(*state.marker))
    view.log.come_from_backup(
        policy=state.policy_synced,
        data=state.data_synced,
        initial_paths=frozenset(map(path_from, state.initial_paths)),
    )


@asynccontextmanager
async def open_store_backup(path: Path, *, interval_s: float, store: str) -> AsyncGenerator[StoreBackup]:
    """Open the backup at `path` and read what is in it; a file that is no use is renamed aside.

    Raises:
        ConfigurationError: the file can't be made, read or written, or another process has it open.
    """
    try:
        file, loaded = await to_thread.run_sync(_opened, path, store)
    except OSError as err:
        why = err.strerror or err
        msg = f"OPAL_STORE_BACKUP_PATH={path}: {why}; should be a file that this process, and no other, can write"
        raise ConfigurationError(msg) from err
    if loaded is None:
        log.info("store_backup.missing", path=str(path))
    else:
        log.info(
            "store_backup.loaded",
            path=str(path),
            documents=loaded.documents,
            policies=len(loaded.policies),
            age_s=round(time.time() - loaded.state.saved_at, 1),
            complete=loaded.state.policy_synced and loaded.state.data_synced,
        )
    backup = StoreBackup(store, interval_s, file, loaded)
    try:
        yield backup
    finally:
        backup.close()


def _opened(path: Path, store: str) -> tuple[BackupFile, BackedUp | None]:
    try:
        return _read(path, store)
    except UnusableBackupError as err:
        aside = moved_aside(path)
        log.error(  # noqa: TRY400 - there is nothing else to be said of it
            "store_backup.unusable", path=str(path), moved_to=str(aside), error=str(err)
        )
        return _read(path, store)


def _read(path: Path, store: str) -> tuple[BackupFile, BackedUp | None]:
    file = BackupFile.open(path)
    try:
        loaded = file.load()
        if loaded is not None:
            loaded.check_store(store)
    except BaseException:
        file.close()
        raise
    return file, loaded
