"""What a browser sends for a web page of elsewhere, and for one that has rebound its name, to real processes."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import TypeAlias

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from cabochon_opa.testing import RealOpa

from .programs import Program, agent, server

Headers: TypeAlias = dict[str, str]

UPDATE = json.dumps({"entries": [{"url": "", "dst_path": "/owned", "data": {"admin": "mallory"}}]})
FREE = {"/", "/docs", "/healthcheck", "/healthy", "/ready", "/.well-known/jwks.json"}


def foreign(port: int) -> Headers:
    """What a browser sends with a page's POST, or GET by script, to another origin."""
    del port
    return {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}


def embedded(port: int) -> Headers:
    """What it sends for an image or a script."""
    del port
    return {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"}


def sandboxed(port: int) -> Headers:
    """What it sends from a frame without an origin."""
    del port
    return {"Origin": "null"}


def rebound(port: int) -> Headers:
    """What it sends where the page's own name leads here: it thinks it speaks to the page's own server."""
    return {"Host": f"evil.example:{port}", "Origin": f"http://evil.example:{port}"}


def rebound_reading(port: int) -> Headers:
    """The same with GET: no origin, and nothing of Sec-Fetch, which is for trustworthy names."""
    return {"Host": f"evil.example:{port}"}


PAGES = (foreign, embedded, sandboxed, rebound, rebound_reading)


def operations(http: httpx.Client) -> list[tuple[str, str]]:
    """List what a server or agent says it can do."""
    paths = http.get("/openapi.json").json()["paths"]
    known = {"get", "post", "put", "delete"}
    found = [(method, path) for path, item in paths.items() for method in item if method in known]
    return [(method, path.replace("{", "").replace("}", "")) for method, path in found if path not in FREE]


def assert_kept_out(program: Program) -> None:
    with httpx.Client(base_url=program.url, trust_env=False) as http:
        listed = operations(http)
        assert len(listed) > 5
        for method, path in [*listed, ("get", "/nowhere"), ("options", listed[0][1])]:
            for page in PAGES:
                # Who refuses does not read the body, and closes: no other request may wait behind it.
                headers = {**page(program.port), "Connection": "close"}
                answer = http.request(method, path, headers=headers, content=UPDATE)
                assert 403 == answer.status_code, (method, path, page.__name__)
                assert not [name for name in answer.headers if name.startswith("access-control")]
        for path in ("/healthcheck", "/docs"):
            cors = http.get(path, headers={**foreign(program.port), "Cookie": "a=b"}).headers
            assert ("*", None) == (cors["access-control-allow-origin"], cors.get("access-control-allow-credentials"))


def test_server_keeps_pages_out_of_every_route(tmp_path: Path) -> None:
    """
    Nothing is published, by any content type; programs with and without one are served as ever.
    """
    with server(tmp_path, OPAL_SCOPES="true") as ours, httpx.Client(base_url=ours.url, trust_env=False) as http:
        assert_kept_out(ours)
        assert 404 == http.get("/updates/1").status_code

        for kind in ("text/plain", "application/x-www-form-urlencoded"):
            assert 422 == http.post("/data/config", content=UPDATE, headers={"Content-Type": kind}).status_code
        assert 404 == http.get("/updates/1").status_code
        assert 200 == http.post("/data/config", content=UPDATE).status_code
        assert 200 == http.post("/data/config", json=json.loads(UPDATE)).status_code
        assert 1 <= len(ours.lines("page.refused")) < 10


def test_server_opens_no_websocket_for_a_page(tmp_path: Path) -> None:
    """
    Not even where a name was rebound; programs without an origin, or with the address they speak to, are let in.
    """
    with server(tmp_path) as ours:
        url = f"ws://127.0.0.1:{ours.port}/ws"
        for page in PAGES:
            headers = page(ours.port)
            host = headers.pop("Host", None)
            target = url if host is None else f"ws://{host}/ws"
            with (
                socket.create_connection(("127.0.0.1", ours.port)) as to_us,
                pytest.raises(InvalidStatus) as refused,
                connect(target, sock=to_us, additional_headers=headers, proxy=None),
            ):
                pass
            assert 403 == refused.value.response.status_code
        for headers in ({}, {"Origin": f"http://127.0.0.1:{ours.port}"}):
            with connect(url, additional_headers=headers, proxy=None):
                pass


def test_agent_keeps_pages_out_of_every_route(tmp_path: Path, opa: RealOpa) -> None:
    """
    The store's token, the register of callbacks, the triggers: none of them for a page.
    """
    secret = {"OPAL_POLICY_STORE_AUTH_TYPE": "token", "OPAL_POLICY_STORE_AUTH_TOKEN": "opa-secret"}
    with server(tmp_path) as ours, agent(tmp_path, ours, opa.url, **secret) as one:
        assert_kept_out(one)
        with httpx.Client(base_url=one.url, trust_env=False) as http:
            assert "opa-secret" in http.get("/policy-store/config").text
            entry = {"url": "http://127.0.0.1:1/x"}
            text = {"Content-Type": "text/plain"}
            assert 422 == http.post("/callbacks", content=json.dumps(entry), headers=text).status_code
            assert 200 == http.post("/callbacks", json=entry).status_code


def test_pages_and_names_that_are_allowed_get_through(tmp_path: Path) -> None:
    """
    With credentials then, as a console of one's own needs them.
    """
    page = "https://console.example"
    with server(tmp_path, OPAL_ALLOWED_ORIGINS=page, OPAL_ALLOWED_HOSTS="opal.example") as ours:
        headers = {"Origin": page, "Host": "opal.example", "Sec-Fetch-Site": "cross-site"}
        answer = httpx.get(f"{ours.url}/data/config", headers=headers)
        assert (200, page, "true") == (
            answer.status_code,
            answer.headers["access-control-allow-origin"],
            answer.headers["access-control-allow-credentials"],
        )
        assert 403 == httpx.get(f"{ours.url}/data/config", headers=foreign(0)).status_code
