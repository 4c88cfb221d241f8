"""The SQLite store keeps the contract of policy stores."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from cabochon_sqlite_store import SqliteSettings, SqliteStore, open_store

from cabochon.contract.policy_store import PolicyStore
from cabochon.testing.policy_store_contract import DocumentStoreContract


class TestSqliteStore(DocumentStoreContract):
    missing_powers = frozenset({"export", "json_patch", "ownership", "restart_token", "validation"})

    @pytest.fixture
    def settings(self, tmp_path: Path) -> SqliteSettings:
        return SqliteSettings.model_validate({"OPAL_SQLITE_STORE_PATH": str(tmp_path / "engine.sqlite")})

    @pytest.fixture
    async def store(self, settings: SqliteSettings) -> AsyncGenerator[PolicyStore]:
        async with open_store(settings) as store:
            yield store

    @pytest.fixture
    def open_again(self, settings: SqliteSettings) -> Callable[[], AbstractAsyncContextManager[PolicyStore]]:
        return lambda: open_store(settings)

    @pytest.fixture
    def unreachable_store(self, tmp_path: Path) -> PolicyStore:
        return SqliteStore(str(tmp_path / "no such folder" / "engine.sqlite"))
