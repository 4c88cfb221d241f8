"""Documents beside a bundle of policies: its roots own their paths, and OPA lets nobody patch above them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio.to_thread
import pytest

from cabochon.documents.json_values import decode
from cabochon.documents.path import DocumentPath
from cabochon.transactions.changes import Changes, ReplacePolicies, SetData, Write
from cabochon_opa.bundle.opa_config import bundle_config
from cabochon_opa.open_store import open_opa_store
from cabochon_opa.settings import OpaStoreSettings
from cabochon_opa.store import OpaPolicyStore
from cabochon_opa.testing import RealOpa, free_port

POLICIES = {
    "rbac.rego": "package app.rbac\ndefault allow = false\n",
    "users.rego": "package app.users.rules\ndefault strict = true\n",
    "other.rego": "package other\ndefault allow = true\n",
}

ANSWERS = {"/app/rbac/allow": b"false", "/app/users/rules/strict": b"true", "/other/allow": b"true"}


@pytest.fixture
def address() -> str:
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
def opa(opa_path: Path, address: str, tmp_path: Path) -> Iterator[RealOpa]:
    config = tmp_path / "opa.json"
    config.write_text(json.dumps(bundle_config(address)))
    with RealOpa(opa_path, f"--config-file={config}") as running:
        yield running


@pytest.fixture
async def store(opa: RealOpa, address: str) -> AsyncIterator[OpaPolicyStore]:
    settings = OpaStoreSettings(policy_store_url=opa.url, policy_delivery="bundle", bundle_service_addr=address)
    async with open_opa_store(settings) as store:
        assert (await store.commit(Changes((Write("policies", (ReplacePolicies(POLICIES),)),)))).landed
        yield store
        await anyio.to_thread.run_sync(opa.kill)


@pytest.mark.parametrize("path", ["/app/data/bob", "/app/users/bob", "/app/users", "/app", "/other/rules/bob"])
async def test_documents_are_written_beside_and_above_a_bundles_roots(store: OpaPolicyStore, path: str) -> None:
    """
    Parents are made where a root lies below them, and a root that is in the way is given up; the policies stay.
    """
    value = {"name": {"first": "Bob"}}
    written = SetData(DocumentPath.parse(path), json.dumps(value).encode())
    result = await store.commit(Changes((Write("data", (written,)),)))

    assert result.landed, result.refusal
    found = decode(await store.get_data(written.path) or b"null")
    assert found["name"] == value["name"]
    for rule, answer in (
        ("/app/rbac/allow", b"false"),
        ("/app/users/rules/strict", b"true"),
        ("/other/allow", b"true"),
    ):
        assert await store.get_data(DocumentPath.parse(rule)) == answer
    assert await store.get_policies() == POLICIES
