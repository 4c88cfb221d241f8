"""What plugin authors may import from `cabochon`, and what importing it costs."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import cabochon
from cabochon import errors
from cabochon.contract import backbone, policy_store, update_source

SOURCE = ast.parse(Path(inspect.getfile(cabochon)).read_text())


def names_for_type_checkers() -> set[str]:
    return {alias.name for node in ast.walk(SOURCE) if isinstance(node, ast.ImportFrom) for alias in node.names}


@pytest.mark.parametrize("name", cabochon.__all__)
def test_public_name_can_be_imported(name: str) -> None:
    """
    Every name of `__all__` is there.
    """
    assert getattr(cabochon, name) is not None


def test_public_names_are_the_same_for_people_and_for_type_checkers() -> None:
    """
    `__all__`, `dir` and what type checkers read agree.
    """
    assert set(cabochon.__all__) <= names_for_type_checkers() | {"__version__"}
    assert sorted(cabochon.__all__) == dir(cabochon)


def test_contract_is_exported_whole() -> None:
    """
    Nothing that a store, a source or an error handler needs is left out.
    """
    exported = set(cabochon.__all__)

    assert set(backbone.__all__) <= exported
    assert set(errors.__all__) <= exported
    assert set(policy_store.__all__) <= exported
    assert set(update_source.__all__) <= exported
    assert {"hookimpl", "DocumentPath", "Settings", "load_settings", "Plugins"} <= exported
    assert {name for name in exported if name.endswith("Type")} == {
        "BackboneType",
        "CallbackReporterType",
        "CommandType",
        "FetcherType",
        "HttpRoutesType",
        "PolicyStoreType",
        "ServiceType",
        "TransactionListenerType",
        "UpdateSourceType",
    }


def test_unknown_name_is_an_attribute_error() -> None:
    """
    As from any module.
    """
    with pytest.raises(AttributeError, match="module 'cabochon' has no attribute 'Nothing'"):
        _ = cabochon.Nothing  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]


HEAVY = ["anyio", "asyncio", "click", "httpx", "pluggy", "pydantic", "pydantic_settings", "rich", "structlog"]


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("import cabochon", [*HEAVY, "msgspec"]),
        ("from cabochon import PolicyStore, PolicyStoreType, SetData, Applied", HEAVY),
        ("from cabochon import Fetcher, FetcherType, FetchError", [*HEAVY, "msgspec"]),
        ("from cabochon import UpdateSource, UpdateSourceType, TransactionListener, TransactionListenerType", HEAVY),
        ("from cabochon import CallbackReporter, CallbackReporterType, Backbone, BackboneType", HEAVY),
        ("from cabochon import AgentContext, CommandType, HttpRoutesType, ServiceType", [*HEAVY, "msgspec"]),
        ("import cabochon.cli.main", ["pydantic", "structlog", "rich", "msgspec", "pluggy"]),
    ],
)
def test_import_is_cheap(statement: str, heavy: list[str]) -> None:
    """
    `cabochon --version`, a shell's completion, and whoever needs a type of the contract, wait for nothing heavy.
    """
    code = f"import sys; {statement}; print([name for name in {heavy!r} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "[]\n" == done.stdout
