"""An agent that keeps a real OpenFGA in sync, a source that tests feed, and questions to OpenFGA itself."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx

from cabochon import Plugins
from cabochon.agent.agent import Agent
from cabochon.agent.opening import open_agent
from cabochon.schemas import DataSourceConfig, PolicyBundle, RegoModule
from cabochon.settings.core import CoreSettings, load_settings
from cabochon.testing.in_process_source import InProcessSource
from cabochon_openfga import plugin

__all__ = ["MODEL", "PATIENCE_S", "Asker", "Rig", "bundle", "running_agent", "tuple_of"]

PATIENCE_S = 60.0

MODEL = """
model
  schema 1.1

type user

type group
  relations
    define member: [user, group#member]

type folder
  relations
    define parent: [folder]
    define owner: [user]
    define viewer: [user, user:*, group#member] or owner or viewer from parent

type document
  relations
    define parent: [folder]
    define owner: [user]
    define editor: [user, group#member, user with in_hours] or owner
    define viewer: [user, group#member with in_hours] or editor or viewer from parent

condition in_hours(hour: int, from: int, to: int) {
  hour >= from && hour < to
}
""".lstrip()

Row = tuple[str, str, str]
"""Object, relation, user."""


def bundle(files: Mapping[str, str], name: str = "1") -> PolicyBundle:
    """Make a whole bundle of these files."""
    modules = tuple(RegoModule(path=path, package_name="", rego=source) for path, source in files.items())
    return PolicyBundle(manifest=tuple(files), hash=name, data_modules=(), policy_modules=modules)


def tuple_of(user: str, relation: str, of: str, **condition: Any) -> dict[str, Any]:
    """A tuple as documents have it; `in_hours=(9, 17)` makes it one with that condition."""
    made: dict[str, Any] = {"user": user, "relation": relation, "object": of}
    for name, (begins, ends) in condition.items():
        made["condition"] = {"name": name, "context": {"from": begins, "to": ends}}
    return made


class Asker:
    """Asks OpenFGA past the agent, as an application does.

    Args:
        url: where it is.
        store_name: its store.
    """

    def __init__(self, url: str, store_name: str = "cabochon") -> None:
        self._url = url
        self._store_name = store_name
        self._client = httpx.AsyncClient(base_url=url, trust_env=False, timeout=30)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def call(self, method: str, path: str, body: object | None = None) -> Any:  # noqa: ANN401 - any JSON
        response = await self._client.request(method, path, json=body)
        assert response.is_success, response.text
        return response.json()

    async def store_ids(self) -> list[str]:
        stores = await self.call("GET", "/stores?page_size=100")
        return [store["id"] for store in stores["stores"] if store["name"] == self._store_name]

    async def in_store(self, method: str, path: str, body: object | None = None) -> Any:  # noqa: ANN401 - any JSON
        (store_id,) = await self.store_ids()
        return await self.call(method, f"/stores/{store_id}{path}", body)

    async def model_ids(self) -> list[str]:
        models = await self.in_store("GET", "/authorization-models?page_size=50")
        return [model["id"] for model in models["authorization_models"]]

    async def write(self, *rows: dict[str, Any]) -> None:
        await self.in_store("POST", "/write", {"writes": {"tuple_keys": rows}})

    async def delete(self, *rows: Row) -> None:
        keys = [{"object": of, "relation": relation, "user": user} for of, relation, user in rows]
        for start in range(0, len(keys), 100):
            await self.in_store("POST", "/write", {"deletes": {"tuple_keys": keys[start : start + 100]}})

    async def tuples(self) -> dict[Row, Any]:
        """Everything that is there, condition by tuple."""
        found: dict[Row, Any] = {}
        after = ""
        while True:
            page = await self.in_store("POST", "/read", {"page_size": 100, "continuation_token": after})
            for one in page["tuples"]:
                key = one["key"]
                found[key["object"], key["relation"], key["user"]] = key["condition"]
            after = page["continuation_token"]
            if not after:
                return found

    async def tuples_or_none(self) -> dict[Row, Any] | None:
        """The same; None while there is no store."""
        return await self.tuples() if await self.store_ids() else None

    async def check(self, user: str, relation: str, of: str, hour: int = 12) -> bool:
        """May they?"""
        body = {"tuple_key": {"user": user, "relation": relation, "object": of}, "context": {"hour": hour}}
        return (await self.in_store("POST", "/check", body))["allowed"]


class Rig:
    """A running agent, its source, and an asker."""

    def __init__(self, agent: Agent, source: InProcessSource, asker: Asker) -> None:
        self.agent = agent
        self.source = source
        self.asker = asker
        self._numbers = itertools.count(1)

    @property
    def log(self) -> Any:  # noqa: ANN401 - core's own type
        return self.agent.pipeline.log_now()

    async def until(self, wanted: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
        """Wait for something that the agent is about to do."""
        with anyio.fail_after(patience_s):
            while not wanted():  # noqa: ASYNC110 - there is no event for it
                await anyio.sleep(0.005)

    async def publish(self, path: str, data: Any, method: str = "PUT") -> str | None:  # noqa: ANN401 - any JSON
        """Publish one update, and return with its error once it has ended."""
        ended = len(self.source.ends)
        await self.put(path, data, method)
        await self.until(lambda: len(self.source.ends) > ended)
        return self.source.ends[-1][1]

    async def put(self, path: str, data: Any, method: str = "PUT") -> None:  # noqa: ANN401 - any JSON
        """Publish one update and do not wait for it."""
        entry = {"url": "", "dst_path": path, "save_method": method, "data": data}
        await self.source.publish({"id": f"u{next(self._numbers)}", "entries": [entry]})


@asynccontextmanager
async def running_agent(
    url: str,
    environ: Mapping[str, str] | None = None,
    *,
    model: Mapping[str, str] | None = None,
    base_data: DataSourceConfig | None = None,
) -> AsyncGenerator[Rig]:
    """Run an agent with this model; when it opens the agent is healthy, unless it was given base data."""
    policies = bundle(model or {"model.fga": MODEL})
    source = InProcessSource(bundle=policies, base_data=base_data, capacity=100_000)
    variables = {"OPAL_POLICY_STORE_TYPE": "OPENFGA", "OPAL_POLICY_STORE_URL": url, **(environ or {})}
    plugins = Plugins.of(("openfga", plugin))
    settings = load_settings(CoreSettings, variables)
    asker = Asker(url, variables.get("OPAL_OPENFGA_STORE_NAME", "cabochon"))
    async with (
        open_agent(plugins, settings, environ=variables, source=source) as agent,
        anyio.create_task_group() as tasks,
    ):
        await tasks.start(agent.run)
        rig = Rig(agent, source, asker)
        try:
            if base_data is None:
                await rig.until(lambda: rig.log.healthy)
            yield rig
        finally:
            agent.stop()
            with anyio.CancelScope(shield=True):
                await asker.aclose()
