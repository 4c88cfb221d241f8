"""The contract of stores of facts notices every broken promise."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from anyio.lowlevel import checkpoint

from cabochon.contract.policy_store import PolicyStore
from cabochon.documents.path import DocumentPath
from cabochon.errors import StoreRejectedError
from cabochon.kit.facts import Call, Facts, facts_of
from cabochon.testing.fact_store_contract import FactStoreContract
from cabochon.testing.policy_store_contract import PolicyStoreContract
from cabochon.transactions.changes import Changes, SetData
from cabochon.transactions.commit_result import CommitResult

from .reference_fact_store import REFUSED, FactEngine, ReferenceFactStore, read


class ReferenceContract(FactStoreContract):
    """What every test here has in common; no test by itself, for its name."""

    missing_powers = frozenset({"export", "json_patch", "marker", "read_back", "restart_token", "validation"})
    example_data = (
        SetData(DocumentPath(("first",)), b'["ann reads"]'),
        SetData(DocumentPath(("second",)), b'["bob reads"]'),
    )

    @pytest.fixture
    def engine(self) -> FactEngine:
        return FactEngine()

    @pytest.fixture
    def store(self, engine: FactEngine) -> ReferenceFactStore:
        return ReferenceFactStore(engine)

    @pytest.fixture
    def open_again(self, engine: FactEngine) -> Callable[[], AbstractAsyncContextManager[PolicyStore]]:
        return lambda: nullcontext(ReferenceFactStore(engine))

    @pytest.fixture
    def open_pruning(self, engine: FactEngine) -> Callable[[], AbstractAsyncContextManager[ReferenceFactStore]]:
        return lambda: ReferenceFactStore(engine, prune="all").opened()

    @pytest.fixture
    def unreachable_store(self) -> ReferenceFactStore:
        return ReferenceFactStore(FactEngine(up=False))

    def fact(self, number: int) -> object:
        return f"user{number} reads"

    def changed(self, number: int) -> object:
        return [f"user{number} reads", 1]

    def refused_fact(self) -> object:
        return REFUSED


class TestReferenceFactStore(ReferenceContract):
    """A store of facts that is plainly right keeps the whole contract."""


BROKEN: list[tuple[type[ReferenceFactStore], str]] = []


def breaks(*tests: str) -> Callable[[type[ReferenceFactStore]], type[ReferenceFactStore]]:
    """Note that these tests of the kit have to fail for the store."""

    def noted(store: type[ReferenceFactStore]) -> type[ReferenceFactStore]:
        BROKEN.extend((store, test) for test in tests)
        return store

    return noted


@breaks(
    "test_put_replaces_the_facts_of_its_path",
    "test_write_takes_away_what_paths_below_own",
    "test_fact_of_two_owners_stays",
    "test_cancelled_large_write_goes_on",
    "test_new_life_removes_what_no_path_owns",
)
class DeletesNothing(ReferenceFactStore):
    async def write_facts(self, call: Call[str, int]) -> str | None:
        return await super().write_facts(Call((), call.writes))


@breaks("test_attribute_is_changed", "test_owners_that_differ_are_refused")
class DropsAttributes(ReferenceFactStore):
    @staticmethod
    def parse(path: DocumentPath, value: bytes) -> Facts[str, int]:
        return dict.fromkeys(facts_of(path, value, read), 0)


@breaks("test_document_without_facts_is_refused", "test_wrong_element_is_refused_by_index")
class SkipsWhatItCannotRead(ReferenceFactStore):
    @staticmethod
    def parse(path: DocumentPath, value: bytes) -> Facts[str, int]:
        try:
            return facts_of(path, value, read)
        except StoreRejectedError:
            return {}


@breaks("test_call_can_be_made_again")
class RefusesWhatIsThere(ReferenceFactStore):
    async def write_facts(self, call: Call[str, int]) -> str | None:
        if self.engine.facts.keys() & call.writes.keys():
            raise StoreRejectedError("it is there already")
        return await super().write_facts(call)


@breaks("test_call_is_all_or_nothing", "test_refused_large_write_is_taken_back", "test_refused_write_harms_no_other")
class WritesHalfACall(ReferenceFactStore):
    async def write_facts(self, call: Call[str, int]) -> str | None:
        if REFUSED in call.writes:
            await super().write_facts(
                Call(call.deletes, {key: value for key, value in call.writes.items() if key != REFUSED} | {"half": 0})
            )
        return await super().write_facts(call)


@breaks("test_large_set_lands")
class ForgetsAfterEachCommit(ReferenceFactStore):
    async def commit(self, changes: Changes) -> CommitResult:
        result = await super().commit(changes)
        self.forget()
        return result


@breaks("test_small_writes_share_a_call")
class SendsOneByOne(ReferenceFactStore):
    async def commit(self, changes: Changes) -> CommitResult:
        results = [await super(SendsOneByOne, self).commit(Changes((write,))) for write in changes.writes]
        return CommitResult(tuple(outcome for result in results for outcome in result.outcomes))


@breaks("test_new_life_removes_what_no_path_owns")
class HidesWhatItFound(ReferenceFactStore):
    async def owned_paths(self) -> Sequence[DocumentPath]:
        await super().owned_paths()
        return ()


@breaks("test_put_replaces_the_facts_of_its_path")
class ReadsNothing(ReferenceFactStore):
    async def read_facts(self) -> AsyncIterator[Facts[str, int]]:
        await checkpoint()
        yield {}


def promise(test: str) -> str:
    return " ".join((inspect.getdoc(getattr(FactStoreContract, test)) or "").split())


@pytest.mark.parametrize(("kind", "test"), BROKEN, ids=lambda case: case if isinstance(case, str) else case.__name__)
async def test_kit_names_the_promise_that_a_store_of_facts_breaks(kind: type[ReferenceFactStore], test: str) -> None:
    """A store that breaks a promise fails the test of that promise, by its name."""
    engine = FactEngine()
    fixtures: dict[str, Any] = {"store": kind(engine), "open_pruning": lambda: kind(engine, prune="all").opened()}
    method = getattr(type("TestBroken", (ReferenceContract,), {})(), test)
    notes: list[str] = []
    try:
        await method(*[fixtures[name] for name in inspect.signature(method).parameters])
    except BaseException as err:  # noqa: BLE001 - a test may fail in any way
        notes = [note for error in _all(err) for note in getattr(error, "__notes__", [])]

    assert f"Broken promise: {promise(test)}" in notes


def _all(error: BaseException) -> list[BaseException]:
    group: Any = error
    inner = group.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return [error, *(one for each in inner for one in _all(each))]


def test_every_promise_of_facts_has_a_store_that_breaks_it() -> None:
    """No promise that the kit adds is untested."""
    promises = {name for name in dir(FactStoreContract) if name.startswith("test_")}

    assert promises - set(dir(PolicyStoreContract)) == {test for _, test in BROKEN}


LARGE = """
import anyio
from cabochon.documents.path import DocumentPath
from cabochon.transactions.changes import Changes, SetData, Write
from reference_fact_store import FactEngine, ReferenceFactStore

async def main():
    engine = FactEngine()
    good = b"[" + b",".join(b'"user%08d reads"' % number for number in range(60_000)) + b"]"
    for value in (good[:-1] + b",12345]", good):
        write = Write("large", (SetData(DocumentPath(("large",)), value),))
        result = await ReferenceFactStore(engine).commit(Changes((write,)))
        print(result.refusal, len(engine.facts))

if __name__ == "__main__":
    anyio.run(main)
"""


def test_large_document_is_read_in_another_process(tmp_path: Path) -> None:
    """A document of more than a megabyte is parsed off the event loop, and refused from there as from here."""
    script = tmp_path / "large.py"
    script.write_text(LARGE)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    run = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=True)

    assert [
        "/large: element 60000: a fact is a name, or a name and a number 0",
        "None 60000",
    ] == run.stdout.splitlines()
