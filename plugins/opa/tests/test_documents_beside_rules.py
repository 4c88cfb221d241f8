"""Documents below the packages of rules: what rules make of a path says nothing about what may be written there."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from cabochon.documents.json_values import decode
from cabochon.documents.path import DocumentPath
from cabochon.errors import PathConflictError
from cabochon.transactions.changes import Change, Changes, DeleteData, SetData, Write
from cabochon.transactions.commit_result import Applied, Blame, CommitResult
from cabochon_opa.open_store import open_opa_store
from cabochon_opa.settings import OpaStoreSettings
from cabochon_opa.store import OpaPolicyStore
from cabochon_opa.testing import RealOpa

RULES = """package app.rbac
import data.app.users
default allow := false
allow := users[input.user].admin
roles := {"made": "up"}
"""
CLASH = """package clash.here
which := 1
which := 2
"""


@pytest.fixture
def ruled(opa: RealOpa) -> RealOpa:
    for policy_id, source in (("rbac.rego", RULES), ("clash.rego", CLASH)):
        httpx.put(f"{opa.url}/v1/policies/{policy_id}", content=source).raise_for_status()
    return opa


@pytest.fixture
async def store(ruled: RealOpa) -> AsyncIterator[OpaPolicyStore]:
    async with open_opa_store(OpaStoreSettings(policy_store_url=ruled.url)) as store:
        yield store


async def read(store: OpaPolicyStore, path: str) -> object:
    raw = await store.get_data(DocumentPath.parse(path))
    return None if raw is None else decode(raw)


async def commit(store: OpaPolicyStore, *changes: Change) -> CommitResult:
    return await store.commit(Changes(tuple(Write(str(number), (change,)) for number, change in enumerate(changes))))


def put(path: str, raw: bytes) -> SetData:
    return SetData(DocumentPath.parse(path), raw)


@pytest.mark.parametrize(
    "path", ["/app/users", "/app/users/bob", "/app/rbac/members/bob", "/clash/users", "/clash/here/users/bob"]
)
async def test_documents_stand_beside_rules(store: OpaPolicyStore, path: str) -> None:
    """
    A parent that only rules make is no parent: it is created, whatever the rules of its package come to.
    """
    assert (await commit(store, put(path, b'{"admin":true}'))).landed
    assert await read(store, path) == {"admin": True}


async def test_many_documents_stand_beside_rules(store: OpaPolicyStore) -> None:
    """
    So too if there are more new parents than are asked for one by one.
    """
    result = await commit(store, *(put(f"/clash/u{number}/roles/admin", b"true") for number in range(30)))

    assert result.landed
    assert await read(store, "/clash/u29/roles") == {"admin": True}


async def test_removing_what_only_rules_make_changes_nothing(store: OpaPolicyStore) -> None:
    """
    There is no document to remove, so nothing is refused and nothing is gone.
    """
    for path in ("/app/rbac", "/app", "/clash/here/which"):
        assert (await commit(store, DeleteData(DocumentPath.parse(path)))).landed
    assert await read(store, "/app/rbac/roles") == {"made": "up"}


async def test_a_document_in_a_rules_place_is_refused(store: OpaPolicyStore) -> None:
    """
    The refusal names the path, and the change that is to blame among others.
    """
    result = await commit(store, put("/fine", b"1"), put("/app", b'{"rbac":{"allow":true}}'), put("/also/fine", b"2"))

    assert isinstance(result.refusal, PathConflictError)
    assert "app/rbac/allow" in str(result.refusal)
    assert result.blame == Blame(1, 0)
    assert not any(isinstance(outcome, Applied) for outcome in result.outcomes)
