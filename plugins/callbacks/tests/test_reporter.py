"""Deliveries over HTTP: what is sent, and what the answer means."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import trustme

from cabochon.contract.callback_reporter import Callback, CallbackReporter
from cabochon.errors import ReportError
from cabochon.testing.http_server import Answer, ScriptedHttpServer

REPORT = b'{"update_id": "1", "reports": []}'


def callback(url: str, **config: Any) -> Callback:
    return Callback(url=url, config={"method": "post", **config})


async def error_of(reporter: CallbackReporter, url: str, **config: Any) -> ReportError:
    with pytest.raises(ReportError) as caught:
        await reporter.report(REPORT, callback(url, **config))
    return caught.value


@pytest.mark.parametrize("method", ["post", "put", "patch", "get"])
async def test_report_is_the_body_whatever_the_method(
    reporter: CallbackReporter, server: ScriptedHttpServer, method: str
) -> None:
    """The callback names its method; the report is the body, as JSON."""
    await reporter.report(REPORT, callback(server.route("/x"), method=method, data="not this"))
    (request,) = server.requests

    assert (method.upper(), REPORT) == (request.method, request.body)
    assert "application/json" == request.headers["content-type"]


async def test_other_methods_are_for_the_operator_to_allow(
    opened: Callable[..., Any], server: ScriptedHttpServer
) -> None:
    """DELETE delivers nothing, and so is left out unless it is asked for."""
    url = server.route("/x")
    with pytest.raises(ReportError, match="OPAL_CALLBACKS_METHODS") as refused:
        await (await opened()).report(REPORT, callback(url, method="delete"))
    assert not refused.value.again
    await (await opened(methods=("DELETE",))).report(REPORT, callback(url, method="delete"))

    assert ["DELETE"] == [request.method for request in server.requests]


async def test_connection_to_what_is_out_of_bounds_gets_no_byte(
    opened: Callable[..., Any], server: ScriptedHttpServer
) -> None:
    """By name or by address, first or after a redirect; the agent's own addresses are."""
    with ScriptedHttpServer() as own:
        redirecting = server.route("/x", status=307, headers={"Location": own.route("/own")})
        reporter = await opened()
        reporter.avoid([own.url])
        for url in (f"http://localhost:{own.port}/own", f"http://127.0.0.1:{own.port}/own", redirecting):
            with pytest.raises(ReportError, match=r"may not be called.*OPAL_CALLBACKS_ALLOWED") as refused:
                await reporter.report(REPORT, callback(url))
            assert not refused.value.again
        await reporter.report(REPORT, callback(server.route("/fine")))

        assert [] == own.requests


@pytest.mark.parametrize(("allowed", "denied"), [("other.example", ""), ("", "127.0.0.0/8,::1"), ("https:", "")])
async def test_operators_draw_the_bounds(
    opened: Callable[..., Any], server: ScriptedHttpServer, allowed: str, denied: str
) -> None:
    """By host, network or scheme."""
    reporter = await opened(allowed=allowed, denied=denied)
    with pytest.raises(ReportError, match="OPAL_CALLBACKS_"):
        await reporter.report(REPORT, callback(f"http://localhost:{server.port}/x"))

    assert [] == server.requests


async def test_callback_without_a_method_is_a_post(reporter: CallbackReporter, server: ScriptedHttpServer) -> None:
    """The core fills in POST; who leaves it out means it too."""
    await reporter.report(REPORT, Callback(url=server.route("/x"), config={}))

    assert "POST" == server.requests[0].method


async def test_report_carries_the_callbacks_headers(reporter: CallbackReporter, server: ScriptedHttpServer) -> None:
    """Headers of the callback are sent, in place of ours where they have the same name."""
    headers = {"Authorization": "Bearer t", "content-type": "application/vnd.report+json"}
    await reporter.report(REPORT, callback(server.route("/x"), headers=headers))
    (request,) = server.requests

    assert ("Bearer t", "application/vnd.report+json") == (
        request.headers["authorization"],
        request.headers["content-type"],
    )


async def test_user_and_password_of_the_url_are_sent_as_basic(
    reporter: CallbackReporter, server: ScriptedHttpServer
) -> None:
    """What stands before the @ is sent as Basic authentication."""
    server.route("/x")
    await reporter.report(REPORT, callback(f"http://bob:pw@127.0.0.1:{server.port}/x"))

    assert "Basic Ym9iOnB3" == server.requests[0].headers["authorization"]


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_any_2xx_means_taken(reporter: CallbackReporter, server: ScriptedHttpServer, status: int) -> None:
    """2xx is enough; the answer's body does not matter."""
    await reporter.report(REPORT, callback(server.route("/x", status=status)))

    assert 1 == len(server.requests)


@pytest.mark.parametrize(
    ("status", "again"), [(304, False), (400, False), (404, False), (410, False), (408, True), (429, True), (503, True)]
)
async def test_status_says_whether_to_try_again(
    reporter: CallbackReporter,
    server: ScriptedHttpServer,
    status: int,
    again: bool,  # noqa: FBT001 # a column of the table
) -> None:
    """Overload and failures may pass, refusals do not; the error names URL and status."""
    error = await error_of(reporter, server.route("/x", status=status) + "?key=t0ken")

    assert again == error.again
    assert f"POST {server.url}/x?key=*** was answered with {status} " in str(error)


async def test_retry_after_is_passed_on(reporter: CallbackReporter, server: ScriptedHttpServer) -> None:
    """A receiver that asks for a pause gets it."""
    error = await error_of(reporter, server.route("/x", status=429, headers={"Retry-After": "17"}))

    assert 17.0 == error.retry_after_s


@pytest.mark.parametrize("status", [307, 308])
async def test_redirect_that_keeps_the_report_is_followed(
    reporter: CallbackReporter, server: ScriptedHttpServer, status: int
) -> None:
    """307 and 308 carry method, body and headers on."""
    server.route("/there")
    url = server.route("/here", status=status, headers={"Location": "/there"})
    await reporter.report(REPORT, callback(url, headers={"X-Api-Key": "k"}))
    last = server.requests[-1]

    assert ("/there", "POST", REPORT, "k") == (last.path, last.method, last.body, last.headers["x-api-key"])


@pytest.mark.parametrize("status", [301, 302, 303])
async def test_redirect_that_loses_the_report_is_an_error(
    reporter: CallbackReporter, server: ScriptedHttpServer, status: int
) -> None:
    """A redirect that would turn the report into a GET is not taken for a delivery."""
    error = await error_of(reporter, server.route("/here", status=status, headers={"Location": "/there"}))

    assert not error.again
    assert "only redirects with 307 and 308 keep the report" in str(error)
    assert ["/here"] == [request.path for request in server.requests]


async def test_redirect_carries_no_secret_to_another_origin(
    reporter: CallbackReporter, server: ScriptedHttpServer
) -> None:
    """Another origin gets the report, but no header that may hold a secret."""
    with ScriptedHttpServer() as other:
        url = server.route("/here", status=307, headers={"Location": other.route("/there")})
        headers = {"Authorization": "Bearer s3cret", "X-Api-Key": "s3cret", "Cookie": "a=s3cret"}
        await reporter.report(REPORT, callback(url.replace("//", "//bob:s3cret@"), headers=headers))
        (there,) = other.requests

    assert REPORT == there.body
    assert "s3cret" not in repr(there)


async def test_redirects_end(reporter: CallbackReporter, server: ScriptedHttpServer) -> None:
    """A redirect that leads to itself ends, for good."""
    error = await error_of(reporter, server.route("/loop", status=308, headers={"Location": "/loop"}))

    assert not error.again
    assert "redirects more than 5 times" in str(error)


async def test_refused_connection_may_pass(reporter: CallbackReporter) -> None:
    """Nobody listens now; somebody may later."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        error = await error_of(reporter, f"http://127.0.0.1:{unused.getsockname()[1]}/x")

    assert error.again
    assert "can't be reached: Connection refused" in str(error)


async def test_broken_connection_may_pass(reporter: CallbackReporter, server: ScriptedHttpServer) -> None:
    """A connection that breaks before the answer is no refusal."""
    error = await error_of(reporter, server.route("/x", disconnect=True))

    assert error.again


async def test_setting_bounds_the_delivery(opened: Callable[..., Any], server: ScriptedHttpServer) -> None:
    """The peer's timeout counts where the callback names none."""
    error = await error_of(await opened(timeout=0.1), server.route("/x", hold=threading.Event()))

    assert error.again
    assert "gave no answer within 0.1 s" in str(error)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"method": "POST"}, "config.method"),
        ({"timeout": -1}, "config.timeout"),
        ({"headers": {"X-Key": "s3cret\n"}, "method": "post"}, "'X-Key'"),
        ({"headers": {"X-Key": "s3cret\nX: 1"}}, "'X-Key'"),
    ],
)
async def test_wrong_config_names_the_member(
    reporter: CallbackReporter, server: ScriptedHttpServer, config: dict[str, Any], named: str
) -> None:
    """A wrong member is named, is not tried again, and nothing is sent."""
    error = await error_of(reporter, server.route("/x"), **config)

    assert not error.again
    assert named in str(error)
    assert "s3cret" not in str(error)
    assert [] == server.requests


@pytest.mark.parametrize("url", ["", "/x", "ftp://h/x", "http://", "http://[::1/x", "http://h:port/x"])
async def test_url_that_is_none_is_final(reporter: CallbackReporter, url: str) -> None:
    """What is no HTTP URL never becomes one."""
    error = await error_of(reporter, url)

    assert not error.again


async def test_connections_are_used_again(reporter: CallbackReporter, server: ScriptedHttpServer) -> None:
    """One connection serves one delivery after another, refused ones too."""
    url = server.route("/x", Answer(status=503, body="busy"), Answer(status=204), Answer(body="thanks"))
    await error_of(reporter, url)
    for _ in range(3):
        await reporter.report(REPORT, callback(url))

    assert (4, 1) == (len(server.requests), server.connections)


async def test_endless_answer_does_not_hold_up_a_delivery(
    reporter: CallbackReporter, server: ScriptedHttpServer
) -> None:
    """The status says that the report was taken, whatever comes behind it."""
    stop = threading.Event()

    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 10_000

    def dripping() -> Iterator[bytes]:
        while not stop.wait(0.05):
            yield b"x"

    begin = time.monotonic()
    await reporter.report(REPORT, callback(server.route("/endless", chunks=endless)))
    await reporter.report(REPORT, callback(server.route("/dripping", chunks=dripping)))
    stop.set()

    assert time.monotonic() - begin < 5


async def test_answer_that_breaks_off_after_its_status_counts(
    reporter: CallbackReporter, server: ScriptedHttpServer
) -> None:
    """A report that was taken is not delivered twice because the answer's body broke."""
    await reporter.report(REPORT, callback(server.route("/x", chunks=lambda: [b"than"], disconnect=True)))

    assert 1 == len(server.requests)


async def test_settings_name_the_authority(opened: Callable[..., Any], tmp_path: Path) -> None:
    """The peer's two variables together make an authority of one's own trusted; without them it is not."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    cast("Any", authority.issue_cert("127.0.0.1")).configure_cert(context)
    trusting = await opened(self_signed_allowed=True, trusted_ca_file=str(tmp_path / "ca.pem"))
    with ScriptedHttpServer(tls=context) as server:
        url = server.route("/x")
        await trusting.report(REPORT, callback(url))
        error = await error_of(await opened(), url)

    assert error.again
    assert "its certificate is not trusted" in str(error)
