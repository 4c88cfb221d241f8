"""An agent in a process of its own, for tests that kill it: `agent_with_backup.py flooding|silent OPA_URL BACKUP`.

Flooded, it is given hundreds of updates a second. Silent, its source can't be reached until a line comes on standard
input; then it has a newer document, and none of the grants.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any

import anyio
import msgspec

import cabochon_opa.plugin as opa_plugin
from cabochon import Connected, DataUpdateReceived, Plugins, SourceError, SourceEvent, UpdateSource
from cabochon.agent.opening import open_agent
from cabochon.logs.setup import configure_logging
from cabochon.schemas import DataSourceConfig, DataUpdate, PolicyBundle, RegoModule
from cabochon.settings.core import CoreSettings, LogSettings

_PAUSE_S = 0.001


class Flood(UpdateSource):
    """Grant after grant, and a pair of documents that belong together."""

    async def events(self) -> AsyncIterator[SourceEvent]:
        yield Connected()
        number = 0
        while True:
            number += 1
            entries = [_entry(f"/pair/{side}", {"n": number}) for side in ("left", "right")]
            if number % 5 == 0:
                entries.append(_entry(f"/grants/u{number % 200}", {"n": number}))
            yield DataUpdateReceived(_made({"id": str(number), "entries": entries}, DataUpdate))
            # Not all at once: a kill is to find many small commits, and backups between them.
            await anyio.sleep(_PAUSE_S)

    async def data_sources(self) -> DataSourceConfig:
        return _made({"entries": [_entry("/base", {"v": 1})]}, DataSourceConfig)

    async def policy_bundle(self, base_hash: str | None, directories: Sequence[str]) -> PolicyBundle | None:
        del base_hash, directories
        return _bundle(1)


class Silence(UpdateSource):
    """Out of reach until it is told to connect."""

    def __init__(self) -> None:
        self.connected = False

    async def events(self) -> AsyncIterator[SourceEvent]:
        await anyio.to_thread.run_sync(sys.stdin.readline)
        self.connected = True
        yield Connected()
        await anyio.sleep_forever()

    async def data_sources(self) -> DataSourceConfig:
        if not self.connected:
            raise SourceError("out of reach")
        return _made({"entries": [_entry("/base", {"v": 2})]}, DataSourceConfig)

    async def policy_bundle(self, base_hash: str | None, directories: Sequence[str]) -> PolicyBundle | None:
        del base_hash, directories
        if not self.connected:
            raise SourceError("out of reach")
        return _bundle(2)


def _entry(path: str, data: object) -> dict[str, Any]:
    return {"url": "", "dst_path": path, "data": data}


def _made(document: dict[str, Any], kind: Any) -> Any:  # noqa: ANN401 - a wire model and one of it
    return msgspec.json.decode(msgspec.json.encode(document), type=kind)


def _bundle(version: int) -> PolicyBundle:
    module = RegoModule(path="app.rego", package_name="app", rego=f"package app\n\nversion := {version}\n")
    return PolicyBundle(manifest=("app.rego",), hash=str(version), data_modules=(), policy_modules=(module,))


async def main(how: str, url: str, backup: str) -> None:
    settings = CoreSettings.model_validate(
        {
            "policy_store_type": "OPA",
            "offline_mode_enabled": True,
            "store_backup_path": backup,
            "store_backup_interval": 0.05,
        }
    )
    environ = {
        "OPAL_POLICY_STORE_URL": url,
        "OPAL_OPA_HEALTH_CHECK_POLICY_ENABLED": "true",
        "OPAL_INLINE_OPA_ENABLED": "false",
    }
    source = Flood() if how == "flooding" else Silence()
    async with open_agent(Plugins.of(("opa", opa_plugin)), settings, environ=environ, source=source) as agent:
        await agent.run()


if __name__ == "__main__":
    # The test reads in the log when a backup was written.
    configure_logging(LogSettings.model_validate({"log_level": "DEBUG"}))
    anyio.run(main, sys.argv[1], sys.argv[2], sys.argv[3])
