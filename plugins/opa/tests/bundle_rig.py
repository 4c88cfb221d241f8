"""A bundle service and an OPA that is configured to ask it, for the tests of bundle delivery."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx

from cabochon import DocumentPath
from cabochon_opa.bundle.activation import Activation
from cabochon_opa.bundle.archive import Archive, build
from cabochon_opa.bundle.delivery import BundleDelivery
from cabochon_opa.bundle.opa_config import bundle_config
from cabochon_opa.bundle.roots import split_policies
from cabochon_opa.bundle.service import open_bundle_service
from cabochon_opa.bundle.shelf import BundleShelf
from cabochon_opa.client import OpaClient
from cabochon_opa.policies.rest import RestDelivery
from cabochon_opa.testing import RealOpa, free_port

ALLOW = "package team{n}.app{n}\n\nimport rego.v1\n\ndefault allow := false\n\nallow if input.level > {level}\n"


def modules(count: int, level: int = 0) -> dict[str, str]:
    """So many modules, each in a package of its own."""
    return {f"teams/{n}/policy.rego": ALLOW.format(n=n, level=level) for n in range(count)}


def archive_of(policies: Mapping[str, str], documents: Sequence[DocumentPath] = ()) -> Archive:
    split = split_policies(policies, documents)
    assert split.bundled.keys() == policies.keys()
    return build(split.bundled, split.roots)


async def until(condition: Callable[[], Any], timeout_s: float = 10.0) -> None:
    """Wait for something that nothing tells of."""
    with anyio.fail_after(timeout_s):
        while not condition():  # noqa: ASYNC110 - what is looked at has no event
            await anyio.sleep(0.005)


@dataclass
class Rig:
    """What a test works with; `documents` is what the agent is said to keep in OPA."""

    opa: RealOpa
    http: httpx.AsyncClient
    shelf: BundleShelf
    address: str
    documents: set[DocumentPath]

    async def instance(self) -> str:
        answer = await OpaClient(self.http, "OPA").ask("GET", "/v1/config")
        return json.loads(answer.body)["result"]["labels"]["id"]

    def activation(self, **options: Any) -> Activation:
        return Activation(self.shelf, self.instance, **options)

    def delivery(self, **options: Any) -> BundleDelivery:
        rest = RestDelivery(OpaClient(self.http, "OPA"), keep_others=True)
        return BundleDelivery(rest, self.activation(**options), lambda: list(self.documents))

    async def result(self, path: str, **given: object) -> object:
        """What a query gives, None for undefined."""
        return (await self.http.post(f"/v1/data/{path}", json={"input": given})).json().get("result")

    async def policy_ids(self) -> set[str]:
        return {policy["id"] for policy in (await self.http.get("/v1/policies")).json()["result"]}

    async def start(self) -> None:
        await anyio.to_thread.run_sync(self.opa.start)

    async def restart(self) -> None:
        await anyio.to_thread.run_sync(self.opa.restart)


@asynccontextmanager
async def bundle_rig(
    opa_path: Path, tmp_path: Path, *flags: str, start: bool = True, configured: bool = True, status: bool = True
) -> AsyncGenerator[Rig]:
    address = f"127.0.0.1:{free_port()}"
    config = bundle_config(address) if configured else {}
    if not status:
        config.pop("status", None)
    file = tmp_path / "opa.json"
    file.write_text(json.dumps(config))
    opa = RealOpa(opa_path, f"--config-file={file}", *flags)
    try:
        async with open_bundle_service(address) as shelf, httpx.AsyncClient(base_url=opa.url, timeout=20) as http:
            if start:
                await anyio.to_thread.run_sync(opa.start)
            yield Rig(opa, http, shelf, address, set())
    finally:
        opa.kill()
