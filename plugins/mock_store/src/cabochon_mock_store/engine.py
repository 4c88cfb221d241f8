"""MockEngine: a policy engine in this process, which lives as long as you keep it and fails when you tell it to."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

import anyio

from cabochon.documents import json_values
from cabochon.documents.path import ROOT, DocumentPath
from cabochon.errors import PolicyStoreError, StateLostError, StoreRejectedError, StoreUnavailableError
from cabochon.transactions.changes import Change, Changes, DataChange, DeletePolicy, Marker, SetPolicy
from cabochon.transactions.commit_result import Blame, CommitResult
from cabochon_mock_store.contents import CommitRefused, Contents
from cabochon_mock_store.documents import MISSING, JsonValue

__all__ = ["Commit", "MockEngine"]


@dataclass(slots=True)
class Commit:
    """One commit that reached the engine.

    Attributes:
        changes: what was asked for.
        landed: whether it was done. True beside an error: the answer was lost.
        error: what the store was told, None if all went well.
    """

    changes: Changes
    landed: bool = False
    error: Exception | None = None


@dataclass(slots=True)
class _Fault:
    error: Exception
    left: int
    after_landing: bool
    when: Callable[[Changes], bool] | None


class MockEngine:
    """Policies as text, one JSON document, a marker and the paths that agents own: all in memory.

    Stores come and go (`MockPolicyStore(engine)`), the engine stays: an agent's next life meets what the last one left.
    What a test asks of it (`get`, `fail_next`, `go_down`, ...) is synchronous and works at any time.

    Args:
        latency_s: seconds that a commit takes; half of them pass before it lands, half after.
        history: how many `commits` are remembered.

    Attributes:
        latency_s: as above, to be changed at will.
        blames: whether a refusal says which change is to blame; without, the core has to find out.
        reject_policy: takes the id and the source of a policy, returns why the engine refuses it, or None.
        reject_data: takes a change of data, returns why the engine refuses it, or None.
        commits: the last commits that reached the engine, oldest first.
        revision: how many commits have landed; their version token.
        restart_token: what `SupportsRestartToken` shows; another one after `lose_state`.
    """

    def __init__(self, *, latency_s: float = 0.0, history: int = 1000) -> None:
        self.latency_s = latency_s
        self.blames = True
        self.reject_policy: Callable[[str, str], str | None] | None = None
        self.reject_data: Callable[[Change], str | None] | None = None
        self.commits: deque[Commit] = deque(maxlen=history)
        self.revision = 0
        self._contents = Contents()
        self._lives = count(1)
        self.restart_token = f"mock-{next(self._lives)}"
        self._faults: list[_Fault] = []
        self._down = False
        self._resumed: anyio.Event | None = None

    # ------------------------------------------------------------------------------------ what a test looks at

    @property
    def policies(self) -> dict[str, str]:
        """A copy of the policies: source by id."""
        return dict(self._contents.policies)

    @property
    def documents(self) -> dict[str, JsonValue]:
        """A copy of all data but `/system`, as plain Python values."""
        return self.get(ROOT)

    @property
    def marker(self) -> Marker | None:
        """What the last guarded commit left."""
        return self._contents.marker

    @property
    def owned_paths(self) -> tuple[DocumentPath, ...]:
        """The paths that agents claimed, in order of their claims."""
        return tuple(self._contents.owned)

    def get(self, path: str | DocumentPath, default: JsonValue = None) -> JsonValue:
        """Return a copy of the document at `path` as plain Python values, `default` if there is nothing.

        Numbers are `int` or `decimal.Decimal`, exactly as they were written. The root comes without `/system`.
        """
        raw = self.raw(path if isinstance(path, DocumentPath) else DocumentPath.parse(path))
        return default if raw is None else json_values.decode(raw)

    def raw(self, path: DocumentPath) -> bytes | None:
        """Return the JSON at `path`, None if there is nothing. The root comes without `/system`."""
        documents = self._contents.documents
        value = documents.get(path) if path else documents.public()
        return None if value is MISSING else json_values.encode(value)

    # -------------------------------------------------------------------------------------- what a test breaks

    def fail_next(
        self,
        error: Exception | None = None,
        *,
        n: int = 1,
        after_landing: bool = False,
        when: Callable[[Changes], bool] | None = None,
    ) -> None:
        """Let the next `n` commits fail.

        Args:
            error: a `StoreRejectedError` refuses the commit, anything else is raised; by default the engine is
                unavailable.
            n: how many commits fail.
            after_landing: the commit lands and its answer is lost: every outcome is `Unknown(error)`.
            when: only commits for which this is true count and fail; by default all.
        """
        if error is None:
            error = StoreUnavailableError("the mock engine was told to fail")
        self._faults.append(_Fault(error, n, after_landing, when))

    def go_down(self) -> None:
        """Answer nothing but `StoreUnavailableError` until `come_up`; what the engine holds stays."""
        self._down = True

    def hang(self) -> None:
        """Let every call wait for an answer until `come_up`; commits that still wait then land."""
        if self._resumed is None:
            self._resumed = anyio.Event()

    def come_up(self) -> None:
        """Answer again, after `go_down` and after `hang`."""
        self._down = False
        if self._resumed is not None:
            self._resumed.set()
            self._resumed = None

    def lose_state(self) -> None:
        """Restart with nothing: no data, policies, marker or owned paths, and another restart token."""
        self._contents = Contents()
        self.restart_token = f"mock-{next(self._lives)}"

    def wipe(self, document: dict[str, JsonValue] | None = None) -> None:
        """Let someone else replace all data by `document`, the agent's state included, as `PUT /v1/data` does in OPA.

        Marker and owned paths are gone with it; the policies and the restart token stay.
        """
        policies = self._contents.policies
        self._contents = Contents()
        self._contents.policies = policies
        self._contents.documents.reset(json_values.decode(json_values.encode(document or {})))

    # ---------------------------------------------------------------------------------- what a store asks of it

    async def answer(self) -> None:
        """Return if the engine answers, waiting while it hangs.

        Raises:
            StoreUnavailableError: it is down.
        """
        while self._resumed is not None:
            await self._resumed.wait()
        if self._down:
            raise StoreUnavailableError("the mock engine is down")

    async def commit(self, changes: Changes) -> CommitResult:
        """Write `changes`, all or nothing; see `PolicyStore.commit`."""
        await anyio.sleep(self.latency_s / 2)
        await self.answer()
        record = Commit(changes)
        self.commits.append(record)
        fault = self._next_fault(changes)
        blame: Blame | None = None
        if fault is not None and not fault.after_landing:
            record.error = fault.error
        else:
            record.error, blame = self._land(changes)
            record.landed = record.error is None
        if isinstance(record.error, StoreRejectedError):
            return CommitResult.refused(changes, record.error, blame=blame)
        if record.error is not None:
            raise record.error
        version = str(self.revision)
        record.error = await self._lost_answer(fault)
        if record.error is not None:
            return CommitResult.unknown(changes, record.error)
        return CommitResult.applied(changes, version=version)

    def _next_fault(self, changes: Changes) -> _Fault | None:
        for fault in self._faults:
            if fault.when is None or fault.when(changes):
                fault.left -= 1
                if fault.left <= 0:
                    self._faults.remove(fault)
                return fault
        return None

    def _land(self, changes: Changes) -> tuple[PolicyStoreError | None, Blame | None]:
        """Do everything or nothing, with no other task in between."""
        vetoed = self.reject_policy is not None or self.reject_data is not None
        try:
            self._contents.write(changes, self._veto if vetoed else None)
        except CommitRefused as err:
            return err.error, err.blame if self.blames else None
        except StateLostError as err:
            return err, None
        self.revision += 1
        return None, None

    def _veto(self, change: Change) -> None:
        if isinstance(change, DataChange):
            reason = None if self.reject_data is None else self.reject_data(change)
            if reason is not None:
                raise StoreRejectedError(f"{change.path}: {reason}", path=str(change.path))
        elif self.reject_policy is not None and not isinstance(change, DeletePolicy):
            policies = {change.id: change.source} if isinstance(change, SetPolicy) else change.policies
            for policy_id, source in policies.items():
                if (reason := self.reject_policy(policy_id, source)) is not None:
                    raise StoreRejectedError(f"policy {policy_id}: {reason}", path=policy_id)

    async def _lost_answer(self, fault: _Fault | None) -> Exception | None:
        """Spend the second half of the latency; return why the answer does not arrive, if so."""
        if self.latency_s:
            life = self.restart_token
            await anyio.sleep(self.latency_s / 2)
            while self._resumed is not None:
                await self._resumed.wait()
            if self._down or life != self.restart_token:
                return StoreUnavailableError("the mock engine went down before it answered")
        return None if fault is None else fault.error
