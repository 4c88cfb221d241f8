"""The contract of policy stores notices every broken promise."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from cabochon.contract.policy_store import PolicyStore
from cabochon.testing.policy_store_contract import DocumentStoreContract

from . import broken_commits, broken_documents
from .broken_stores import BROKEN, Case
from .reference_store import Engine, ReferenceStore

assert broken_commits.BROKEN is broken_documents.BROKEN is BROKEN  # importing the modules fills the list


class TestReferenceStore(DocumentStoreContract):
    """A store that is plainly right keeps the whole contract, with no power missing."""

    @pytest.fixture
    def engine(self) -> Engine:
        return Engine()

    @pytest.fixture
    def store(self, engine: Engine) -> ReferenceStore:
        return ReferenceStore(engine)

    @pytest.fixture
    def open_again(self, engine: Engine) -> Callable[[], AbstractAsyncContextManager[PolicyStore]]:
        return lambda: ReferenceStore.opened(engine)

    @pytest.fixture
    def unreachable_store(self) -> ReferenceStore:
        return unreachable(ReferenceStore)


def unreachable(kind: type[ReferenceStore]) -> ReferenceStore:
    engine = Engine()
    engine.holds.up = False
    return kind(engine)


def promise(test: str) -> str:
    return " ".join((inspect.getdoc(getattr(DocumentStoreContract, test)) or "").split())


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: f"{case.kind.__name__}-{case.test}")
async def test_kit_names_the_promise_that_a_store_breaks(case: Case) -> None:
    """A store that breaks a promise fails the test of that promise, by its name."""
    engine = Engine()
    fixtures: dict[str, Any] = {
        "store": case.kind(engine),
        "open_again": lambda: case.kind.opened(engine),
        "unreachable_store": unreachable(case.kind),
    }
    test = getattr(type("TestBroken", (DocumentStoreContract,), {})(), case.test)
    wanted = [fixtures[name] for name in inspect.signature(test).parameters if name in fixtures]
    notes: list[str] = []
    try:
        await test(*wanted, *case.arguments)
    except pytest.skip.Exception:
        pytest.fail("the kit skipped the promise")
    except BaseException as err:  # noqa: BLE001 # a test may fail in any way
        notes = err.__notes__

    assert f"Broken promise: {promise(case.test)}" in notes


def test_every_promise_has_a_store_that_breaks_it() -> None:
    """No promise of the kit is untested."""
    promises = {name for name in dir(DocumentStoreContract) if name.startswith("test_")}

    assert promises == {case.test for case in BROKEN}


UNDECLARED = """
import pytest
from cabochon.transactions.commit_result import CommitResult
from cabochon.contract.policy_store import PolicyStore, StoreTraits
from cabochon.testing.policy_store_contract import PolicyStoreContract

class BareStore(PolicyStore):
    traits = StoreTraits(policy_unit="none", data_unit="facts", atomic="change")

    async def commit(self, changes):
        return CommitResult.applied(changes)

    async def health(self):
        pass

class TestBareStore(PolicyStoreContract):
    missing_powers = frozenset([MISSING])

    @pytest.fixture
    def store(self):
        return BareStore()
"""


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        (
            "",
            [
                "provide the fixture `open_again`, or declare 'reopen' in missing_powers",
                "provide the fixture `unreachable_store`, or declare 'unreachable' in missing_powers",
                "implement SupportsRestartToken or declare 'restart_token' in missing_powers",
            ],
        ),
        (
            "'restart_token', 'reopen', 'typo'",
            [
                "declared in missing_powers: restart_token",
                "declared in missing_powers: reopen",
                "missing_powers names what no store has: ['typo']",
            ],
        ),
    ],
    ids=["nothing declared", "declared"],
)
def test_what_is_missing_is_declared(declared: str, expected: list[str], tmp_path: Path) -> None:
    """What a store or its test class lacks fails by name unless it is declared, and then shows up as skipped."""
    tests = tmp_path / "test_bare_store.py"
    tests.write_text(UNDECLARED.replace("MISSING", declared))
    command = [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tests)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)

    assert [] == [message for message in expected if message not in run.stdout]
