"""Write policies, beside whatever the data lane does: a difference where that is safe, else the whole set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio
import structlog

from cabochon.backoff import Backoff
from cabochon.contract.policy_store import PolicyStore
from cabochon.contract.powers import SupportsValidation
from cabochon.errors import StoreRejectedError, StoreUnavailableError
from cabochon.sync.desired.policies import DesiredPolicies
from cabochon.sync.engine.sender import EngineAway
from cabochon.transactions.changes import Change, Changes, ReplacePolicies, Write, policies_after

__all__ = ["PolicyWriter"]

log = structlog.get_logger()

_SLOWEST_POLICY_S = 2.0
"""One try of a commit may take this much longer for each policy in it: an engine may compile all of them each time."""


@dataclass(slots=True)
class PolicyWriter:
    """Writes policies into the engine, one commit at a time.

    Attributes:
        store: the open store.
        desired: what the engine should hold; nobody else writes what is written there.
        timeout_s: how long a commit is tried again, and how long one try may take before its policies are counted.
        backoff: how long to wait between two tries.
    """

    store: PolicyStore
    desired: DesiredPolicies
    timeout_s: float
    backoff: Backoff
    _one_at_a_time: anyio.Lock = field(default_factory=anyio.Lock)
    _in_doubt: bool = False
    _wrote_a_set: bool = False
    _fills: int = 0

    @property
    def policy_hash(self) -> str | None:
        """The hash of the newest bundle in force, None if none ever came."""
        return self.desired.hash

    def put_in_doubt(self) -> None:
        """Take note that the engine may hold anything: the next write is of the whole set."""
        self._in_doubt = True

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
            EngineAway: no answer within the deadline, which is longer for many policies, or the store broke.
        """
        if self.store.traits.policy_unit == "none" and changes:
            msg = "this policy store takes no policies; set OPAL_POLICY_UPDATER_ENABLED=False"
            raise StoreRejectedError(msg)
        async with self._one_at_a_time:
            wanted = policies_after(self.desired.by_id, changes)
            whole = anew or self._in_doubt
            is_set = any(isinstance(change, ReplacePolicies) for change in changes)
            # The first set takes away what an earlier life left, and is written though it may be empty.
            is_first = is_set and not self._wrote_a_set
            if whole or is_first or list(wanted.items()) != list(self.desired.by_id.items()):
                await self._validate(wanted)
                # A difference would leave in place what an earlier one may have written before its answer was lost.
                fills = await self._send(transaction_id, [ReplacePolicies(wanted, anew)] if whole else changes)
                while not self.desired.by_id and self._fills != fills:
                    # It was filled without policies, and may have been emptied, while the answer was on its way.
                    fills = await self._send(transaction_id, [ReplacePolicies(wanted, anew)])
            self._wrote_a_set = self._wrote_a_set or is_set
            self.desired.by_id = wanted
            if policy_hash is not None:
                self.desired.hash = policy_hash

    async def restore(self) -> None:
        """Write the whole set again; for an engine that has lost it.

        Raises:
            EngineAway: no answer within the deadline.
        """
        self._fills += 1
        if not self.desired.by_id:
            # A first set may be under way. It can take long, and `write` sees to it: no need to wait for it.
            return
        async with self._one_at_a_time:
            if self.desired.by_id:
                try:
                    await self._send("restore", [ReplacePolicies(dict(self.desired.by_id))])
                except StoreRejectedError as err:
                    log.warning("policies.restore_refused", error=str(err))

    async def _validate(self, policies: dict[str, str]) -> None:
        if isinstance(self.store, SupportsValidation):
            try:
                with anyio.fail_after(self.timeout_s + _SLOWEST_POLICY_S * len(policies)):
                    problems = await self.store.validate(policies)
            except Exception as err:
                # Whatever a store raises in place of an answer: it is asked again.
                raise EngineAway(err) from err
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
                        self._in_doubt = False
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
                self._in_doubt = True
                raise EngineAway(error)
            await anyio.sleep(wait)

    def _policies_in(self, changes: Sequence[Change]) -> int:
        """How many policies these changes could write, those included that a replacement removes."""
        replaces = any(isinstance(change, ReplacePolicies) for change in changes)
        counts = [len(change.policies) if isinstance(change, ReplacePolicies) else 1 for change in changes]
        return sum(counts) + (len(self.desired.by_id) if replaces else 0)
