"""The health document at OPA's path, where the engine itself can't hold it."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from cabochon import CommitResult, PolicyStore, StoreTraits
from cabochon.transactions.changes import Changes

from .rig import Open, Rig

DOCUMENT = "/v1/data/system/opal"


class Facts(PolicyStore):
    """An engine that keeps no documents."""

    traits: ClassVar[StoreTraits] = StoreTraits(policy_unit="none", data_unit="facts", atomic="write")

    async def commit(self, changes: Changes) -> CommitResult:
        return CommitResult.applied(changes)

    async def health(self) -> None:
        pass


async def ask(rig: Rig, path: str = "", method: str = "GET") -> Any:  # noqa: ANN401 - any JSON
    response = await rig.client.request(method, DOCUMENT + path)
    assert 200 == response.status_code
    return response.json()


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_document_is_served_for_an_engine_without_documents(opened: Open, method: str) -> None:
    """
    As OPA answers: the whole document, a member of it, and an empty object for what is not there.
    """
    rig = await opened(store=Facts())
    await rig.until(lambda: rig.agent.pipeline.log.healthy)

    document = (await ask(rig, method=method))["result"]
    assert (True, True, True, []) == tuple(
        document[member] for member in ("ready", "healthy", "in_sync", "out_of_sync_paths")
    )
    assert [{"result": True}] * 2 == [await ask(rig, path, method) for path in ("/ready", "/healthy")]
    assert [{}] * 2 == [await ask(rig, path, method) for path in ("/nothing", "/ready/below")]


async def test_document_says_what_went_wrong(opened: Open) -> None:
    """
    A failed update turns `healthy` false, and its path is named with the reason.
    """
    rig = await opened(store=Facts())
    await rig.source.publish({"id": "1", "entries": [{"url": "nowhere://x", "dst_path": "/x"}]})
    await rig.until(lambda: rig.agent.pipeline.log.data.failed == 1)

    assert {"result": False} == await ask(rig, "/healthy")
    assert {"result": "/x"} == await ask(rig, "/out_of_sync_paths/0/path")
    assert {} == await ask(rig, "/out_of_sync_paths/1")


async def test_engine_with_documents_is_asked_itself(opened: Open) -> None:
    """
    The agent does not stand in for an engine that can hold the document; the description says so too.
    """
    rig, other = await opened(), await opened(store=Facts())

    assert 404 == (await rig.client.get(DOCUMENT)).status_code
    described = [DOCUMENT in (await one.client.get("/openapi.json")).json()["paths"] for one in (rig, other)]
    assert [False, True] == described
