"""The log in SQLite keeps the contract of backbones."""

from pathlib import Path

import pytest

from cabochon import BackboneType
from cabochon.testing.backbone_contract import BackboneContract, Opened
from cabochon_opal_server.log.backbone import SQLITE
from cabochon_opal_server.log.settings import SqliteLogSettings


class TestSqliteLog(BackboneContract):
    @pytest.fixture
    def backbone_type(self) -> BackboneType:
        return SQLITE

    @pytest.fixture
    def opened(self, tmp_path: Path) -> Opened:
        settings = SqliteLogSettings(update_log_path=tmp_path / "folder" / "log.db")
        return lambda: SQLITE.open(settings, "sqlite:")
