"""The local source keeps the contract of update sources."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from cabochon import Settings, UpdateSourceType, load_settings
from cabochon.schemas import DataSourceConfig, DataSourceEntryWithPollingInterval, DataUpdate
from cabochon.testing.update_source_contract import UpdateFeed, UpdateSourceContract
from cabochon_local_source.plugin import cabochon_update_sources
from cabochon_local_source.settings import LocalSourceSettings


class Folder(UpdateFeed):
    """A file that is appended to, and a folder of policies."""

    base_data = DataSourceConfig(
        entries=(DataSourceEntryWithPollingInterval(url="http://data.example/users", dst_path="/users"),)
    )
    policies: Mapping[str, str] | None = {"authz.rego": "package authz\n", "app/rbac.rego": "package app.rbac\n"}

    def __init__(self, root: Path) -> None:
        self.file = root / "updates.jsonl"
        self.file.touch()
        self.folder = root / "policies"
        self.write(self.policies or {})

    def write(self, policies: Mapping[str, str]) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        for path, rego in policies.items():
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_text(rego)

    def append(self, line: bytes) -> None:
        with self.file.open("ab") as file:
            file.write(line + b"\n")

    async def publish(self, update: DataUpdate) -> None:
        self.append(msgspec.json.encode(update))

    async def publish_malformed(self) -> None:
        self.append(b'{"entries": "hunter2"}')

    async def change_policies(self, policies: Mapping[str, str]) -> None:
        self.write(policies)


class TestLocalSource(UpdateSourceContract):
    @pytest.fixture
    def feed(self, tmp_path: Path) -> Folder:
        return Folder(tmp_path)

    @pytest.fixture
    def source_type(self) -> UpdateSourceType:
        (offered,) = cabochon_update_sources()
        return offered

    @pytest.fixture
    def settings(self, feed: Folder) -> Settings:
        variables = {
            "OPAL_LOCAL_UPDATES": str(feed.file),
            "OPAL_LOCAL_FOLLOW": "true",
            "OPAL_LOCAL_POLICIES": str(feed.folder),
            "OPAL_DATA_CONFIG_SOURCES": msgspec.json.encode({"config": feed.base_data}).decode(),
        }
        return load_settings(LocalSourceSettings, variables)
