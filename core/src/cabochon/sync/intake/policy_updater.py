"""The policy half of the agent, a lane of its own: bundles from the source into the engine, the newest one wins.

Data files of a bundle travel in the data lane, so that they keep their order among data updates; only then are the
policies written, beside whatever the data lane does. The outcome is a record that the data lane writes with its next
commit.
"""

from __future__ import annotations

import structlog

from cabochon.backoff import Backoff
from cabochon.contract.tracing import Period, PolicyTrace
from cabochon.errors import SourceError, StoreRejectedError
from cabochon.schemas import PolicyBundle
from cabochon.sync.bell import Bell
from cabochon.sync.engine.policy_writer import PolicyWriter
from cabochon.sync.engine.sender import EngineAway
from cabochon.sync.intake.own_transactions import OwnTransactions
from cabochon.sync.intake.policy_data import PolicyDataFiles
from cabochon.sync.intake.source_calls import SourceCalls
from cabochon.sync.outcome.instruments import Instruments
from cabochon.sync.outcome.reports import PendingReport, Reporting
from cabochon.sync.rules.records import policy_record
from cabochon.sync.rules.update import Entry, EntryState
from cabochon.transactions.changes import Change, DeletePolicy, ReplacePolicies, SetPolicy
from cabochon.transactions.records import TransactionRecord

__all__ = ["PolicyUpdater"]

log = structlog.get_logger()


class PolicyUpdater:
    """Fetches and applies bundles, one at a time; several requests while one is applied become one.

    `wanted` is rung too when the engine is back: what came while it was away may have failed.
    """

    def __init__(
        self,
        calls: SourceCalls,
        writer: PolicyWriter,
        data_files: PolicyDataFiles,
        transactions: OwnTransactions,
        reporting: Reporting,
        wanted: Bell,
        *,
        instruments: Instruments,
    ) -> None:
        self._calls = calls
        self._writer = writer
        self._data_files = data_files
        self._transactions = transactions
        self._reporting = reporting
        self._metrics = instruments.metrics
        self._traces = instruments.traces
        self._wall = instruments.wall
        self._full = False
        self._confirmed = False
        self._wanted = wanted
        self._asked = False
        self._backoff = Backoff(longest_s=30)

    def request(self, *, full: bool = False) -> None:
        """Ask for the policies soon: what changed since the last bundle, or everything."""
        self._full = self._full or full
        self._asked = True
        self._wanted.ring()

    async def run(self) -> None:
        """Apply bundles until cancelled."""
        tries = 0
        while True:
            if not tries:
                await self._wanted.answered()
            if not self._asked:
                # The engine is back before the source was met: nothing has come that could have failed.
                continue
            await self._calls.enabled()
            # What was asked for while we were cut off is asked for now.
            self._wanted.taken()
            full, self._full = self._full, False
            if await self._update(full=full):
                tries = 0
                continue
            tries += 1
            self._full = self._full or full
            await self._wanted.answered(within_s=self._backoff.wait_s(tries))

    async def _update(self, *, full: bool) -> bool:
        """Fetch and apply one bundle; False if it is worth another try."""
        base = None if full else self._writer.policy_hash
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
            self._confirm(base)
            return True
        if bundle.old_hash not in {None, base}:
            self._metrics.count("policies.fetch_failed")
            log.warning("policy_bundle.not_of_ours", base_hash=base, old_hash=bundle.old_hash, policy_hash=bundle.hash)
            self._full = True
            # Everything is asked for at once; a source that does not give that either is asked again later.
            return base is not None and self._request_again()
        return await self._apply(bundle, Period(asked_at, self._wall()), anew=full)

    def _request_again(self) -> bool:
        self._wanted.ring()
        return True

    def _confirm(self, base: str | None) -> None:
        """Take note that the policies which a backup brought are the newest: the first time, that syncs them."""
        if base is not None and not self._confirmed:
            now = self._wall()
            self._confirmed = True
            self._record(policy_record(base, "", created_at=now, ended_at=now), base)
            self._transactions.policies_applied()

    async def _apply(self, bundle: PolicyBundle, fetch: Period, *, anew: bool) -> bool:
        started = self._wall()
        error = ""
        again = False
        data: list[Entry] = []
        try:
            data = await self._transactions.write_policy_data(bundle.hash, self._data_files.entries(bundle))
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
            malformed=self._data_files.malformed,
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
        self._record(record, bundle.hash)
        if not error:
            self._confirmed = True
            self._transactions.policies_applied()
        return not again

    def _record(self, record: TransactionRecord, policy_hash: str) -> None:
        self._transactions.record(record)
        self._reporting.submit(PendingReport(update_id=None, policy_hash=policy_hash))


def _policy_changes(bundle: PolicyBundle) -> list[Change]:
    order = {path: place for place, path in enumerate(bundle.manifest)}
    modules = sorted(bundle.policy_modules, key=lambda module: order.get(module.path, len(order)))
    if bundle.old_hash is None:
        return [ReplacePolicies({module.path: module.rego for module in modules})]
    deleted = bundle.deleted_files.policy_modules if bundle.deleted_files is not None else ()
    return [*(SetPolicy(module.path, module.rego) for module in modules), *(DeletePolicy(path) for path in deleted)]
