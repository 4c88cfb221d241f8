"""A connection that notes and breaks requests, and what others do to OPA beside it: for tests of REST delivery."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import httpx

from cabochon.transactions.changes import ReplacePolicies
from cabochon_opa.client import OpaClient
from cabochon_opa.policies.rest import RestDelivery
from cabochon_opa.testing import RealOpa

LIB = "package lib\n\nf(x) := x + 1\n"
USE = "package use\n\nimport data.lib\n\nr := lib.f(1)\n"


class Wire(httpx.AsyncBaseTransport):
    """A real connection that notes the requests, and breaks the ones it is told to after OPA has done them.

    Attributes:
        lose: requests such as "PUT /v1/policies/a.rego" whose answers are lost, each once.
        before: what to call before such a request is sent, once.
        after: what to call when it has been answered, before we see the answer, once.
    """

    def __init__(self) -> None:
        self._real = httpx.AsyncHTTPTransport()
        self.requests: list[str] = []
        self.lose: list[str] = []
        self.before: dict[str, Any] = {}
        self.after: dict[str, Any] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        line = f"{request.method} {request.url.raw_path.decode()}"
        self.requests.append(line)
        if line in self.before:
            await self.before.pop(line)()
        answer = await self._real.handle_async_request(request)
        if line in self.after:
            await self.after.pop(line)()
        if line in self.lose:
            self.lose.remove(line)
            await answer.aread()
            raise httpx.ReadError("connection reset")
        return answer

    async def aclose(self) -> None:
        await self._real.aclose()

    @property
    def writes(self) -> list[str]:
        """The requests that write policies, shortened, since the last look."""
        found = [line.replace("/v1/policies/", "") for line in self.requests if "/v1/policies/" in line]
        self.requests.clear()
        return [line for line in found if not line.startswith("GET")]


@asynccontextmanager
async def connected(opa: RealOpa, wire: Wire | None = None, timeout_s: float = 10.0) -> AsyncGenerator[OpaClient]:
    async with httpx.AsyncClient(base_url=opa.url, transport=wire or Wire(), timeout=timeout_s) as http:
        yield OpaClient(http, opa.url)


def held(opa: RealOpa) -> dict[str, str]:
    """What is in OPA: id to source."""
    return {policy["id"]: policy["raw"] for policy in httpx.get(f"{opa.url}/v1/policies").json()["result"]}


def listed(opa: RealOpa) -> list[str]:
    """The list of our policies in OPA."""
    return httpx.get(f"{opa.url}/v1/data/system/cabochon/policies").json().get("result", [])


def put(opa: RealOpa, policy_id: str, source: str) -> None:
    """Write a policy as somebody else."""
    httpx.put(f"{opa.url}/v1/policies/{quote(policy_id, safe='')}", content=source).raise_for_status()


def others_data(opa: RealOpa, method: str, path: str, value: object = None) -> object:
    """Do something to OPA's data as somebody else, and return its result."""
    answer = httpx.request(method, f"{opa.url}/v1/data/{path}", json=value).raise_for_status()
    return answer.json()["result"] if answer.content else None


async def replace(delivery: RestDelivery, policies: Mapping[str, str]) -> None:
    await delivery.write([ReplacePolicies(policies)])
