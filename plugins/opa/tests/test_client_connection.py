"""What becomes of a request whose connection breaks: it says whether OPA may have done it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from cabochon.errors import StoreUnavailableError
from cabochon.settings.conn_retry import ConnRetryOptions
from cabochon.testing.http_server import Answer, ScriptedHttpServer
from cabochon_opa.client import RequestUnansweredError, open_client
from cabochon_opa.engine_labels import engine_labels
from cabochon_opa.settings import OpaStoreSettings
from cabochon_opa.testing import RealOpa, free_port


@pytest.fixture
def server() -> Iterator[ScriptedHttpServer]:
    with ScriptedHttpServer() as server:
        yield server


async def complaint_of(url: str, *, timeout_s: float = 5.0) -> StoreUnavailableError:
    settings = OpaStoreSettings(policy_store_url=url, policy_store_timeout=timedelta(seconds=timeout_s))
    async with open_client(settings) as client:
        with pytest.raises(StoreUnavailableError) as caught:
            await client.ask("PATCH", "/v1/data", content=b"[]")
    assert "\n" not in str(caught.value)
    return caught.value


async def test_an_opa_that_is_not_there_has_done_nothing() -> None:
    """The message says what the system said, and shows no password of the address."""
    port = free_port()

    complaint = await complaint_of(f"http://me:hidden@127.0.0.1:{port}")

    assert not isinstance(complaint, RequestUnansweredError)
    assert str(complaint) == f"OPA at http://127.0.0.1:{port} can't be reached: Connection refused"


async def test_a_socket_that_is_not_there_is_named(tmp_path: Path) -> None:
    """As any other address."""
    complaint = await complaint_of(f"unix://{tmp_path}/opa.sock")

    assert not isinstance(complaint, RequestUnansweredError)
    assert str(complaint) == f"OPA at unix://{tmp_path}/opa.sock can't be reached: No such file or directory"


async def test_a_name_that_leads_nowhere_is_named() -> None:
    """`.invalid` never resolves (RFC 6761)."""
    complaint = await complaint_of("http://opa.invalid:8181")

    assert not isinstance(complaint, RequestUnansweredError)
    assert str(complaint).startswith("OPA at http://opa.invalid:8181 can't be reached: ")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Answer(disconnect=True), "has not answered PATCH /v1/data: "),
        (Answer(delay_s=30), "has not answered PATCH /v1/data: no answer in time"),
        (Answer(status=503, body="<html>later</html>"), "answered PATCH /v1/data with 503"),
    ],
)
async def test_a_request_that_was_sent_may_have_been_done(server: ScriptedHttpServer, answer: Answer, why: str) -> None:
    """The core reads the marker then."""
    server.route("/v1/data", answer)

    complaint = await complaint_of(server.url, timeout_s=0.3)

    assert isinstance(complaint, RequestUnansweredError)
    assert why in str(complaint)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_request_that_is_not_let_in_was_not_done(server: ScriptedHttpServer, status: int) -> None:
    """The message says which."""
    server.route("/v1/data", status=status)

    complaint = await complaint_of(server.url)

    assert not isinstance(complaint, RequestUnansweredError)
    assert f"refuses our credentials with {status}" in str(complaint)


async def test_a_path_before_opas_own_is_kept(server: ScriptedHttpServer) -> None:
    """OPA may be behind a proxy that serves others, too."""
    server.route("/engines/opa/v1/data", json={})

    async with open_client(OpaStoreSettings(policy_store_url=f"{server.url}/engines/opa/")) as client:
        assert (await client.ask("GET", "/v1/data")).status == 200


async def test_an_address_that_ends_with_opas_own_path_is_explained(server: ScriptedHttpServer) -> None:
    """People copy `http://localhost:8181/v1` from a request; OPA knows no `/v1/v1/config`."""
    async with open_client(OpaStoreSettings(policy_store_url=f"{server.url}/v1")) as client:
        with pytest.raises(StoreUnavailableError, match=r"with 404 .*: OPAL_POLICY_STORE_URL must be .*, without /v1"):
            await engine_labels(client)


async def test_a_proxy_of_the_environment_is_not_used(
    server: ScriptedHttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OPA is next door; a proxy for the rest of the world must not come between."""
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(variable, f"http://127.0.0.1:{free_port()}")
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
    server.route("/v1/data", json={})

    async with open_client(OpaStoreSettings(policy_store_url=server.url)) as client:
        assert (await client.ask("GET", "/v1/data")).status == 200


# ---------------------------------------------------------------------------------------------------------- retries


async def test_connecting_is_tried_again_as_often_as_the_settings_say() -> None:
    """Three tries with two waits of 50 to 100 ms; then the error is the usual one."""
    retry = ConnRetryOptions(attempts=3, wait_time=timedelta(seconds=0.1))
    url = f"http://127.0.0.1:{free_port()}"

    async with open_client(OpaStoreSettings(policy_store_url=url, conn_retry=retry)) as client:
        began = anyio.current_time()
        with pytest.raises(StoreUnavailableError, match="can't be reached: Connection refused"):
            await client.ask("GET", "/health")
        assert anyio.current_time() - began >= 0.1


async def test_a_request_goes_through_when_opa_comes_up_between_two_tries(opa_path: Path) -> None:
    """Nothing is said to have failed."""
    opa = RealOpa(opa_path)
    retry = ConnRetryOptions(attempts=400, wait_time=timedelta(seconds=0.05))

    answers: list[int] = []
    answered = anyio.Event()
    async with (
        open_client(OpaStoreSettings(policy_store_url=opa.url, conn_retry=retry)) as client,
        anyio.create_task_group() as tasks,
    ):

        async def ask() -> None:
            answers.append((await client.ask("PUT", "/v1/data/here", content=b"1")).status)
            answered.set()

        tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        try:
            await anyio.to_thread.run_sync(opa.start)
            with anyio.fail_after(20):
                await answered.wait()
        finally:
            opa.kill()
    assert answers == [204]


@pytest.mark.parametrize("answer", [Answer(disconnect=True), Answer(status=503), Answer(status=401)])
async def test_a_request_that_was_sent_is_not_sent_again(server: ScriptedHttpServer, answer: Answer) -> None:
    """It may have been done: that is the core's to find out, not the connection's."""
    server.route("/v1/data", answer)
    retry = ConnRetryOptions(attempts=5, wait_time=timedelta(0))

    async with open_client(OpaStoreSettings(policy_store_url=server.url, conn_retry=retry)) as client:
        with pytest.raises(StoreUnavailableError):
            await client.ask("PATCH", "/v1/data", content=b"[]")

    assert len(server.requests) == 1


async def test_without_the_setting_connecting_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The core has its own pace."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr("cabochon.kit.http.engine.anyio.sleep", sleep)
    await complaint_of(f"http://127.0.0.1:{free_port()}")

    assert waits == []
