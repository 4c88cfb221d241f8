"""A document for the root, through the whole pipeline into a real OPA: ours are replaced, others' stay."""

from __future__ import annotations

from typing import Any

import anyio
import httpx

from cabochon.contract.tracing import Tracer, UpdateTrace
from cabochon.settings.core import CoreSettings
from cabochon.sync.pipeline import Pipeline, PipelineParts
from cabochon.testing.in_process_source import InProcessSource
from cabochon_opa.health.listener import health_listener_type
from cabochon_opa.health.settings import HealthSettings
from cabochon_opa.open_store import open_opa_store
from cabochon_opa.settings import OpaStoreSettings
from cabochon_opa.testing import RealOpa

OTHERS = {"licence": "theirs"}


def update(number: int, path: str, data: object) -> dict[str, Any]:
    return {"id": f"update-{number}", "entries": [{"url": "", "dst_path": path, "data": data}]}


class _Ends(Tracer):
    """Sets the event of each update that ends."""

    def __init__(self, ended: dict[str, anyio.Event]) -> None:
        self._ended = ended

    def update_ended(self, trace: UpdateTrace) -> None:
        if trace.update_id in self._ended:
            self._ended[trace.update_id].set()


async def test_a_root_document_replaces_ours_and_leaves_the_rest(opa: RealOpa) -> None:
    """
    What this agent had written is gone, what others keep stays, and the health state is there with the same answer.
    """
    ended: dict[str, anyio.Event] = {f"update-{number}": anyio.Event() for number in (1, 2)}
    source = InProcessSource()
    health = health_listener_type()
    async with (
        httpx.AsyncClient(base_url=opa.url) as other,
        open_opa_store(OpaStoreSettings(policy_store_url=opa.url)) as store,
        health.open(HealthSettings(enabled=True)) as listener,
        anyio.create_task_group() as tasks,
    ):
        (await other.put("/v1/data/others", json=OTHERS)).raise_for_status()
        pipeline = Pipeline(
            PipelineParts(store=store, source=source, listeners={health.name: listener}),
            CoreSettings(),
        )
        await tasks.start(pipeline.run)
        with pipeline.traces.sent_to(_Ends(ended)), anyio.fail_after(20):
            await source.publish(update(1, "/users", {"bob": {"role": "admin"}}))
            await source.publish(update(2, "/", {"roles": ["admin"], "system": {"opal": "not ours to write"}}))
            for event in ended.values():
                await event.wait()

        document = (await other.get("/v1/data")).json()["result"]
        state = (await other.get("/v1/data/system/opal")).json()["result"]
        pipeline.stop()
        assert document == {"others": OTHERS, "roles": ["admin"]}
        assert state["ready"] is True
        assert state["last_data_transaction"]["id"] == "update-2"
