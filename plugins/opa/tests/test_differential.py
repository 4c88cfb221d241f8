"""The mock engine and a real OPA answer alike: any commits leave the same documents, and the same ones are refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cabochon.contract.policy_store import PolicyStore
from cabochon.contract.powers import SupportsExport
from cabochon.documents.json_patch import PatchOperation
from cabochon.documents.json_values import decode, encode
from cabochon.documents.path import DocumentPath
from cabochon.transactions.changes import Change, Changes, DeleteData, PatchData, SetData, Write
from cabochon.transactions.commit_result import Applied, CommitResult
from cabochon_mock_store import MockEngine, MockPolicyStore
from cabochon_opa.open_store import open_opa_store
from cabochon_opa.settings import OpaStoreSettings
from cabochon_opa.testing import RealOpa

TOP = "playground"
segments = st.sampled_from(["a", "b", "0", "1", "-", "00", "50%", "%2F", "é/~1 "])
keys = st.one_of(segments, st.just(""))

paths = st.lists(segments, max_size=3).map(lambda found: DocumentPath((TOP, *found)))
below = st.lists(segments, max_size=2).map(lambda found: DocumentPath(found))  # noqa: PLW0108 # a type is no such function to pyright
values = st.recursive(
    st.sampled_from([None, True, 0, 1, "x", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
).map(encode)
operations = st.builds(PatchOperation, st.sampled_from(["add", "remove", "replace"]), below, values)
changes = st.one_of(
    st.builds(SetData, paths, values),
    st.builds(DeleteData, paths),
    st.builds(PatchData, paths, st.lists(operations, min_size=1, max_size=4).map(tuple)),
)
commits = st.lists(st.lists(changes, min_size=1, max_size=4), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def shared_opa(opa_path: Path) -> Iterator[RealOpa]:
    """One OPA for all examples: each begins by emptying it."""
    with RealOpa(opa_path) as running:
        yield running


async def commit(store: PolicyStore, group: list[Change]) -> CommitResult:
    return await store.commit(Changes(tuple(Write(str(number), (one,)) for number, one in enumerate(group))))


def landed(result: CommitResult) -> bool:
    assert not result.in_doubt
    return all(isinstance(outcome, Applied) for outcome in result.outcomes)


async def documents(store: SupportsExport) -> dict[str, Any]:
    return decode(await store.export_data())


async def one_by_one(real: PolicyStore, mock: PolicyStore, group: list[Change]) -> None:
    """What the store can't express in one commit, the core would cut: each change alone must be judged alike."""
    for change in group:
        assert landed(await commit(mock, [change])) == landed(await commit(real, [change])), change


async def compare(url: str, group_of_commits: list[list[Change]]) -> None:
    mock = MockPolicyStore(MockEngine())
    async with httpx.AsyncClient(base_url=url) as other, open_opa_store(OpaStoreSettings(policy_store_url=url)) as real:
        (await other.put("/v1/data", json={})).raise_for_status()
        for group in group_of_commits:
            expected, actual = landed(await commit(mock, group)), await commit(real, group)
            if expected and not landed(actual):
                assert actual.blame is None, f"{actual.refusal} is said to be refused for good"
                for change in group:
                    assert landed(await commit(real, [change])), change
            else:
                assert expected == landed(actual)
            assert await documents(mock) == await documents(real)


@settings(
    max_examples=int(os.environ.get("CABOCHON_EXAMPLES", "150")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(commits)
def test_mock_and_opa_answer_alike(shared_opa: RealOpa, group_of_commits: list[list[Change]]) -> None:
    """Random commits are applied or refused alike, and leave the same documents."""
    anyio.run(compare, shared_opa.url, group_of_commits)
