"""The update source `opal` follows the real peer's server."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TypeVar, cast

import anyio
import pytest

from cabochon import (
    Connected,
    DataUpdateReceived,
    Disconnected,
    PolicyChanged,
    SourceError,
    SourceEvent,
    UpdateSource,
    load_settings,
)
from cabochon.testing.http_server import ScriptedHttpServer
from cabochon_opal_source.settings import OpalSourceSettings
from cabochon_opal_source.source import OpalUpdateSource

from .peer_server import PeerServer, PolicyRepository

pytestmark = [pytest.mark.network, pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("peer")]

WITHIN_S = 60.0
FILES: dict[str, str | None] = {
    "app/rbac.rego": "package app.rbac\n",
    "app/data.json": '{"k": 1}',
    "lib/strings.rego": "package lib.strings\n",
}

T = TypeVar("T", bound=SourceEvent)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """The server lives as long as the module: one backend is enough to see that both sides understand each other."""
    return "asyncio"


@pytest.fixture(scope="module")
def external() -> Iterator[ScriptedHttpServer]:
    with ScriptedHttpServer() as server:
        yield server


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> PolicyRepository:
    repository = PolicyRepository(tmp_path_factory.mktemp("policies") / "repository")
    repository.commit(FILES)
    return repository


@pytest.fixture(scope="module")
async def server(
    peer_python: Path,
    repository: PolicyRepository,
    external: ScriptedHttpServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[PeerServer]:
    sources = json.dumps({"external_source_url": external.route("/sources", json={"entries": []})})
    home = tmp_path_factory.mktemp("peer") / "home"
    with PeerServer(peer_python, home, repository, DATA_CONFIG_SOURCES=sources, STATISTICS_ENABLED=True) as server:
        await server.start()
        yield server


def settings(server: PeerServer, **more: str) -> OpalSourceSettings:
    return load_settings(OpalSourceSettings, {"OPAL_SERVER_URL": server.url, **more})


@asynccontextmanager
async def following(server: PeerServer, **more: str) -> AsyncGenerator[tuple[UpdateSource, AsyncIterator[SourceEvent]]]:
    """Open the source, connect, and disconnect at the end."""
    async with (
        OpalUpdateSource.open(settings(server, **more)) as source,
        aclosing(cast("AsyncGenerator[SourceEvent]", source.events())) as events,
    ):
        assert Connected() == await next_of(Connected, events)
        yield source, events


async def next_of(kind: type[T], events: AsyncIterator[SourceEvent]) -> T:
    with anyio.fail_after(WITHIN_S):
        while not isinstance(event := await anext(events), kind):
            pass
    return event


async def bundle_within(source: UpdateSource, base_hash: str | None, wanted: str) -> Sequence[str]:
    """Ask until the server has pulled a commit; the paths of the modules in its answer."""
    with anyio.fail_after(WITHIN_S):
        while True:
            bundle = await source.policy_bundle(base_hash, ())
            if bundle is not None and bundle.hash == wanted:
                assert bundle.old_hash == base_hash
                return [module.path for module in bundle.policy_modules]
            await anyio.sleep(0.1)


async def test_published_update_arrives(server: PeerServer) -> None:
    """
    What is posted to the server comes as it was posted, on each of the agent's topics and for no other.
    """
    data = {"digits": 3, "name": "J\u00f6rg", "nothing": None}
    async with following(server, OPAL_DATA_TOPICS="policy_data/users") as (source, events):
        await server.publish({"url": "", "topics": ["other"], "dst_path": "/other", "data": {}})
        await server.publish({"url": "", "topics": ["policy_data/users/ann"], "dst_path": "/ann", "data": data})

        received = await next_of(DataUpdateReceived, events)

    (entry,) = received.update.entries
    assert received.topic == "policy_data/users"
    assert ("/ann", data) == (entry.dst_path, json.loads(entry.inline or b""))
    assert not set(source.topics).isdisjoint(entry.topics)


async def test_many_updates_arrive_in_order(server: PeerServer) -> None:
    """
    The server waits for the answer to each: a hundred come, in order.
    """
    async with following(server) as (_source, events):
        for number in range(100):
            await server.publish({"url": "", "dst_path": f"/n/{number}", "data": {"n": number}})

        paths = [(await next_of(DataUpdateReceived, events)).update.entries[0].dst_path for _ in range(100)]

    assert [f"/n/{number}" for number in range(100)] == paths


async def test_large_update_arrives(server: PeerServer) -> None:
    """
    An inline document of 5 MB comes, which the peer's own client can't take.
    """
    text = "x" * 5_000_000
    async with following(server) as (_source, events):
        await server.publish({"url": "", "dst_path": "/large", "data": {"text": text}})

        received = await next_of(DataUpdateReceived, events)

    assert {"text": text} == json.loads(received.update.entries[0].inline or b"")


async def test_policies_full_and_changed(server: PeerServer, repository: PolicyRepository) -> None:
    """
    A bundle without a base is whole; a commit is announced, and the next bundle is the difference to the first.
    """
    async with following(server, OPAL_POLICY_SUBSCRIPTION_DIRS="app") as (source, events):
        first = await source.policy_bundle(None, ())
        assert first is not None
        repository.commit({"lib/strings.rego": "package lib.strings\n\nchanged = true\n"})
        changed = repository.commit({"app/added.rego": "package app.added\n"})

        announced = await next_of(PolicyChanged, events)
        while announced.new_hash != changed:
            announced = await next_of(PolicyChanged, events)
        difference = await bundle_within(source, first.hash, changed)

    assert ["app/rbac.rego"] == [module.path for module in first.policy_modules]
    assert ["app"] == [module.path for module in first.data_modules]
    assert announced.directories == ("app",)
    assert ["app/added.rego"] == difference


async def test_unknown_base_gives_everything(server: PeerServer) -> None:
    """
    The peer breaks on the hash of no commit (500): it is asked again without one.
    """
    async with OpalUpdateSource.open(settings(server)) as source:
        bundle = await source.policy_bundle("0" * 40, ())

    assert bundle is not None
    assert bundle.old_hash is None


async def test_unknown_directory_is_an_error(server: PeerServer) -> None:
    """
    A directory that is not there is an error that says so, at once.
    """
    async with OpalUpdateSource.open(settings(server, OPAL_POLICY_SUBSCRIPTION_DIRS="missing")) as source:
        with pytest.raises(SourceError, match="/policy answered with 404"):
            await source.policy_bundle(None, ())


async def test_base_data_is_where_the_server_redirects(server: PeerServer, external: ScriptedHttpServer) -> None:
    """
    `external_source_url`: the server puts the token into the URL, and the header does not go there.
    """
    entry = {"url": "http://data.example/users", "dst_path": "/users"}
    external.route("/sources", json={"entries": [entry]})
    async with OpalUpdateSource.open(settings(server, OPAL_CLIENT_TOKEN="abcdefghijklmnop")) as source:
        sources = await source.data_sources()

    asked = external.requests_to("/sources")[-1]
    assert ["/users"] == [entry.dst_path for entry in sources.entries]
    assert asked.query == "token=abcdefghijklmnop"
    assert "authorization" not in asked.headers


async def until_listed(server: PeerServer, *, listed: bool) -> None:
    with anyio.fail_after(WITHIN_S):
        while ("agent-7" in await server.statistics()) is not listed:  # noqa: ASYNC110 # a process of its own
            await anyio.sleep(0.05)


async def test_statistics_know_the_agent(server: PeerServer) -> None:
    """
    With statistics on, the server lists the agent under its name, and forgets it once it is gone.
    """
    told = {"OPAL_STATISTICS_ENABLED": "true", "OPAL_OPAL_CLIENT_STAT_ID": "agent-7"}
    async with following(server, **told):
        await until_listed(server, listed=True)
    await until_listed(server, listed=False)


async def test_server_that_comes_back_is_followed(server: PeerServer) -> None:
    """
    The source says that a killed server is gone, and follows it again once it is back.
    """
    async with following(server) as (_source, events):
        server.kill()
        await next_of(Disconnected, events)
        await server.start()
        await next_of(Connected, events)
        await server.publish({"url": "", "dst_path": "/again", "data": {"n": 1}})

        received = await next_of(DataUpdateReceived, events)

    assert received.update.entries[0].dst_path == "/again"
