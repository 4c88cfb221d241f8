"""The main job on real input: the ISO databases of PyPI's pycountry, over real HTTP, into the mock store."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pycountry
import pytest

from cabochon import Plugins, hookimpl
from cabochon.agent.opening import open_agent
from cabochon.contract.tracing import Tracer, UpdateTrace
from cabochon.kit.base_data_source import BaseDataSource, parse_data_sources
from cabochon.settings.core import CoreSettings
from cabochon.testing.http_server import Answer, RecordedRequest, ScriptedHttpServer
from cabochon_mock_store import MockEngine, mock_store_type

DATABASES = sorted(Path(pycountry.DATABASE_DIR).glob("*.json"))


def _serve(server: ScriptedHttpServer, file: Path) -> str:
    """Serve a file with its ETag, gzipped where the client takes that, behind a redirect; return the first URL."""
    content = file.read_bytes()
    etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    zipped = gzip.compress(content)

    def answer(request: RecordedRequest) -> Answer:
        if request.headers.get("if-none-match") == etag:
            return Answer(status=304, headers={"ETag": etag})
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Answer(body=zipped, headers={"ETag": etag, "Content-Encoding": "gzip"})
        return Answer(body=content, headers={"ETag": etag})

    url = server.route(f"/files/{file.name}", answer)
    return server.route(f"/latest/{file.name}", status=302, headers={"Location": url})


@pytest.fixture
def anyio_backend() -> str:
    """The fetcher `http` runs on asyncio alone (docs/decisions/0009)."""
    return "asyncio"


@pytest.fixture
def server() -> Iterator[ScriptedHttpServer]:
    """A plain HTTP server with the databases on it."""
    with ScriptedHttpServer() as running:
        for file in DATABASES:
            _serve(running, file)
        yield running


def _sources(server: ScriptedHttpServer) -> str:
    entries = [{"url": f"{server.url}/latest/{file.name}", "dst_path": f"/iso/{file.stem}"} for file in DATABASES]
    return json.dumps({"config": {"entries": entries}})


class _Store:
    """The mock store on an engine that the test holds."""

    def __init__(self, engine: MockEngine) -> None:
        self._engine = engine

    @hookimpl
    def cabochon_policy_stores(self) -> list[object]:
        return [mock_store_type(self._engine)]


class _Ends(Tracer):
    """Keeps how each update has ended."""

    def __init__(self) -> None:
        self.errors: list[str] = []

    def update_ended(self, trace: UpdateTrace) -> None:
        self.errors.append(trace.error)


async def test_iso_databases_arrive_as_they_are(server: ScriptedHttpServer) -> None:
    """
    10,000 records and more in every script, fetched gzipped through a redirect, are in the store as in the files.
    """
    import cabochon_http_fetcher.plugin as http_fetcher  # noqa: PLC0415

    engine = MockEngine()
    plugins = Plugins.of(("store", _Store(engine)), ("http-fetcher", http_fetcher))
    settings = CoreSettings.model_validate({"policy_store_type": "MOCK", "policy_updater_enabled": False})
    source = BaseDataSource(parse_data_sources(_sources(server), where="test"))
    async with open_agent(plugins, settings, source=source, environ={}) as agent:
        ends = _Ends()
        with agent.context.traces.sent_to(ends):
            await agent.run_until_source_ends()
        assert agent.pipeline.log.ready
        assert agent.pipeline.log.healthy

    assert [""] * len(DATABASES) == ends.errors
    stored = engine.get("/iso")
    assert {file.stem: json.loads(file.read_bytes()) for file in DATABASES} == stored
    assert 10_000 < sum(len(rows) for document in stored.values() for rows in document.values())
    assert {"gzip"} <= set(server.requests_to(f"/files/{DATABASES[0].name}")[0].headers["accept-encoding"].split(", "))


def test_sync_loads_the_iso_databases_from_the_command_line(server: ScriptedHttpServer) -> None:
    """
    `cabochon sync` says of each database that it was fetched and saved, with its size, and exits with 0.
    """
    command = [sys.executable, "-m", "cabochon", "sync", "--store", "MOCK", "--json", "--sources", _sources(server)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert (0, "") == (done.returncode, done.stderr)
    report = json.loads(done.stdout)
    assert report["ok"] is True
    sizes = {f"/iso/{file.stem}": file.stat().st_size for file in DATABASES}
    assert set(sizes) == {entry["dst_path"] for entry in report["entries"] if entry["fetched"] and entry["saved"]}
    for entry in report["entries"]:
        assert 0 <= sizes[entry["dst_path"]] - entry["bytes"] <= 1, "all but a line's end must have come"


def test_sync_fails_if_one_source_does(server: ScriptedHttpServer) -> None:
    """
    One source that is not there makes `cabochon sync` exit with 1 and name it; the others are loaded.
    """
    sources = json.loads(_sources(server))
    sources["config"]["entries"].append({"url": f"{server.url}/missing.json", "dst_path": "/missing"})
    command = [sys.executable, "-m", "cabochon", "sync", "--store", "MOCK", "--sources", json.dumps(sources)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert 1 == done.returncode
    assert f"/missing: GET {server.url}/missing.json was answered with 404" in done.stdout
    assert all(entry["url"] in done.stdout for entry in sources["config"]["entries"]), "the table must not cut URLs"
    assert f"{len(DATABASES)} of {len(DATABASES) + 1} entries saved" in done.stdout
