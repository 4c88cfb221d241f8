"""Which of OpenFGA's stores is ours."""

from __future__ import annotations

from typing import Any

import anyio
import httpx
import pytest

from cabochon.errors import ConfigurationError, StoreUnavailableError
from cabochon_openfga.open_store import open_openfga_store
from cabochon_openfga.settings import OpenFgaStoreSettings
from cabochon_openfga.testing import RealOpenFga


def make(openfga: RealOpenFga, name: str) -> str:
    return httpx.post(f"{openfga.url}/stores", json={"name": name}, trust_env=False).json()["id"]


async def token(openfga: RealOpenFga, **settings: Any) -> str:
    async with open_openfga_store(OpenFgaStoreSettings(policy_store_url=openfga.url, **settings)) as store:
        return (await store.restart_token()).partition(".")[0]


async def complaint(openfga: RealOpenFga, **settings: Any) -> str:
    with pytest.raises(StoreUnavailableError) as caught:
        await token(openfga, **settings)
    return str(caught.value)


async def test_store_is_made_once(shared_in_memory: RealOpenFga, store_name: str) -> None:
    """The first agent makes it, the next one finds it."""
    made = await token(shared_in_memory, store_name=store_name)

    assert made == await token(shared_in_memory, store_name=store_name)


async def test_agents_that_start_at_once_share_one_store(shared_in_memory: RealOpenFga, store_name: str) -> None:
    """Each finds none and makes one: the oldest stays, and is everybody's; who sees several meanwhile asks again."""
    found: set[str] = set()

    async def start() -> None:
        with anyio.fail_after(30):
            while True:
                try:
                    found.add(await token(shared_in_memory, store_name=store_name))
                except StoreUnavailableError:
                    await anyio.sleep(0.1)
                else:
                    return

    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(start)
    async with httpx.AsyncClient(base_url=shared_in_memory.url, trust_env=False) as client:
        listed = (await client.get("/stores", params={"name": store_name})).json()

    assert list(found) == [store["id"] for store in listed["stores"]]


async def test_store_is_found_by_its_id(shared_in_memory: RealOpenFga, store_name: str) -> None:
    """Whatever the name says."""
    store_id = make(shared_in_memory, store_name)

    assert store_id == await token(shared_in_memory, store_id=store_id)


async def test_store_that_is_not_there_is_named(shared_in_memory: RealOpenFga, store_name: str) -> None:
    """With the setting that chooses it."""
    missing = "01HVMMBCMGZNT3SED4Z17ECXCA"

    assert "OPAL_OPENFGA_STORE_ID" in await complaint(shared_in_memory, store_id=missing)
    assert "OPAL_OPENFGA_STORE_CREATE" in await complaint(shared_in_memory, store_name=store_name, create_store=False)


async def test_name_of_two_stores_chooses_none(shared_in_memory: RealOpenFga, store_name: str) -> None:
    """Both ids are given, to choose one."""
    ids = {make(shared_in_memory, store_name) for _ in range(2)}
    said = await complaint(shared_in_memory, store_name=store_name)

    assert all(store_id in said for store_id in ids)
    assert "OPAL_OPENFGA_STORE_ID" in said


@pytest.mark.parametrize("url", ["unix:///run/openfga.sock", "localhost:8080", "ftp://localhost"])
async def test_address_that_is_none_of_http_is_refused(url: str) -> None:
    """When the store is opened, not before: another engine's address is none of our business."""
    with pytest.raises(ConfigurationError, match="OPAL_POLICY_STORE_URL"):
        async with open_openfga_store(OpenFgaStoreSettings(policy_store_url=url)):
            pass
