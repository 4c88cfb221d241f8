"""How long the agent takes to load policies into OPA, by REST and as a bundle, and how long OPA takes without it."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio.to_thread
from opa_raw import OneBundle, RawOpa, modules

from cabochon.transactions.changes import ReplacePolicies
from cabochon_opa.bundle.activation import Activation
from cabochon_opa.bundle.archive import build
from cabochon_opa.bundle.delivery import BundleDelivery
from cabochon_opa.bundle.opa_config import bundle_config
from cabochon_opa.bundle.roots import split_policies
from cabochon_opa.bundle.service import open_bundle_service
from cabochon_opa.client import OpaClient, open_client
from cabochon_opa.policies.check import PolicyCheck
from cabochon_opa.policies.delivery import PolicyDelivery
from cabochon_opa.policies.rest import RestDelivery
from cabochon_opa.settings import OpaStoreSettings
from cabochon_opa.testing import RealOpa, free_port, opa_binary

_LOOK_EVERY_S = 0.002


async def load_policies(delivery: str, count: int) -> dict[str, Any]:
    """Deliver `count` modules into an empty OPA; `changed_s` is for one changed module after that."""
    policies = modules(count)
    return await (_by_rest(policies) if delivery == "rest" else _by_bundle(policies))


async def _by_rest(policies: Mapping[str, str]) -> dict[str, Any]:
    with RealOpa(opa_binary()) as opa, RawOpa(opa.url) as raw:
        async with open_client(_settings(opa)) as client:
            rest = RestDelivery(client, check=PolicyCheck(client, str(opa_binary())))
            seconds = await _timed(rest, policies, raw)
    return {**seconds, "raw_s": await anyio.to_thread.run_sync(_raw_puts, policies)}


def _raw_puts(policies: Mapping[str, str]) -> float:
    with RealOpa(opa_binary()) as opa, RawOpa(opa.url) as raw:
        started = time.perf_counter()
        for name, source in policies.items():
            raw.write("PUT", f"/v1/policies/{quote(name)}", source.encode())
        return round(time.perf_counter() - started, 3)


async def _by_bundle(policies: Mapping[str, str]) -> dict[str, Any]:
    address = f"127.0.0.1:{free_port()}"
    async with open_bundle_service(address) as shelf:
        with _configured(bundle_config(address)) as (opa, raw):
            async with open_client(_settings(opa)) as client:
                activation = Activation(shelf, lambda: _instance(client))
                seconds = await _timed(
                    BundleDelivery(RestDelivery(client, keep_others=True), activation, list), policies, raw
                )
    return {**seconds, "raw_s": await anyio.to_thread.run_sync(_raw_bundle, policies)}


async def _instance(client: OpaClient) -> str:
    return json.loads((await client.ask("GET", "/v1/config")).body)["result"]["labels"]["id"]


def _raw_bundle(policies: Mapping[str, str]) -> float:
    """Seconds from the moment a bundle is offered to an OPA that waits for it until its rules answer."""
    split = split_policies(policies, [])
    with OneBundle(build(split.bundled, split.roots).content) as service, _configured(service.config()) as (_, raw):
        service.asked.wait()
        started = time.perf_counter()
        service.released.set()
        while not _in_force(raw, policies):
            time.sleep(_LOOK_EVERY_S)
        return round(time.perf_counter() - started, 3)


async def _timed(delivery: PolicyDelivery, policies: Mapping[str, str], raw: RawOpa) -> dict[str, float]:
    started = time.perf_counter()
    problems = await delivery.validate(policies)
    await delivery.write([ReplacePolicies(policies)])
    loaded = time.perf_counter()
    if problems or not _in_force(raw, policies):
        raise SystemExit(f"the policies are not in force: {problems}")
    changed = {**policies, "teams/0/policy.rego": policies["teams/0/policy.rego"] + "\nmore := 1\n"}
    again = time.perf_counter()
    await delivery.write([ReplacePolicies(changed)])
    return {"seconds": round(loaded - started, 3), "changed_s": round(time.perf_counter() - again, 3)}


def _in_force(raw: RawOpa, policies: Mapping[str, str]) -> bool:
    last = len(policies) - 1
    return raw.get(f"team{last}/app{last}/allow") is False


@contextmanager
def _configured(config: Mapping[str, Any]) -> Generator[tuple[RealOpa, RawOpa]]:
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "opa.json"
        file.write_text(json.dumps(config), "utf-8")
        with RealOpa(opa_binary(), f"--config-file={file}") as opa, RawOpa(opa.url) as raw:
            yield opa, raw


def _settings(opa: RealOpa) -> OpaStoreSettings:
    return OpaStoreSettings(policy_store_url=opa.url, exec_path=str(opa_binary()))
