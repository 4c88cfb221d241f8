"""The policy half of the agent, a lane of its own: bundles from the source into the engine, the newest one wins.

Data files of a bundle travel in the data lane, so that they keep their order among data updates; only then are the
policies written, beside whatever the data lane does. The outcome is a record that the data lane writes with its next
commit.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import anyio
import structlog

from cabochon.backoff import Backoff
from cabochon.contract.metrics import Metrics
from cabochon.contract.policy_store import PolicyStore
from cabochon.contract.powers import SupportsValidation
from cabochon.contract.tracing import Period, PolicyTrace
from cabochon.documents import json_values
from cabochon.documents.json_values import JsonError
from cabochon.documents.path import DocumentPath
from cabochon.errors import DocumentPathError, SourceError, StoreRejectedError, StoreUnavailableError
from cabochon.schemas import PolicyBundle
from cabochon.sync.desired.state import DesiredState
from cabochon.sync.engine.sender import EngineAway
from cabochon.sync.intake.source_calls import SourceCalls
from cabochon.sync.outcome.traces import Traces
from cabochon.sync.rules.records import policy_record
from cabochon.sync.rules.update import Entry, EntryState
from cabochon.transactions.changes import (
    Change,
    Changes,
    DeletePolicy,
    ReplacePolicies,
    SetPolicy,
    Write,
    policies_after,
)
from cabochon.transactions.records import TransactionRecord

__all__ = ["PolicyUpdater", "PolicyWriter"]

log = structlog.get_logger()

_SLOWEST_POLICY_S = 2.0
"""One try of a commit may take this much longer for each policy in it: an engine may compile all of them each time."""


@dataclass(slots=True)
class PolicyWriter:
    """Writes policies into the engine, one commit at a time; remembers what the engine should hold."""

    store: PolicyStore
    desired: DesiredState
    timeout_s: float
    backoff: Backoff
    _one_at_a_time: anyio.Lock = field(default_factory=anyio.Lock)
    _doubtful: bool = False
    _wrote_a_set: bool = False
    _fills: int = 0

    def doubt(self) -> None:
        """Take note that the engine may hold anything: the next write is of the whole set."""
        self._doubtful = True

    async def write(
        self,
        transaction_id: str,
        changes: Sequence[Change],
        *,
        policy_hash: str | None = None,
        anew: bool = False,
    ) -> None:
        """Commit policy changes; `anew` writes the whole set even if it is what we think the engine holds.

        Raises:
            StoreRejectedError: the engine refuses them; what was in force stays.
            EngineAway: no answer within the deadline, which is longer for many policies.
        """
        if self.store.traits.policy_unit == "none" and changes:
            msg = "this policy store takes no policies; set OPAL_POLICY_UPDATER_ENABLED=False"
            raise StoreRejectedError(msg)
        async with self._one_at_a_time:
            wanted = policies_after(self.desired.policies, changes)
            whole = anew or self._doubtful
            is_set = any(isinstance(change, ReplacePolicies) for change in changes)
            # The first set takes away what an earlier life left, and is written though it may be empty.
            is_first = is_set and not self._wrote_a_set
            if whole or is_first or list(wanted.items()) != list(self.desired.policies.items()):
                await self._validate(wanted)
                # A difference would leave in place what an earlier one may have written before its answer was lost.
                fills = await self._send(transaction_id, [ReplacePolicies(wanted, anew)] if whole else changes)
                while not self.desired.policies and self._fills != fills:
                    # It was filled without policies, and may have been emptied, while the answer was on its way.
                    fills = await self._send(transaction_id, [ReplacePolicies(wanted, anew)])
            self._wrote_a_set = self._wrote_a_set or is_set
            self.desired.policies = wanted
            if policy_hash is not None:
                self.desired.policy_hash = policy_hash

    async def restore(self) -> None:
        """Write the whole set again; for an engine that has lost it.

        Raises:
            EngineAway: no answer within the deadline.
        """
        self._fills += 1
        if not self.desired.policies:
            # A first set may be under way. It can take long, and `write` sees to it: no need to wait for it.
            return
        async with self._one_at_a_time:
            if self.desired.policies:
                try:
                    await self._send("restore", [ReplacePolicies(dict(self.desired.policies))])
                except StoreRejectedError as err:
                    log.warning("policies.restore_refused", error=str(err))

    async def _validate(self, policies: dict[str, str]) -> None:
        if isinstance(self.store, SupportsValidation):
            problems = await self.store.validate(policies)
            if problems:
                msg = "; ".join(f"{p.id}:{p.row or '?'}: {p.message}" for p in problems)
                raise StoreRejectedError(msg, path=problems[0].id)

    async def _send(self, transaction_id: str, changes: Sequence[Change]) -> int:
        """Commit; return how often the engine had been filled when the try began that landed."""
        commit = Changes((Write(transaction_id, tuple(changes)),))
        longest_s = self.timeout_s + _SLOWEST_POLICY_S * self._policies_in(changes)
        give_up_at: float | None = None
        tries = 0
        while True:
            tries += 1
            fills = self._fills
            error: Exception = StoreUnavailableError("the engine's answer was lost")
            attempt = anyio.move_on_after(longest_s)
            try:
                with attempt:
                    result = await self.store.commit(commit)
                    if result.landed:
                        self._doubtful = False
                        return fills
                    if result.refusal is not None:
                        raise result.refusal  # noqa: TRY301 - the clause below passes it on
            except StoreRejectedError:
                raise
            except Exception as err:  # noqa: BLE001 - a guarded edge: whatever else a store raises, the answer is lost
                error = err
            if give_up_at is None:
                give_up_at = anyio.current_time() + self.timeout_s
            # Policies are written by value: once more after a lost answer does no harm.
            wait = self.backoff.wait_s(tries)
            if attempt.cancelled_caught or anyio.current_time() + wait >= give_up_at:
                self._doubtful = True
                raise EngineAway(error)
            await anyio.sleep(wait)

    def _policies_in(self, changes: Sequence[Change]) -> int:
        """How many policies these changes could write, those included that a replacement removes."""
        replaces = any(isinstance(change, ReplacePolicies) for change in changes)
        counts = [len(change.policies) if isinstance(change, ReplacePolicies) else 1 for change in changes]
        return sum(counts) + (len(self.desired.policies) if replaces else 0)


class PolicyUpdater:
    """Fetches and applies bundles, one at a time; several requests while one is applied become one."""

    def __init__(
        self,
        calls: SourceCalls,
        writer: PolicyWriter,
        *,
        write_data: Callable[[str, list[Entry]], Awaitable[list[Entry]]],
        record: Callable[[TransactionRecord, str], Awaitable[None]],
        on_applied: Callable[[], None],
        metrics: Metrics,
        traces: Traces,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._calls = calls
        self._writer = writer
        self._write_data = write_data
        self._record = record
        self._on_applied = on_applied
        self._metrics = metrics
        self._traces = traces
        self._wall = wall
        self._full = False
        self._confirmed = False
        self._malformed: dict[DocumentPath, str] = {}
        self._wanted = anyio.Event()
        self._asked = False
        self._backoff = Backoff(longest_s=30)

    def request(self, *, full: bool = False) -> None:
        """Ask for the policies soon: what changed since the last bundle, or everything."""
        self._full = self._full or full
        self._asked = True
        self._wanted.set()

    def engine_is_back(self) -> None:
        """Ask once more: what came while it was away may have failed. Before the first request nothing came."""
        if self._asked:
            self._wanted.set()

    async def run(self) -> None:
        """Apply bundles until cancelled."""
        tries = 0
        while True:
            if not tries:
                await self._wanted.wait()
            await self._calls.connectivity.enabled()
            self._wanted = wanted = anyio.Event()
            full, self._full = self._full, False
            if await self._update(full=full):
                tries = 0
                continue
            tries += 1
            self._full = self._full or full
            with anyio.move_on_after(self._backoff.wait_s(tries)):
                await wanted.wait()

    async def _update(self, *, full: bool) -> bool:
        """Fetch and apply one bundle; False if it is worth another try."""
        base = None if full else self._writer.desired.policy_hash
        asked_at = self._wall()
        try:
            bundle = await self._calls.policy_bundle(base)
        except SourceError as err:
            self._metrics.count("policies.fetch_failed")
            log.warning("policy_bundle.fetch_failed", error=str(err))
            fetch = Period(asked_at, self._wall())
            self._traces.ended(PolicyTrace(policy_hash=None, fetch=fetch, error=str(err)))
            return False
        if bundle is None:
            await self._confirm(base)
            return True
        if bundle.old_hash not in {None, base}:
            self._metrics.count("policies.fetch_failed")
            log.warning("policy_bundle.not_of_ours", base_hash=base, old_hash=bundle.old_hash, policy_hash=bundle.hash)
            self._full = True
            # Everything is asked for at once; a source that does not give that either is asked again later.
            return base is not None and self._request_again()
        return await self._apply(bundle, Period(asked_at, self._wall()), anew=full)

    def _request_again(self) -> bool:
        self._wanted.set()
        return True

    async def _confirm(self, base: str | None) -> None:
        """Take note that the policies which a backup brought are the newest: the first time, that syncs them."""
        if base is not None and not self._confirmed:
            now = self._wall()
            self._confirmed = True
            await self._record(policy_record(base, "", created_at=now, ended_at=now), base)
            self._on_applied()

    async def _apply(self, bundle: PolicyBundle, fetch: Period, *, anew: bool) -> bool:
        started = self._wall()
        error = ""
        again = False
        data: list[Entry] = []
        try:
            data = await self._write_data(bundle.hash, self._data_entries(bundle))
            error = "; ".join(f"{entry.path}: {entry.error}" for entry in data if entry.error)
            await self._writer.write(bundle.hash, _policy_changes(bundle), policy_hash=bundle.hash, anew=anew)
        except StoreRejectedError as err:
            error = str(err)
        except EngineAway as err:
            error, again = f"the policy store is not available: {err}", True
        if error:
            log.warning("policy_bundle.failed", policy_hash=bundle.hash, error=error)
        else:
            log.info("policy_bundle.applied", policy_hash=bundle.hash, policies=len(bundle.policy_modules))
        # What it wrote may stand where older data updates were to write: nobody waits for those any longer.
        saved = [entry for entry in data if entry.state is EntryState.SAVED]
        record = policy_record(
            bundle.hash,
            error,
            created_at=started,
            ended_at=self._wall(),
            saved=saved,
            malformed=dict(self._malformed),
        )
        self._traces.ended(
            PolicyTrace(
                policy_hash=bundle.hash,
                fetch=fetch,
                commit=Period(started, record.ended_at),
                policies=len(bundle.policy_modules),
                error=error,
            )
        )
        await self._record(record, bundle.hash)
        if not error:
            self._confirmed = True
            self._on_applied()
        return not again

    def _data_entries(self, bundle: PolicyBundle) -> list[Entry]:
        """The data files of a bundle as writes; a full bundle also removes those of earlier ones that it lacks.

        A file that is no JSON is left out, as OPAL does: what an earlier bundle had there stays, and is out of sync.
        """
        desired = self._writer.desired
        entries: list[Entry] = []
        written: set[DocumentPath] = set()
        if bundle.old_hash is None:
            self._malformed.clear()
        for module in bundle.data_modules:
            entry = Entry(DocumentPath(), "PUT")
            try:
                entry.path = _folder(module.path)
                entry.ready(json_values.check(module.data.encode()))
                written.add(entry.path)
                self._malformed.pop(entry.path, None)
            except DocumentPathError as err:
                entry.state, entry.error = EntryState.REFUSED, err
            except JsonError as err:
                log.warning(
                    "policy_bundle.data_malformed", policy_hash=bundle.hash, path=str(entry.path), error=str(err)
                )
                self._malformed[entry.path] = f"the data file of policies {bundle.hash} is no JSON: {err}"
                written.update(desired.policy_data_paths & {entry.path})
                continue
            entries.append(entry)
        if bundle.old_hash is None:
            gone = desired.policy_data_paths - written
            desired.policy_data_paths = frozenset(written)
        else:
            deleted = bundle.deleted_files.data_modules if bundle.deleted_files is not None else ()
            # What is no path was never written.
            gone = {folder for path in deleted if (folder := _folder_if_any(path)) is not None}
            desired.policy_data_paths = (desired.policy_data_paths - gone) | written
            for path in gone:
                self._malformed.pop(path, None)
        return [*(Entry(path, "DELETE").ready(None) for path in sorted(gone)), *entries]


def _folder(path: str) -> DocumentPath:
    return DocumentPath.parse("" if path == "." else path)


def _folder_if_any(path: str) -> DocumentPath | None:
    try:
        return _folder(path)
    except DocumentPathError:
        return None


def _policy_changes(bundle: PolicyBundle) -> list[Change]:
    order = {path: place for place, path in enumerate(bundle.manifest)}
    modules = sorted(bundle.policy_modules, key=lambda module: order.get(module.path, len(order)))
    if bundle.old_hash is None:
        return [ReplacePolicies({module.path: module.rego for module in modules})]
    deleted = bundle.deleted_files.policy_modules if bundle.deleted_files is not None else ()
    return [*(SetPolicy(module.path, module.rego) for module in modules), *(DeletePolicy(path) for path in deleted)]
