"""The bundle service over HTTP, its address, and OPA's configuration for it."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import httpx
import pytest
from pydantic import SecretStr

from cabochon import ConfigurationError
from cabochon.error_groups import bare_configuration_errors
from cabochon_opa.bundle.activation import Activation
from cabochon_opa.bundle.opa_config import bundle_config, listen_address, service_url
from cabochon_opa.bundle.service import open_bundle_service
from cabochon_opa.bundle.status import Report, read_report, refusal_of
from cabochon_opa.testing import RealOpa, free_port

from .bundle_rig import archive_of, modules

BUNDLE = "/bundles/cabochon.tar.gz"
STATUS = {"labels": {"id": "one"}, "bundles": {"cabochon": {"active_revision": "r1"}}}
LONG = {"Prefer": "modes=snapshot,delta;wait=20"}


@pytest.fixture
def address() -> str:
    return f"127.0.0.1:{free_port()}"


def client_of(address: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://{address}", timeout=5)


async def test_the_archive_comes_with_an_etag_and_once(address: str) -> None:
    async with open_bundle_service(address) as shelf, client_of(address) as http:
        archive = archive_of(modules(2))
        shelf.offer(archive, fallback=None)
        shelf.no_report_wanted()
        answer = await http.get(BUNDLE)
        assert (answer.status_code, answer.content) == (200, archive.content)
        assert answer.headers["ETag"] == archive.etag
        assert answer.headers["Content-Type"] == "application/vnd.openpolicyagent.bundles"
        for known in (archive.etag, f'"older", {archive.etag}'):
            answer = await http.get(BUNDLE, headers={"If-None-Match": known})
            assert (answer.status_code, answer.content) == (304, b"")
            assert "ETag" not in answer.headers


async def test_a_web_page_gets_no_bundle_and_forges_no_status(address: str) -> None:
    pages = ({"Origin": "http://evil.example"}, {"Host": "evil.example"}, {"Sec-Fetch-Site": "cross-site"})
    async with open_bundle_service(address) as shelf, client_of(address) as http:
        shelf.offer(archive_of(modules(2)), fallback=None)
        for page in pages:
            headers = {**page, "Connection": "close"}
            assert 403 == (await http.get(BUNDLE, headers=headers)).status_code
            assert 403 == (await http.post("/status", json={}, headers=headers)).status_code


async def test_a_long_poll_ends_with_the_next_archive(address: str) -> None:
    async with open_bundle_service(address) as shelf, client_of(address) as http:
        answers: list[httpx.Response] = []

        async def ask(known: str) -> None:
            answers.append(await http.get(BUNDLE, headers={**LONG, "If-None-Match": known}))

        first, second = archive_of(modules(1)), archive_of(modules(2))
        for known, archive in (("", first), (first.etag, second)):
            async with anyio.create_task_group() as tasks:
                asked = shelf.asked
                tasks.start_soon(ask, known)
                with anyio.fail_after(30):
                    while shelf.asked == asked:  # noqa: ASYNC110 - counted, not told
                        await anyio.sleep(0.005)
                shelf.offer(archive, fallback=None)
            assert answers[-1].content == archive.content


async def test_a_wait_is_over_in_time(address: str) -> None:
    async with open_bundle_service(address), client_of(address) as http:
        started = anyio.current_time()
        answer = await http.get(BUNDLE, headers={"Prefer": "modes=snapshot;wait=1"})
        assert answer.status_code == 304
        assert 0.9 <= anyio.current_time() - started < 3


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("POST", "/status", {"json": STATUS}, 204),
        ("POST", "/status/", {"json": STATUS}, 204),
        ("POST", "/status", {"json": {"labels": {}, "plugins": {}}}, 204),
        ("POST", "/status", {"content": json.dumps(STATUS), "headers": {"Content-Type": "text/plain"}}, 415),
        ("POST", "/status", {"content": b"{", "headers": {"Content-Type": "application/json"}}, 400),
        ("POST", "/status", {"json": {"bundles": 1}}, 400),
        ("POST", "/status", {"json": {"x": "y" * 5_000_000}}, 413),
        ("GET", "/status", {}, 405),
        ("POST", BUNDLE, {"json": {}}, 405),
        ("GET", "/", {}, 404),
        ("GET", "/bundles/other.tar.gz", {}, 404),
    ],
)
async def test_what_else_it_is_asked(
    address: str, method: str, path: str, options: dict[str, Any], status: int
) -> None:
    async with open_bundle_service(address) as shelf, client_of(address) as http:
        assert (await http.request(method, path, **options)).status_code == status
        report = shelf.report_of("one", after=0)
        assert (report is not None) == (status == 204 and "bundles" in options["json"])
        assert report is None or report.active_revision == "r1"


async def test_a_repeated_report_is_no_news(address: str) -> None:
    repeated = {"labels": {"id": "one"}, "bundles": {"cabochon": {"last_request": "2026-01-01T00:00:00.5Z"}}}
    async with open_bundle_service(address) as shelf, client_of(address) as http:
        for _ in range(3):
            await http.post("/status", json=repeated)
        assert shelf.heard == 1


async def test_a_token_is_asked_for(opa_path: Path, tmp_path: Path, address: str) -> None:
    token = SecretStr("s3cret")
    file = tmp_path / "opa.json"
    file.write_text(json.dumps(bundle_config(address, token)))
    async with open_bundle_service(address, token) as shelf, client_of(address) as http:
        for headers in ({}, {"Authorization": "Bearer other"}, {"Authorization": "s3cret"}):
            assert (await http.get(BUNDLE, headers=headers)).status_code == 401
            assert (await http.post("/status", headers=headers, json=STATUS)).status_code == 401
        assert shelf.heard == shelf.asked == 0
        with RealOpa(opa_path, f"--config-file={file}"):

            async def any_instance() -> str:
                return ""

            await Activation(shelf, any_instance).activate(archive_of(modules(2)))


async def test_clients_that_hang_hinder_nobody_and_not_the_end(address: str) -> None:
    host, port = listen_address(address)
    status = (
        b"POST /status HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    bundle = f"GET {BUNDLE} HTTP/1.1\r\nHost: localhost\r\nPrefer: wait=60\r\n\r\n".encode()
    hung = [b"", b"GET /bun", status, bundle]
    streams: list[anyio.abc.SocketStream] = []
    try:
        async with open_bundle_service(address) as shelf, client_of(address) as http:
            for sent in hung * 5:
                streams.append(await anyio.connect_tcp(host, port))
                await streams[-1].send(sent)
            assert (await http.post("/status", json=STATUS)).status_code == 204
            assert (await http.get(BUNDLE)).status_code == 304
            assert shelf.heard == 1
            started = anyio.current_time()
        assert anyio.current_time() - started < 4
    finally:
        for stream in streams:
            await stream.aclose()


async def test_who_hangs_up_is_waited_for_no_longer(address: str) -> None:
    host, port = listen_address(address)
    async with open_bundle_service(address) as shelf, client_of(address) as http:
        for number in range(70):
            async with await anyio.connect_tcp(host, port) as stream:
                await stream.send(f"GET {BUNDLE} HTTP/1.1\r\nHost: localhost\r\nPrefer: wait=60\r\n\r\n".encode())
                with anyio.fail_after(30):
                    while shelf.asked <= number:  # noqa: ASYNC110 - counted, not told
                        await anyio.sleep(0.001)
        with anyio.fail_after(30):
            while (await http.get(BUNDLE)).status_code != 304:  # noqa: ASYNC110 - 503 until it is noticed
                await anyio.sleep(0.01)


async def test_an_address_that_is_taken_is_named(address: str) -> None:
    expected = pytest.raises(ConfigurationError, match=rf"^OPAL_OPA_BUNDLE_SERVICE_ADDR='{address}': can't listen.*use")
    with socket.create_server(listen_address(address)), expected, bare_configuration_errors():
        async with open_bundle_service(address):
            pass


async def test_the_address_is_free_again_at_the_end(address: str) -> None:
    for _ in range(2):
        async with open_bundle_service(address), client_of(address) as http:
            assert (await http.get(BUNDLE)).status_code == 304


@pytest.mark.parametrize(
    "wrong", ["", "8282", "localhost", "host:port", "host:70000", "http://host:80", "::1:8282", "unix:/run/x"]
)
def test_what_is_no_address_is_named(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=r"OPAL_OPA_BUNDLE_SERVICE_ADDR=.*should be host:port"):
        bundle_config(wrong)


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("127.0.0.1:8282", "http://127.0.0.1:8282"),
        ("0.0.0.0:80", "http://127.0.0.1:80"),
        (":80", "http://127.0.0.1:80"),
        ("[::]:80", "http://[::1]:80"),
        ("[::1]:80", "http://[::1]:80"),
        ("agent.local:80", "http://agent.local:80"),
    ],
)
def test_opa_is_told_where_we_are(address: str, url: str) -> None:
    assert service_url(address) == url
    assert bundle_config(address)["services"] == {"cabochon": {"url": url}}


def test_a_failure_to_fetch_is_no_refusal() -> None:
    def report(**bundle: str) -> Report:
        read = read_report(json.dumps({"labels": {"id": "1"}, "bundles": {"cabochon": bundle}}).encode())
        assert read is not None
        return read

    assert not report(active_revision="r").refused
    assert not report(code="bundle_error", message="request failed: connection refused").refused
    assert not report(code="bundle_error", message="server replied with Not Found", http_code="404").refused
    refused = report(code="bundle_error", message="detected overlapping roots")
    assert refused.refused
    assert str(refusal_of(refused)) == "OPA refuses the policies: detected overlapping roots"


async def test_the_configuration_on_the_page_works(opa_path: Path, tmp_path: Path, address: str) -> None:
    page = Path(__file__).parents[3] / "docs" / "how-to" / "deliver-policies-by-bundle.md"
    if not page.is_file():
        pytest.skip("the pages are not part of this distribution")
    shown = page.read_text().split("```yaml\n")[1].split("```")[0]
    assert "127.0.0.1:8282" in shown
    file = tmp_path / "opa.yaml"
    file.write_text(shown.replace("127.0.0.1:8282", address))
    with RealOpa(opa_path, f"--config-file={file}") as opa:
        async with httpx.AsyncClient(base_url=opa.url) as http:
            config = (await http.get("/v1/config")).json()["result"]
        async with open_bundle_service(address) as shelf:

            async def instance() -> str:
                return config["labels"]["id"]

            await Activation(shelf, instance).activate(archive_of(modules(2)))
    expected = bundle_config(address)
    assert config["bundles"]["cabochon"]["polling"] == expected["bundles"]["cabochon"]["polling"]
