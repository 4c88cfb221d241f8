"""The demo's web server: data sources that can be slow or broken, and receivers of reports that can fail."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from threading import Event
from typing import Any

from cabochon.testing.http_server import Answer, RecordedRequest, ScriptedHttpServer
from cabochon_demo.board import Board, Delivery

__all__ = ["RECEIVERS", "Receiver", "Server", "open_server"]

RECEIVERS = ("audit", "billing")

_OK = 204
_DOWN = 503


class Receiver:
    """A callback target; it answers 503 once to the reports on `refuse_once`. Called in the server's threads."""

    def __init__(self, name: str, board: Board) -> None:
        self.name = name
        self.refuse_once: set[str] = set()
        self._board = board

    def __call__(self, request: RecordedRequest) -> Answer:
        """Take a report."""
        try:
            report = request.json()
        except ValueError:  # it was cut off: the demo ends
            return Answer(status=400)
        update_id: str = report["update_id"] or "policies"
        status = _DOWN if update_id in self.refuse_once else _OK
        self.refuse_once.discard(update_id)
        self._board.deliveries.append(
            Delivery(
                receiver=self.name,
                update_id=update_id,
                follow_up=bool(report["user_data"].get("follow_up")),
                saved=all(entry["saved"] for entry in report["reports"]),
                status=status,
                at=time.monotonic(),
            )
        )
        return Answer(status=status)


class Server:
    """Data sources and receivers on 127.0.0.1."""

    def __init__(self, http: ScriptedHttpServer, board: Board) -> None:
        self._http = http
        self._board = board
        self.receivers = {name: Receiver(name, board) for name in RECEIVERS}
        self.callbacks = {name: http.route(f"/callbacks/{name}", receiver) for name, receiver in self.receivers.items()}

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._http.url

    @property
    def fetches(self) -> int:
        """How many documents were asked for so far."""
        return sum(request.method == "GET" for request in list(self._http.requests))

    def serve(self, path: str, document: Any, *, fail_times: int = 0) -> str:  # noqa: ANN401 - any JSON
        """Serve a document, after so many failures, and return its URL."""
        return self._http.route(path, json=document, fail_times=fail_times)

    def serve_held(self, path: str, document: Any) -> tuple[str, Event]:  # noqa: ANN401 - any JSON
        """Serve a document only once the event is set; return its URL and the event."""
        released = Event()
        return self._http.route(path, json=document, hold=released), released

    def accepted(self, update_id: str, receiver: str, *, follow_up: bool = False) -> list[Delivery]:
        """Return the deliveries of an update's report that a receiver took."""
        return [
            one
            for one in list(self._board.deliveries)
            if (one.update_id, one.receiver, one.follow_up) == (update_id, receiver, follow_up) and one.accepted
        ]

    def refused(self, update_id: str, receiver: str) -> list[Delivery]:
        """Return the tries to deliver an update's report that a receiver did not take."""
        return [
            one
            for one in list(self._board.deliveries)
            if (one.update_id, one.receiver) == (update_id, receiver) and not one.accepted
        ]


@contextmanager
def open_server(board: Board) -> Generator[Server]:
    """Listen until left."""
    with ScriptedHttpServer() as http:
        board.server = http.url
        yield Server(http, board)
