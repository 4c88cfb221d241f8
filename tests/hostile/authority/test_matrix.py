"""Who may do what: every route and every call of the WebSocket with every kind of token, as the threat model has it.

MATRIX=write pytest tests/hostile/authority/test_matrix.py writes the table into the page.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from .programs import Program, agent, server
from .tokens import KEYS, MASTER, bearer, token

PAGE = Path(__file__).parents[3] / "docs/explanation/threat-model.md"
BEGIN, END = "<!-- the matrix: written by tests/hostile/authority/test_matrix.py -->\n\n", "\n<!-- its end -->"

TOPIC = {"permitted_topics": ["users"]}
SCOPE = {"allowed_scopes": ["blue"]}
HOLDERS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "client": ("client", {}),
    "client, topic": ("client", TOPIC),
    "client, scope": ("client", SCOPE),
    "listener": ("listener", {}),
    "data source": ("datasource", {}),
    "data source, topic": ("datasource", TOPIC),
    "data source, scope": ("datasource", SCOPE),
    "data source, both": ("datasource", TOPIC | SCOPE),
}


class Try(NamedTuple):
    """One thing to do: an HTTP request, or a call over /ws."""

    name: str
    path: str
    body: Any = None
    method: str = ""


def entries(*topics: str) -> Any:  # noqa: ANN401 - JSON
    return {"entries": [{"url": "", "dst_path": "/x", "data": 1, "topics": list(topics)}]}


def scope(name: str) -> Any:  # noqa: ANN401 - JSON
    auth = {"auth_type": "none"}
    return {"scope_id": name, "policy": {"url": "http://127.0.0.1:1/none", "auth": auth}, "data": {"entries": []}}


def http(method: str, path: str, body: Any = None, *, at: str = "", note: str = "") -> Try:  # noqa: ANN401 - JSON
    return Try(f"`{method} {path}`{note}", at or path, body, method)


def of_scopes(name: str) -> list[Try]:
    def at(path: str) -> str:
        return path.replace("{scope_id}", name)

    one = "/scopes/{scope_id}"
    note = f", scope {name}"
    return [
        http("PUT", "/scopes", scope(name), note=note),
        http("GET", one, at=at(one), note=note),
        http("POST", f"{one}/refresh", at=at(f"{one}/refresh"), note=note),
        http("GET", f"{one}/policy", at=at(f"{one}/policy"), note=note),
        http("GET", f"{one}/data", at=at(f"{one}/data"), note=note),
        http("POST", f"{one}/data/update", entries("users"), at=at(f"{one}/data/update"), note=f"{note}, topic users"),
        http("POST", f"{one}/data/update", entries("ads"), at=at(f"{one}/data/update"), note=f"{note}, topic ads"),
        http("DELETE", one, at=at(one), note=note),
    ]


TOPICS = ("users", "ads", "blue:data:users", "green:data:users")
SERVER: list[Try] = [
    *(http("GET", path) for path in ("/healthcheck", "/.well-known/jwks.json", "/policy-data")),
    *(http("POST", "/data/config", entries(topic), note=f", topic {topic}") for topic in TOPICS),
    http("GET", "/data/config"),
    http("POST", "/data/callback_report", {"update_id": "1", "reports": []}),
    http("GET", "/policy"),
    http("GET", "/updates/{id}", at="/updates/1"),
    *(http("GET", path) for path in ("/agents", "/pubsub_client_info", "/statistics", "/stats")),
    http("POST", "/token", {}),
    http("POST", "/webhook", {}, note=" without its secret"),
    http("GET", "/scopes"),
    http("POST", "/scopes/refresh"),
    *of_scopes("blue"),
    *of_scopes("green"),
]
CALLS: list[Try] = [
    *(Try(f"`{name}`", name, {}) for name in ("ping", "_ping_", "_get_channel_id_", "unsubscribe")),
    *(Try(f"`subscribe`, topic {topic}", "subscribe", {"topics": [topic]}) for topic in TOPICS),
    *(Try(f"`publish`, topic {topic}", "publish", {"topics": [topic], "data": {}}) for topic in TOPICS),
    Try("`publish` of statistics", "publish", {"topics": ["__opal_stats_add"], "data": {"client_id": "x"}}),
    Try("`progress`", "progress", {"ended": 0}),
]
AGENT: list[Try] = [
    *(http("GET", path) for path in ("/", "/healthcheck", "/healthy", "/ready")),
    *(http(method, "/v1/data/system/opal") for method in ("GET", "POST")),
    *(http(method, "/v1/data/system/opal/{member}", at="/v1/data/system/opal/ready") for method in ("GET", "POST")),
    *(http("POST", f"/{half}-updater/trigger") for half in ("policy", "data")),
    http("GET", "/callbacks"),
    http("POST", "/callbacks", {"key": "k", "url": "http://127.0.0.1:1"}),
    *(http(method, "/callbacks/{key}", at="/callbacks/k") for method in ("GET", "DELETE")),
    http("GET", "/opal-server/connectivity"),
    *(http("POST", f"/opal-server/connectivity/{way}") for way in ("disable", "enable")),
]


def asked(program: Program, tries: Iterable[Try], headers: Mapping[str, str]) -> list[bool]:
    with httpx.Client(base_url=program.url, headers=dict(headers), trust_env=False) as client:
        return [client.request(one.method, one.path, json=one.body).status_code not in {401, 403} for one in tries]


def called(program: Program, headers: Mapping[str, str]) -> list[bool]:
    try:
        with connect(f"ws://127.0.0.1:{program.port}/ws", additional_headers=dict(headers), proxy=None) as socket:
            return [answer(socket, one) not in {False, None} for one in CALLS]
    except InvalidStatus:
        return [False] * len(CALLS)


def answer(socket: ClientConnection, one: Try) -> Any:  # noqa: ANN401 - whatever the call gives
    call_id = uuid.uuid4().hex
    call = {"method": one.path, "arguments": one.body, "call_id": call_id}
    socket.send(json.dumps({"request": call, "response": None}))
    while True:
        message = json.loads(socket.recv(timeout=20))
        if message.get("response") and message["response"]["call_id"] == call_id:
            return repr(message["response"]["result"]) if message["response"]["result"] not in {False, None} else None


def table(title: str, tries: Iterable[Try], columns: Mapping[str, list[bool]]) -> str:
    lines = [f"| {title} | {' | '.join(columns)} |", f"| --- |{' --- |' * len(columns)}"]
    for index, one in enumerate(tries):
        cells = " | ".join("yes" if column[index] else "no" for column in columns.values())
        lines.append(f"| {one.name} | {cells} |")
    return "\n".join(lines)


def assert_all_tried(program: Program, tries: Iterable[Try]) -> None:
    paths = httpx.get(f"{program.url}/openapi.json", trust_env=False).json()["paths"]
    known = {"get", "post", "put", "delete"}
    described = {f"`{method.upper()} {path}`" for path, item in paths.items() for method in item if method in known}
    assert set() == described - {one.name.rpartition("`")[0] + "`" for one in tries}


def test_every_route_and_call_lets_in_whom_the_threat_model_names(tmp_path: Path) -> None:
    """
    What it says is what a server and an agent do, route by route, for tokens with and without limits.
    """
    more = {"OPAL_SCOPES": "true", "OPAL_STATISTICS_ENABLED": "true", "OPAL_POLICY_REPO_WEBHOOK_SECRET": "s"}
    with server(tmp_path, **KEYS, **more) as ours:
        holders = {name: bearer(token(ours, kind, **claims)) for name, (kind, claims) in HOLDERS.items()}
        expired = bearer(token(ours, "datasource", ttl=-10))
        holders = {"nothing": {}, **holders, "expired": expired, "master token": bearer(MASTER)}
        own = {
            "OPAL_AUTH_PUBLIC_KEY": KEYS["OPAL_AUTH_PUBLIC_KEY"],
            "OPAL_CLIENT_TOKEN": token(ours, "client"),
            "OPAL_POLICY_STORE_TYPE": "MOCK",
        }
        with agent(tmp_path, ours, "", **own) as one:
            assert_all_tried(ours, SERVER)
            assert_all_tried(one, AGENT)
            found = "\n\n".join(
                [
                    table("the server", SERVER, {name: asked(ours, SERVER, who) for name, who in holders.items()}),
                    table("over `/ws`", CALLS, {name: called(ours, who) for name, who in holders.items()}),
                    table("an agent", AGENT, {name: asked(one, AGENT, who) for name, who in holders.items()}),
                ]
            )
    page = PAGE.read_text("utf-8")
    before, _, rest = page.partition(BEGIN)
    written, _, after = rest.partition(END)
    if os.environ.get("MATRIX") == "write":
        PAGE.write_text(f"{before}{BEGIN}{found}\n{END}{after}", "utf-8")
        return
    assert found.splitlines() == written.rstrip("\n").splitlines()
