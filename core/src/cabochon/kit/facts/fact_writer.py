"""Writes go to the engine as the differences that they make, and what became of each is found out."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Generic, TypeAlias, TypeVar

import structlog

from cabochon.documents.path import DocumentPath
from cabochon.errors import AnswerLostError, HeldOtherwiseError, StoreRejectedError, StoreUnavailableError
from cabochon.kit.facts.difference import Call
from cabochon.kit.facts.engine_facts import Facts
from cabochon.kit.facts.ledger import FactLedger, Staged
from cabochon.transactions.commit_result import Applied, Outcome, Refused, Unknown

__all__ = ["FactWriter", "Plan"]

log = structlog.get_logger()

K = TypeVar("K", bound=Hashable)
A = TypeVar("A")

Plan: TypeAlias = Sequence[tuple[DocumentPath, "Facts[K, A] | None"]]
"""One write: what each path is to own, None for nothing at all."""


@dataclass(frozen=True, slots=True)
class _Member(Generic[K, A]):
    """A write that waits to be sent; `number` is that of its outcome."""

    number: int
    plan: Plan[K, A]
    staged: Staged[K, A]


class FactWriter(Generic[K, A]):
    """Writes one commit; what it has learnt of the engine stays in the ledger, also if it is cancelled.

    Args:
        ledger: what the engine holds.
        write: makes one call, as `FactSetStore.write_facts` does.
        most: facts of one call, None for no limit.
        overwrites: whether a write puts a new attribute in the place of the old one.
    """

    def __init__(
        self,
        ledger: FactLedger[K, A],
        write: Callable[[Call[K, A]], Awaitable[str | None]],
        *,
        most: int | None,
        overwrites: bool,
    ) -> None:
        self._ledger = ledger
        self._write_call = write
        self._most = most
        self._overwrites = overwrites
        self._outcomes: dict[int, Outcome] = {}
        self._settled: list[tuple[Staged[K, A], Facts[K, A]]] = []
        self._landed = False
        self.version: str | None = None

    async def write(self, plans: Sequence[Plan[K, A] | Refused]) -> list[Outcome]:
        """Write these in order, small ones in one call; return what became of each.

        Where nobody hears that, what is in force counts as in doubt, and as not written if nothing has landed.

        Raises:
            StoreUnavailableError: the engine can't be reached, and nothing has landed.
            StateLostError: as `write` raised it.
        """
        try:
            await self._write_all(plans)
            await self._drive_out_ghosts()
        except StoreUnavailableError as err:
            if not self._landed:
                self._unsettle()
                for staged, _ in reversed(self._settled):
                    self._ledger.undo(staged)
                raise
            for number in range(len(plans)):
                self._outcomes.setdefault(number, Unknown(err))
        except BaseException:
            self._unsettle()
            raise
        return [self._outcomes[number] for number in range(len(plans))]

    async def _write_all(self, plans: Sequence[Plan[K, A] | Refused]) -> None:
        waiting: list[_Member[K, A]] = []
        names: dict[K, None] = {}
        for number, plan in enumerate(plans):
            member = plan if isinstance(plan, Refused) else self._staged(number, plan)
            if waiting and not isinstance(plan, Refused) and not self._fits(names, member):
                if isinstance(member, _Member):
                    self._ledger.undo(member.staged)
                await self._send(waiting)
                waiting, names = [], {}
                member = self._staged(number, plan)
            if isinstance(member, _Member):
                waiting.append(member)
                names |= member.staged.keys
            else:
                self._outcomes[number] = member
        await self._send(waiting)

    def _staged(self, number: int, plan: Plan[K, A]) -> _Member[K, A] | Refused | Unknown:
        try:
            return _Member(number, plan, self._ledger.stage(plan))
        except StoreRejectedError as err:
            return Refused(err)
        except AnswerLostError as err:
            return Unknown(err)

    def _fits(self, names: Mapping[K, None], member: _Member[K, A] | Outcome) -> bool:
        """Tell whether a write may go with those that wait: it fits, and is about other facts.

        One that they make impossible, or needless in part, is judged once they are in force.
        """
        if not isinstance(member, _Member) or not names.keys().isdisjoint(member.staged.keys):
            return False
        return self._most is None or len(names) + len(member.staged.keys) <= self._most

    # -------------------------------------------------------------------------------------------------- sending

    async def _send(self, members: Sequence[_Member[K, A]]) -> None:
        """Send writes together, or one by one where that is refused."""
        try:
            await self._tell(_all(member.staged.keys for member in members))
        except StoreRejectedError as err:
            await self._find_guilty(members, err)
        except AnswerLostError as err:
            for member in members:
                self._end(member, Unknown(err) if member.staged.keys else Applied())
        except BaseException as err:
            if isinstance(err, StoreUnavailableError) and not self._landed:
                for member in reversed(members):
                    self._ledger.undo(member.staged)
            else:
                for member in members:
                    self._ledger.leave_in_doubt(member.staged)
            raise
        else:
            for member in members:
                self._end(member, Applied())

    def _end(self, member: _Member[K, A], outcome: Applied | Unknown) -> None:
        if isinstance(outcome, Applied):
            self._settled.append((member.staged, self._ledger.settle(member.staged)))
        else:
            self._ledger.leave_in_doubt(member.staged)
        self._outcomes[member.number] = outcome

    def _unsettle(self) -> None:
        """Take note that core does not hear what is in force: it writes that again, or what was before it."""
        for staged, found_owners in reversed(self._settled):
            self._ledger.unsettle(staged, found_owners)

    async def _find_guilty(self, members: Sequence[_Member[K, A]], error: StoreRejectedError) -> None:
        undone = [self._ledger.undo(member.staged) for member in reversed(members)]
        if len(members) == 1:
            (keys,) = undone
            outcome = Unknown(error) if keys is None else await self._taken_back(keys, error)
            self._outcomes[members[0].number] = outcome
            return
        for member in members:
            again = self._staged(member.number, member.plan)
            if isinstance(again, _Member):
                await self._send([again])
            else:
                self._outcomes[member.number] = again

    async def _taken_back(self, keys: Iterable[K], error: StoreRejectedError) -> Outcome:
        """Put back what the calls before the refused one have changed."""
        try:
            await self._tell(keys)
        except (StoreRejectedError, StoreUnavailableError, AnswerLostError) as err:
            log.warning("facts.not_taken_back", error=str(err), refusal=str(error))
            return Unknown(error)
        return Refused(error)

    async def _drive_out_ghosts(self) -> None:
        """Remove what nobody owns any more, where an earlier call was cancelled or its answer lost."""
        try:
            try:
                await self._tell(self._ledger.engine.ghosts())
            except StoreRejectedError:
                for key in self._ledger.engine.ghosts():
                    await self._drive_out(key)
        except (StoreUnavailableError, AnswerLostError) as err:
            # None of it counts as done while a fact is left that should be gone: it is all written again.
            applied = [number for number, outcome in self._outcomes.items() if isinstance(outcome, Applied)]
            self._outcomes.update((number, Unknown(err)) for number in applied)
            self._unsettle()

    async def _drive_out(self, key: K) -> None:
        try:
            await self._tell([key])
        except StoreRejectedError as err:
            # It is tried again with every commit.
            log.warning("facts.not_removed", fact=str(key), error=str(err))

    async def _tell(self, keys: Iterable[K]) -> None:
        """Make the engine hold what it should of these facts."""
        calls = deque(self._calls(keys))
        while calls:
            try:
                await self._call(calls.popleft())
            except HeldOtherwiseError as err:
                if not self._ledger.engine.met(err.found):
                    raise
                calls = deque(self._calls(keys))

    def _calls(self, keys: Iterable[K]) -> Iterable[Call[K, A]]:
        return self._ledger.engine.difference(keys).calls(self._most, overwrites=self._overwrites)

    async def _call(self, call: Call[K, A]) -> None:
        before = self._ledger.engine.sending(call)
        try:
            version = await self._write_call(call)
        except (StoreRejectedError, StoreUnavailableError):
            self._ledger.engine.not_landed(before)
            raise
        except AnswerLostError:
            self._landed = True
            raise
        self._landed = True
        self._ledger.engine.landed(call)
        self.version = version or self.version


def _all(keys: Iterable[Iterable[K]]) -> Mapping[K, None]:
    return dict.fromkeys(chain.from_iterable(keys))
