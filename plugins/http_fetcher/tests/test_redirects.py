"""Redirects: followed up to a limit, and no secret is carried to another origin."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from yarl import URL

from cabochon.contract.fetcher import Fetcher
from cabochon.errors import FetchError, FetchStatusError
from cabochon.testing.http_server import Answer, RecordedRequest, ScriptedHttpServer
from cabochon_http_fetcher.request import Request, redirected
from cabochon_http_fetcher.settings import HttpFetcherSettings

SECRETS = {"Authorization": "Bearer s3cret", "X-Api-Key": "s3cret", "Cookie": "session=s3cret"}


@pytest.fixture
def other() -> Iterator[ScriptedHttpServer]:
    """Another origin: the same host, another port."""
    with ScriptedHttpServer() as other:
        yield other


def leads_to(location: str, status: int = 302) -> Answer:
    return Answer(status=status, headers={"Location": location})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_followed(fetcher: Fetcher, server: ScriptedHttpServer, status: int) -> None:
    """Every kind of redirect leads on, relative ones too."""
    server.route("/b/there", json={"a": 1})

    assert b'{"a": 1}' == await fetcher.fetch(server.route("/b/here", leads_to("there", status)), {})


@pytest.mark.parametrize(
    ("status", "method", "followed"),
    [
        (301, "post", ("GET", b"")),
        (302, "post", ("GET", b"")),
        (303, "post", ("GET", b"")),
        (303, "put", ("GET", b"")),
        (302, "put", ("PUT", b'"x"')),
        (307, "post", ("POST", b'"x"')),
        (308, "patch", ("PATCH", b'"x"')),
    ],
)
async def test_redirect_keeps_or_drops_the_body(
    fetcher: Fetcher, server: ScriptedHttpServer, status: int, method: str, followed: tuple[str, bytes]
) -> None:
    """307 and 308 repeat the request; 303 asks for another, and so do 301 and 302 after a POST."""
    server.route("/there", json={})
    config = {"method": method, "data": '"x"', "headers": {"Content-Type": "application/json"}}
    await fetcher.fetch(server.route("/here", leads_to("/there", status)), config)
    last = server.requests[-1]

    assert followed == (last.method, last.body)
    assert bool(followed[1]) == ("content-type" in last.headers)


async def test_redirect_carries_the_headers_within_its_origin(fetcher: Fetcher, server: ScriptedHttpServer) -> None:
    """The same origin gets all headers again, and what the URL's user and password made."""
    server.route("/there", json={})
    server.route("/here", leads_to("/there"))
    await fetcher.fetch(f"http://bob:pw@127.0.0.1:{server.port}/here", {"headers": {"X-Api-Key": "k"}})
    last = server.requests[-1]

    assert ("k", "Basic Ym9iOnB3") == (last.headers["x-api-key"], last.headers["authorization"])


@pytest.mark.parametrize("status", [302, 307])
async def test_redirect_carries_no_secret_to_another_origin(
    fetcher: Fetcher, server: ScriptedHttpServer, other: ScriptedHttpServer, status: int
) -> None:
    """Another origin gets neither Authorization nor any header that the entry made up, and not on the way back."""
    back: list[RecordedRequest] = []

    def home(request: RecordedRequest) -> Answer:
        back.append(request)
        return Answer(json={})

    server.route("/home", home)
    other.route("/there", leads_to(f"{server.url}/home", status))
    server.route("/here", leads_to(f"{other.url}/there", status))
    url = f"http://bob:s3cret@127.0.0.1:{server.port}/here"
    await fetcher.fetch(url, {"headers": {"Accept": "text/x", "X-Api-Key": "s3cret", "Cookie": "session=s3cret"}})
    (there,) = other.requests

    assert ["text/x", "text/x"] == [request.headers["accept"] for request in (there, *back)]
    assert not any("s3cret" in repr(request) for request in (there, *back))
    assert f"127.0.0.1:{other.port}" == there.headers["host"]


@pytest.mark.parametrize(
    ("start", "location", "carried"),
    [
        ("http://h/a", "/b", True),
        ("http://h/a", "http://h:80/b", True),
        ("http://h/a", "https://h/b", True),
        ("https://h/a", "http://h/b", False),
        ("http://h:8080/a", "https://h/b", False),
        ("https://h/a", "https://h:8443/b", False),
        ("https://h/a", "https://sub.h/b", False),
        ("https://h/a", "//other/b", False),
    ],
)
def test_origin_is_scheme_host_and_port(start: str, location: str, carried: bool) -> None:  # noqa: FBT001 # a table
    """Only the same origin counts, or the same host made safer."""
    request = Request("GET", URL(start), tuple(SECRETS.items()))
    following = redirected(request, 302, location)

    assert following is not None
    assert [carried] * 3 == [name in dict(following.headers) for name in SECRETS]


async def test_redirects_end_at_the_limit(fetcher: Fetcher, server: ScriptedHttpServer) -> None:
    """A redirect that leads to itself ends after so many steps, for good."""
    url = server.route("/loop", leads_to("/loop"))
    with pytest.raises(FetchError, match="redirects more than 3 times") as caught:
        await fetcher.fetch(url, {"max_redirects": 3})

    assert not caught.value.again
    assert 4 == len(server.requests)


async def test_redirect_may_be_refused(fetcher: Fetcher, server: ScriptedHttpServer) -> None:
    """With `follow_redirects` false a redirect is an answer that is no document."""
    url = server.route("/here", leads_to("/there"))
    with pytest.raises(FetchStatusError, match="302 Found") as caught:
        await fetcher.fetch(url, {"follow_redirects": False})

    assert not caught.value.again


@pytest.mark.parametrize("location", ["file:///etc/passwd", "gopher://127.0.0.1/", "http://[::1", "http://h:x/"])
async def test_redirect_leads_to_http_only(fetcher: Fetcher, server: ScriptedHttpServer, location: str) -> None:
    """A redirect to something else than an HTTP URL is not followed."""
    with pytest.raises(FetchError, match="redirects to what is no HTTP URL"):
        await fetcher.fetch(server.route("/here", leads_to(location)), {})


async def test_redirect_without_a_location_is_an_answer(fetcher: Fetcher, server: ScriptedHttpServer) -> None:
    """3xx that leads nowhere is an error of its status."""
    with pytest.raises(FetchStatusError, match="300 Multiple Choices"):
        await fetcher.fetch(server.route("/here", status=300), {})


async def test_redirects_do_not_prolong_the_timeout(opened: Any, server: ScriptedHttpServer) -> None:  # noqa: ANN401
    """The timeout is for all steps together."""
    fetcher = await opened(timeout=timedelta(seconds=0.3))
    url = server.route("/slow", Answer(status=302, headers={"Location": "/slow"}, delay_s=0.12))
    with pytest.raises(FetchError, match=r"within 0\.3 s"):
        await fetcher.fetch(url, {})


def test_settings_limit_redirects_as_the_peer_does() -> None:
    """Ten, as in the client that the peer uses."""
    assert 10 == HttpFetcherSettings().max_redirects
