"""A server that means harm: what it repeats costs the agent's log a count."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from cabochon.testing.real_engine import free_port
from cabochon_opa.testing import RealOpa

from ..authority.programs import Program, agent  # noqa: TID252 - a neighbour's
from .watching import until

FLOOD_S = 15.0
LOGGED_BYTES = 500_000


def test_flood_of_empty_messages_is_counted(tmp_path: Path, opa: RealOpa) -> None:
    """
    Hundreds of thousands: some lines say how they are wrong, one says how many there were.
    """
    sent = 0

    def flood(connection: ServerConnection) -> None:
        nonlocal sent
        end = time.monotonic() + FLOOD_S
        with suppress(ConnectionClosed):
            while time.monotonic() < end:
                connection.send("")
                sent += 1

    port = free_port()
    with serve(flood, "127.0.0.1", port, compression=None) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        theirs = cast("Program", SimpleNamespace(url=f"http://127.0.0.1:{port}"))
        with agent(tmp_path, theirs, opa.url) as one:
            until(lambda: bool(one.lines("log.repeated")))
            assert sent > 1_000
            assert one.log.stat().st_size < LOGGED_BYTES
