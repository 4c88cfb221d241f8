"""`data.system.opal` and OPA's own health routes, asked as OPAL's page does, of a real OPA."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest

from cabochon.documents.path import DocumentPath
from cabochon.transactions.changes import Change, SetData, SetPolicy
from cabochon.transactions.log import TransactionLog
from cabochon.transactions.records import FailedPath, InitialSource, TransactionRecord
from cabochon_opa.health.listener import health_listener_type
from cabochon_opa.health.settings import HealthSettings
from cabochon_opa.testing import RealOpa

USERS = DocumentPath(("users",))
POLICY = TransactionRecord(
    number=0, id="0e45f42f3d7da9b343f5c199934b4bf89a9cacbd", transaction_type="policy", actions=("set_policies",)
)
DATA = TransactionRecord(
    number=1, id="476f290d23964099b5ddd8f10e46873d", actions=("set_policy_data",), origin=1, landed=(USERS,)
)
FAILED = TransactionRecord(
    number=2, id="failed", success=False, error="503", origin=2, failed=(FailedPath(USERS, "503"),)
)
WAITING = TransactionLog(engine_current=True, source_connected=True).with_sources({0: InitialSource(USERS, 1)})
NOTHING: dict[str, Any] = {
    "agent_alive": False,
    "healthy": False,
    "heartbeat": 0,
    "in_sync": False,
    "last_data_transaction": {},
    "last_failed_data_transaction": {},
    "last_failed_policy_transaction": {},
    "last_policy_transaction": {},
    "out_of_sync_paths": [],
    "ready": False,
    "source_connected": False,
    "transaction_data_statistics": {"failed": 0, "successful": 0},
    "transaction_policy_statistics": {"failed": 0, "successful": 0},
}


class Reader:
    """An OPA, what is written into it as the store would, and what its users ask."""

    def __init__(self, opa: RealOpa) -> None:
        self._http = httpx.Client(base_url=opa.url)

    def close(self) -> None:
        self._http.close()

    def write(self, changes: Sequence[Change]) -> None:
        for change in changes:
            match change:
                case SetPolicy(name, source):
                    answer = self._http.put(f"/v1/policies/{name}", content=source)
                case SetData(path, value):
                    answer = self._http.put(f"/v1/data{path}", content=value)
                case _:
                    raise AssertionError(change)
            assert answer.is_success, answer.text

    def wipe(self) -> None:
        assert self._http.put("/v1/data", json={}).is_success

    def rule(self, name: str) -> Any:  # noqa: ANN401 - whatever the rule says
        return self._http.post(f"/v1/data/system/opal/{name}").json()["result"]

    def document(self) -> dict[str, Any]:
        return self._http.get("/v1/data/system/opal").json()["result"]

    def probes(self) -> dict[str, Any]:
        return self._http.get("/v1/data/system/health").json()["result"]

    def probe(self, name: str) -> int:
        return self._http.get(f"/health/{name}").status_code


class Writer(Protocol):
    """Puts a state into OPA, said by the agent so many seconds ago."""

    def __call__(self, log: TransactionLog, *, age_s: float = 0.0) -> None: ...


@pytest.fixture(scope="module", params=[(), ("--v0-compatible",)], ids=["v1", "v0"])
def shared_opa(request: pytest.FixtureRequest, opa_path: Path) -> Iterator[RealOpa]:
    with RealOpa(opa_path, *request.param) as running:
        yield running


@pytest.fixture
def reader(shared_opa: RealOpa) -> Iterator[Reader]:
    """An OPA that reads Rego v1, and one that reads v0; emptied before each test."""
    with httpx.Client(base_url=shared_opa.url) as http:
        for policy in http.get("/v1/policies").json()["result"]:
            http.delete(f"/v1/policies/{policy['id']}")
        http.put("/v1/data", json={})
    reader = Reader(shared_opa)
    yield reader
    reader.close()


@asynccontextmanager
async def writer(reader: Reader, **settings: Any) -> AsyncGenerator[Writer]:
    async with health_listener_type().open(HealthSettings(enabled=True, **settings)) as listener:

        def write(log: TransactionLog, *, age_s: float = 0.0) -> None:
            reader.write(listener.committing((), log.with_heartbeat(time.time() - age_s)))

        yield write


async def test_the_queries_of_opal_s_page(reader: Reader) -> None:
    """
    POST ready, POST healthy and GET of the document answer as OPAL's page shows.
    """
    async with writer(reader) as write:
        write(WAITING.after([POLICY, DATA]))

    assert reader.rule("ready") is True
    assert reader.rule("healthy") is True
    document = reader.document()
    shown = {
        "healthy": True,
        "last_data_transaction": {
            "actions": ["set_policy_data"],
            "error": "",
            "id": "476f290d23964099b5ddd8f10e46873d",
            "success": True,
        },
        "last_policy_transaction": {
            "actions": ["set_policies"],
            "error": "",
            "id": "0e45f42f3d7da9b343f5c199934b4bf89a9cacbd",
            "success": True,
        },
        "ready": True,
    }
    for name in ("last_data_transaction", "last_policy_transaction"):
        document[name] = {key: document[name][key] for key in ("actions", "error", "id", "success")}
    assert {key: document[key] for key in shown} == shown
    assert document.keys() == NOTHING.keys()
    assert document["last_failed_data_transaction"] == {}
    assert document["transaction_data_statistics"] == {"failed": 0, "successful": 1}
    assert (reader.probe("ready"), reader.probe("live")) == (200, 200)


async def test_the_document_is_the_log_s(reader: Reader) -> None:
    """
    Everything that the log says is shown, and nothing else.
    """
    log = WAITING.after([POLICY, DATA, FAILED])
    async with writer(reader) as write:
        write(log)

    assert {**log.as_document(), "heartbeat": 0} == {**reader.document(), "heartbeat": 0}


async def test_before_any_state_everything_says_no(reader: Reader) -> None:
    """
    With the modules alone, or after someone has emptied OPA's data, nothing is undefined and nothing is true.
    """
    async with health_listener_type().open(HealthSettings(enabled=True)) as listener:
        reader.write([change for change in listener.committing((), WAITING) if isinstance(change, SetPolicy)])
        assert reader.document() == NOTHING
        assert (reader.rule("ready"), reader.rule("healthy")) == (False, False)
        assert (reader.probe("ready"), reader.probe("live")) == (500, 200)
    async with writer(reader) as write:
        write(WAITING.after([POLICY, DATA]))
        assert (reader.rule("ready"), reader.rule("healthy"), reader.probe("ready")) == (True, True, 200)
        reader.wipe()

    assert reader.document() == NOTHING
    assert (reader.rule("ready"), reader.rule("healthy")) == (False, False)
    assert (reader.probe("ready"), reader.probe("live")) == (500, 200)


async def test_ready_waits_for_policies_and_data(reader: Reader) -> None:
    """
    Without policies, or without all initial data, OPA is not ready, and a kubelet is told so with 500.
    """
    async with writer(reader) as write:
        for log in (WAITING, WAITING.after([POLICY]), WAITING.after([DATA])):
            write(log)
            assert (reader.rule("ready"), reader.rule("healthy")) == (False, False)
            assert (reader.probe("ready"), reader.probe("live")) == (500, 200)


async def test_healthy_turns_false_and_true_again(reader: Reader) -> None:
    """
    An update that fails makes `healthy` false and keeps `ready`; the next one that succeeds makes it true again.
    """
    log = WAITING.after([POLICY, DATA, FAILED])
    async with writer(reader) as write:
        write(log)
        assert (reader.rule("ready"), reader.rule("healthy"), reader.rule("in_sync")) == (True, False, False)
        assert reader.rule("out_of_sync_paths") == [{"path": "/users", "reason": "503"}]
        assert reader.rule("last_failed_data_transaction")["id"] == "failed"
        assert reader.rule("last_data_transaction")["id"] == DATA.id
        assert (reader.probe("ready"), reader.probe("live")) == (200, 200)
        mended = TransactionRecord(number=3, id="mended", origin=3, landed=(USERS,))
        write(log.after([mended]))

    assert (reader.rule("healthy"), reader.rule("in_sync"), reader.rule("out_of_sync_paths")) == (True, True, [])


@pytest.mark.parametrize(
    ("age_s", "alive"), [(0.0, True), (20.0, True), (31.0, False), (86_400.0, False), (-60, False)]
)
async def test_agent_alive_is_a_heartbeat_under_30_s_old(reader: Reader, age_s: float, *, alive: bool) -> None:
    """
    OPA itself judges the heartbeat's age; by default nothing else depends on it.
    """
    async with writer(reader) as write:
        write(WAITING.after([POLICY, DATA]), age_s=age_s)

    assert reader.rule("agent_alive") is alive
    assert (reader.rule("ready"), reader.rule("healthy")) == (True, True)
    assert (reader.probe("ready"), reader.probe("live")) == (200, 200)


async def test_healthy_and_live_may_depend_on_the_agent(reader: Reader) -> None:
    """
    With OPAL_OPA_HEALTH_CHECK_REQUIRE_AGENT_ALIVE an agent that was here and is silent is a reason to restart.
    """
    async with writer(reader, require_agent_alive=True) as write:
        write(WAITING.after([POLICY, DATA]))
        assert (reader.rule("ready"), reader.rule("healthy"), reader.probe("live")) == (True, True, 200)
        write(WAITING.after([POLICY, DATA, FAILED]))
        assert (reader.rule("ready"), reader.rule("healthy"), reader.probe("live")) == (True, False, 200)
        write(WAITING.after([POLICY, DATA]), age_s=31)
        assert (reader.rule("ready"), reader.rule("healthy"), reader.probe("live")) == (True, False, 500)
        reader.wipe()

    assert (reader.rule("ready"), reader.rule("healthy"), reader.probe("live")) == (False, False, 200)


async def test_own_static_template(reader: Reader, tmp_path_factory: pytest.TempPathFactory) -> None:
    """
    A template of the operator's takes the place of ours, and OPA's health routes follow it.
    """
    path = tmp_path_factory.mktemp("template") / "mine.rego.j2"
    path.write_text("package system.opal\ndefault ready = false\nready = data.system.cabochon.health.healthy\n")
    async with writer(reader, template_path=str(path)) as write:
        write(WAITING.after([POLICY, DATA]))
        assert (reader.document(), reader.probe("ready")) == ({"ready": True}, 200)
        write(WAITING.after([POLICY, DATA, FAILED]))

    assert (reader.document(), reader.probe("ready")) == ({"ready": False}, 500)


async def test_own_template_without_a_rule_for_ready(reader: Reader, tmp_path_factory: pytest.TempPathFactory) -> None:
    """
    Where the operator's template says nothing of `ready`, OPA's health routes say no.
    """
    path = tmp_path_factory.mktemp("template") / "mine.rego.j2"
    path.write_text("package system.opal\nfine = true\n")
    async with writer(reader, template_path=str(path)) as write:
        write(WAITING.after([POLICY, DATA]))

    assert reader.probes() == {"ready": False, "live": True}


async def test_own_template_that_prints_the_state(reader: Reader, tmp_path_factory: pytest.TempPathFactory) -> None:
    """
    A template may print the state into the module; whatever texts are in it, the module stays Rego.
    """
    path = tmp_path_factory.mktemp("template") / "mine.rego.j2"
    path.write_text(
        "package system.opal\ndefault ready = {{ ready }}\ndefault healthy = {{ healthy }}\n"
        "last_failed := {{ last_failed_data_transaction }}\n"
        "error := {{ last_failed_data_transaction.get('error', '') }}\n"
        "late := {{ out_of_sync_paths | map(attribute='path') | list }}\n"
    )
    nasty = 'no \U0001f980 "quote" \\ `raw`\n\u2028\x00 </script> }\nready := true'
    failed = TransactionRecord(
        number=2, id="2", success=False, error=nasty, failed=(FailedPath(USERS, nasty),), origin=2
    )
    async with writer(reader, template_path=str(path)) as write:
        write(WAITING)
        expected: dict[str, Any] = {"ready": False, "healthy": False, "last_failed": {}, "error": "", "late": []}
        assert reader.document() == expected
        write(WAITING.after([POLICY, DATA]))
        assert reader.document() == {**expected, "ready": True, "healthy": True}
        write(WAITING.after([POLICY, DATA, failed]))

    document = reader.document()
    assert (document["ready"], document["healthy"], document["late"]) == (True, False, ["/users"])
    assert document["error"] == document["last_failed"]["error"] == nasty
    assert reader.probe("ready") == 200


async def test_the_template_of_the_how_to(reader: Reader) -> None:
    """
    The template that docs/how-to/read-health.md shows does what the page says.
    """
    path = Path(__file__).parent / "own_health.rego.j2"
    async with writer(reader, template_path=str(path)) as write:
        write(WAITING)
        assert reader.document() == {"ready": False, "healthy": False, "last_policy_hash": "", "stale": []}
        write(WAITING.after([POLICY, DATA, FAILED]))

    expected = {"ready": True, "healthy": False, "last_policy_hash": POLICY.id, "stale": ["/users"]}
    assert reader.document() == expected
