"""`cabochon demo`: it keeps its promises, says so in every form, and notices when one is broken."""

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

import pytest

from cabochon import (
    Changes,
    CommitResult,
    DocumentPath,
    Plugins,
    PolicyStore,
    PolicyStoreType,
    StoreTraits,
    StoreUnavailableError,
    TransactionListenerType,
    Write,
    hookimpl,
)
from cabochon_demo.board import Board
from cabochon_demo.run import Outcome, UnsuitableStoreError, run_demo
from cabochon_demo.show import PlainShow, Show
from cabochon_demo.story import STORY
from cabochon_demo.summary import as_json
from cabochon_mock_store.engine import MockEngine
from cabochon_mock_store.listener import open_mock_health
from cabochon_mock_store.store import MockPolicyStore

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The fetcher `http` runs on asyncio alone (docs/decisions/0009)."""
    return "asyncio"


class Offered:
    """A plugin with one store, and the health document in it."""

    def __init__(self, store: Callable[[], PolicyStore]) -> None:
        self._store = store

    @hookimpl
    def cabochon_policy_stores(self) -> list[PolicyStoreType]:
        @asynccontextmanager
        async def open_store(_: object) -> AsyncGenerator[PolicyStore]:
            yield self._store()

        return [PolicyStoreType(name="odd", summary="A store of a test's", open=open_store)]

    @hookimpl
    def cabochon_transaction_listeners(self) -> list[TransactionListenerType]:
        return [
            TransactionListenerType(name="odd-health", summary="Its health", open=open_mock_health, stores=("odd",))
        ]


async def play(store: Callable[[], PolicyStore], show_on: Callable[[Board], Show] = Show) -> Outcome:
    """Play the story with this store and the plugins that the demo depends on."""
    plugins = Plugins.of(
        ("callbacks", import_module("cabochon_callbacks.plugin")),
        ("http-fetcher", import_module("cabochon_http_fetcher.plugin")),
        ("odd", Offered(store)),
    )
    return await run_demo(plugins, show_on, store="odd", environ={}, fast=True)


def broken(outcome: Outcome) -> list[str]:
    return [promise.text for step in outcome.board.steps for promise in step.promises if not promise.held]


# ------------------------------------------------------------------------------------------------- the promises


async def test_every_promise_is_kept() -> None:
    """With a store that keeps its contract, on each event loop."""
    outcome = await play(lambda: MockPolicyStore(MockEngine()))

    assert [] == broken(outcome)
    assert outcome.board.held
    assert len(STORY) == len(outcome.board.steps)
    assert outcome.document["ready"]
    assert outcome.document["healthy"]
    assert outcome.document["in_sync"]
    assert "last_data_transaction" in outcome.document


class ForgetsPolicies(MockPolicyStore):
    """Takes policies without keeping them."""

    async def commit(self, changes: Changes) -> CommitResult:
        if changes.guard is None:
            return CommitResult.applied(changes)
        return await super().commit(changes)


class AppliesPatchesInPart(MockPolicyStore):
    """Shows one entry of an update some time before the others."""

    async def commit(self, changes: Changes) -> CommitResult:
        for write in changes.writes:
            if write.transaction_id == "robot":
                first = Write(write.transaction_id, write.changes[:1])
                await self.engine.commit(Changes((first,)))
                # Long enough that someone who looks again and again does so in between.
                for _ in range(20):
                    await self.engine.commit(Changes(()))
        return await super().commit(changes)


class LosesOneWrite(MockPolicyStore):
    """Says that it has written what it has not."""

    async def commit(self, changes: Changes) -> CommitResult:
        writes = tuple(
            Write(write.transaction_id, ()) if write.transaction_id == "revoke" else write for write in changes.writes
        )
        await super().commit(Changes(writes, changes.state, changes.guard, changes.claims, changes.releases))
        return CommitResult.applied(changes)


@pytest.mark.parametrize(
    ("store", "promise"),
    [
        (ForgetsPolicies, "the store holds exactly what the sources serve"),
        (AppliesPatchesInPart, "nobody saw one of them without the others"),
        (LosesOneWrite, "a hung source does not delay a revocation"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
async def test_broken_promise_shows(store: type[MockPolicyStore], promise: str) -> None:
    """A store that cheats is found out: the demo looks into the engine, it does not believe."""
    outcome = await play(lambda: store(MockEngine()))

    assert promise in broken(outcome)
    assert not outcome.board.held
    assert json.loads(as_json(outcome))["held"] is False


class CannotBeReadOnce(MockPolicyStore):
    """Does not answer one question."""

    async def get_data(self, path: DocumentPath) -> bytes | None:
        if path == ("resources", "report-kestrel"):
            raise StoreUnavailableError("no answer")
        return await super().get_data(path)


async def test_step_that_can_not_be_played_is_a_broken_promise() -> None:
    """The demo comes to its end whatever happens, and says which step was not played."""
    outcome = await play(lambda: CannotBeReadOnce(MockEngine()))

    assert "this step can be played to its end" in broken(outcome)
    assert ["A source fails and recovers"] == [step.title for step in outcome.board.steps if not step.held][:1]
    assert all(step.state == "done" for step in outcome.board.steps)


class HoldsFacts(PolicyStore):
    """No document store."""

    traits = StoreTraits(policy_unit="none", data_unit="facts", atomic="commit")

    async def commit(self, changes: Changes) -> CommitResult:
        return CommitResult.applied(changes)

    async def health(self) -> None:
        pass


class HoldsItsTongue(HoldsFacts):
    """A document store that can't be read."""

    traits = StoreTraits(policy_unit="files", data_unit="documents", atomic="commit")


class TakesNoPolicies(HoldsFacts):
    """Data only."""

    traits = StoreTraits(policy_unit="none", data_unit="documents", atomic="commit")


@pytest.mark.parametrize(
    ("store", "why"),
    [(HoldsFacts, "no JSON documents"), (HoldsItsTongue, "can't be read back"), (TakesNoPolicies, "no policies")],
)
async def test_unsuitable_store_is_refused_in_one_line(store: type[PolicyStore], why: str) -> None:
    """A store that the story can't be told with is refused before anything happens, with the reason."""
    with pytest.raises(UnsuitableStoreError, match=why) as caught:
        await play(store)

    assert "\n" not in str(caught.value)


async def test_engine_is_opened_twice_where_that_is_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores that share an engine are wiped as another process would do it, not through the agent's own."""
    engine = MockEngine()
    opened: list[MockPolicyStore] = []
    wiped: list[object] = []

    def open_one() -> MockPolicyStore:
        opened.append(MockPolicyStore(engine))
        return opened[-1]

    disasters = import_module("cabochon_demo.disasters")
    wipe = disasters.wipe

    async def spied(stranger: Any) -> None:  # noqa: ANN401 - a store
        wiped.append(stranger)
        await wipe(stranger)

    monkeypatch.setattr(disasters, "wipe", spied)

    assert (await play(open_one)).board.held
    assert [opened[1]] == wiped


# --------------------------------------------------------------------------------------------------- how it is shown


async def test_plain_lines_tell_the_story(capsys: pytest.CaptureFixture[str]) -> None:
    """Steps, transactions, callbacks and verdicts are lines, in the order in which they happened."""
    await play(lambda: MockPolicyStore(MockEngine()), PlainShow)

    out = capsys.readouterr().out
    assert all(f"{number}/{len(STORY)} {title}" in out for number, (title, _) in enumerate(STORY, start=1))
    assert "transaction 7 live promote-again: PATCH /users/zoe.lindqvist: failed" in out
    assert "callback audit: report on declassify: 503 refused" in out
    assert out.index("declassify: 503 refused") < out.index("declassify: 204 taken", out.index("503 refused"))
    assert "BROKEN" not in out
