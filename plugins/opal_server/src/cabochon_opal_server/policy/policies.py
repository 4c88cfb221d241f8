"""The newest policies: looked for, announced, given out as bundles."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from pathlib import PurePosixPath

import anyio
import anyio.abc
import msgspec
import structlog

from cabochon import BackboneError, LogRecord, NewRecord
from cabochon.backoff import Backoff
from cabochon.schemas import PolicyUpdateMessage
from cabochon_opal_server.policy.bundle_cache import BundleCache, BundleKey
from cabochon_opal_server.policy.bundle_maker import change_message, delta_bundle, full_bundle
from cabochon_opal_server.policy.own_thread import in_own_thread
from cabochon_opal_server.policy.repository import PolicyRepository, RepositoryError
from cabochon_opal_server.policy.snapshot import Snapshot
from cabochon_opal_server.policy.turns import Turns
from cabochon_opal_server.pubsub.topics import policy_topics

__all__ = ["NotLoadedError", "Policies", "UnknownFolderError"]

log = structlog.get_logger()

_KEPT_BYTES = 128 * 1024 * 1024


class NotLoadedError(Exception):
    """The repository was not read yet."""


class UnknownFolderError(Exception):
    """The policies have no such folder; `args[0]` is its name."""


class Policies:
    """Follows a repository.

    What was read last is served while the repository can't be reached, and looked for again until it can be.
    """

    def __init__(
        self,
        repository: PolicyRepository,
        publish: Callable[[NewRecord], Awaitable[int]],
        *,
        interval_s: float,
        scope: str = "",
        kept_bytes: int = _KEPT_BYTES,
        turns: Turns | None = None,
    ) -> None:
        """Create it; `run` reads.

        Args:
            repository: where the policies are.
            publish: puts a record into the update log.
            interval_s: seconds between two looks; 0 for none but those that are asked for.
            scope: whose policies they are; "" for those of a server without scopes.
            kept_bytes: of the bundles that were made last.
            turns: what it shares with others that look at repositories.
        """
        self._repository = repository
        self._publish = publish
        self._topics = f"{scope}:" if scope else ""
        self._interval_s = interval_s or math.inf
        self._look = anyio.Event()
        self._newest: Snapshot | None = None
        self._announced: Snapshot | None = None
        self._asked_too_early = False
        self._trouble: str | None = None
        self._bundles = BundleCache(most_bytes=kept_bytes)
        self._making = anyio.Lock()
        self._turns = turns or Turns()

    @property
    def place(self) -> str:
        """Where the repository is, without credentials."""
        return self._repository.place

    @property
    def head(self) -> str | None:
        """The hash of the newest policies, None until they were read."""
        return None if self._newest is None else self._newest.hash

    @property
    def trouble(self) -> str | None:
        """Why the newest policies can't be read or announced, None if they can."""
        return self._trouble

    def look(self) -> None:
        """Look for news now; who asks while that goes on, has it look once more."""
        self._look.set()

    def passed_on(self, record: LogRecord) -> None:
        """Take note of a record of the log: another server may have seen new policies before this one did."""
        if record.kind == "policy" and record.topics and record.topics[0].startswith(f"{self._topics}policy:"):
            try:
                is_news = msgspec.json.decode(record.body, type=PolicyUpdateMessage).new_policy_hash != self.head
            except msgspec.MsgspecError:
                is_news = True
            if is_news:
                self.look()

    def existing(self, folders: Collection[str]) -> list[str]:
        """Leave out folders that the policies do not have; nothing is left out before they were read."""
        newest = self._newest
        return [folder for folder in folders if newest is None or newest.has(_normal(folder))]

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve what was the newest when the server ended, and look for news, until cancelled."""
        try:
            async with self._turns.one():
                self._newest = self._announced = await self._repository.last()
        except Exception as err:  # noqa: BLE001 - a guarded edge: what is kept there must not stop the start
            self._note_trouble(f"{type(err).__name__}: {err}")
        if self._newest is not None:
            log.info("policy_repo.still_there", repository=self.place, commit=self._newest.hash)
        task_status.started()
        backoff = Backoff(first_s=1.0, longest_s=30.0)
        failures = 0
        while True:
            self._look = anyio.Event()
            if await self._looked():
                failures, wait_s = 0, self._interval_s
            else:
                failures += 1
                wait_s = min(backoff.wait_s(failures), self._interval_s)
            with anyio.move_on_after(wait_s):
                await self._look.wait()

    async def bundle(self, folders: Collection[str], base_hash: str | None) -> bytes:
        """Make a bundle, as JSON: the difference to `base_hash` if that is known, else all.

        Raises:
            NotLoadedError: there is none yet.
            UnknownFolderError: one of `folders` does not exist.
        """
        newest = self._newest
        if newest is None:
            self._asked_too_early = True
            raise NotLoadedError
        wanted = tuple(sorted({_normal(folder) for folder in folders})) or (".",)
        for folder in wanted:
            if not newest.has(folder):
                raise UnknownFolderError(folder)
        kept = self._bundles.get(BundleKey(newest.hash, base_hash or "", wanted))
        if kept is not None:
            return kept
        old = await self._repository.snapshot(base_hash) if base_hash else None
        if base_hash and old is None:
            log.info("policy_repo.base_unknown", base_hash=base_hash[:100])
        # By what is known: of hashes that somebody makes up there is no end.
        key = BundleKey(newest.hash, "" if old is None else old.hash, wanted)
        async with self._making:
            made = self._bundles.get(key)
            if made is None:
                made = await in_own_thread(partial(_made, old, newest, wanted))
                self._bundles.put(key, made)
        return made

    # ---------------------------------------------------------------------------------------------------- looking

    async def _looked(self) -> bool:
        try:
            async with self._turns.one():
                found = await self._repository.newest()
            # Before anything of it is served: what can't be told is not taken.
            record = await in_own_thread(partial(_news, self._known_to_agents(found), found, self._topics))
            self._take(found)
            return await self._announce(found, record)
        except RepositoryError as err:
            self._note_trouble(str(err))
        except Exception as err:  # noqa: BLE001 - a guarded edge: one repository's trouble ends nothing else
            self._note_trouble(f"{type(err).__name__}: {err}"[:300])
        return False

    def _take(self, found: Snapshot) -> None:
        if self._trouble is not None:
            self._trouble = None
            log.info("policy_repo.reachable_again", repository=self.place)
        if self._newest is None:
            log.info("policy_repo.loaded", repository=self.place, commit=found.hash, modules=len(found.modules))
        self._announced = self._known_to_agents(found)
        self._newest = found

    def _known_to_agents(self, found: Snapshot) -> Snapshot | None:
        """Return what agents were told of last; who was sent away before there was any hears that there is some now."""
        return found if self._newest is None and not self._asked_too_early else self._announced

    async def _announce(self, found: Snapshot, record: NewRecord | None) -> bool:
        old = self._announced
        if old is not None and old.hash == found.hash:
            return True
        if record is not None:
            try:
                await self._publish(record)
            except BackboneError as err:
                log.warning("policy_repo.not_announced", commit=found.hash, error=str(err))
                return False
        log.info(
            "policy_repo.changed",
            old=None if old is None else old.hash,
            new=found.hash,
            folders=[] if record is None else [self._folder(topic) for topic in record.topics[:20]],
        )
        self._announced = found
        return True

    def _folder(self, topic: str) -> str:
        return topic.removeprefix(f"{self._topics}policy:")

    def _note_trouble(self, trouble: str) -> None:
        """Log what is wrong, once as long as it stays the same."""
        if trouble == self._trouble:
            log.debug("policy_repo.still_unreadable", repository=self.place, serving=self.head, error=trouble)
        else:
            self._trouble = trouble
            log.error("policy_repo.unreadable", repository=self.place, serving=self.head, error=trouble)


def _made(old: Snapshot | None, newest: Snapshot, folders: Collection[str]) -> bytes:
    made = full_bundle(newest, folders) if old is None else delta_bundle(old, newest, folders)
    return msgspec.json.encode(made)


def _news(old: Snapshot | None, found: Snapshot, prefix: str) -> NewRecord | None:
    """Make the record that tells agents of new policies; None if nothing changed that counts."""
    message = change_message(found if old is None else old, found)
    if message is None:
        return None
    topics = tuple(prefix + topic for topic in policy_topics(message.changed_directories))
    return NewRecord(kind="policy", topics=topics, body=msgspec.json.encode(message))


def _normal(folder: str) -> str:
    """Write a folder as snapshots do: `/app/`, `./app` and `app` are one, and the root is "."."""
    return str(PurePosixPath(folder.strip("/")))
