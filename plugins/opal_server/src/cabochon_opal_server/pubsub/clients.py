"""Who is connected: what is known of each connection."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import structlog

from cabochon_opal_server.pubsub.messages import Counted, Progress
from cabochon_opal_server.pubsub.subscriber import Subscriber

log = structlog.get_logger()

__all__ = ["Client", "ClientWatcher", "Clients"]

_CLIENT_ID = "__opal_client_id"
_LONGEST_ID = 255
_SECRET = re.compile(r"token|secret|passw|pwd|key|auth|sig|cred|jwt|session", re.IGNORECASE)
_MASK = "***"


class Client:
    """One connection.

    Attributes:
        channel_id: names the connection.
        query: the query of its request, without what may be a secret.
        client_id: names who is at its other end, as far as it says so: by a query parameter, as the peer's do.
        agent: the name of an agent of ours, "" for anyone else.
        agent_version: what that agent runs.
        holder: whose token it came with.
        name: what it is tracked as: its own name, unless that is another holder's while he is connected.
        statistics: names under which it wants to be counted, with what it says beside each.
    """

    def __init__(
        self,
        subscriber: Subscriber,
        *,
        address: tuple[str, int] | None,
        query: Mapping[str, str],
        agent: str,
        agent_version: str,
        holder: str = "",
    ) -> None:
        self.subscriber = subscriber
        self.channel_id = uuid.uuid4().hex
        self.host, self.port = address or (None, None)
        self.query = {name: _MASK if _SECRET.search(name) else value for name, value in query.items()}
        self.agent = agent
        self.agent_version = agent_version
        self.connected_at = time.time()
        self.statistics: dict[str, Counted] = {}
        if _CLIENT_ID in self.query:
            self.client_id = self.query[_CLIENT_ID][:_LONGEST_ID]
        else:
            self.client_id = f"host:{self.host}:{self.port}" if address else f"opal:{self.channel_id}"
        self.holder = holder
        self.name = self.agent or self.client_id


class ClientWatcher:
    """Is told what clients do; each method is called in the event loop, and returns at once."""

    def subscribed(self, client: Client, topics: Sequence[str], *, resumed: bool) -> None:
        """Take note that a client was subscribed to more topics, or to what it missed and on."""

    def progressed(self, client: Client, progress: Progress) -> None:
        """Take note of how far an agent of ours has come."""

    def left(self, client: Client) -> None:
        """Take note that a client's connection ended, whether it had subscribed or not."""


class Clients:
    """All connections of this server."""

    def __init__(self) -> None:
        self._clients: dict[str, Client] = {}
        # Whose each name is, and by how many connections.
        self._named: dict[str, tuple[str, int]] = {}

    def __iter__(self) -> Iterator[Client]:
        """Go through the connections, oldest first."""
        return iter(tuple(self._clients.values()))

    def __len__(self) -> int:
        """Count the connections."""
        return len(self._clients)

    def add(self, client: Client) -> None:
        """List a client; one whose name is another's while he is connected gets a name of its own beside it."""
        holder, count = self._named.get(client.name, (client.holder, 0))
        if holder != client.holder:
            log.warning("agent.name_taken", agent=client.name, holder=client.holder)
            client.name = f"{client.name} ({client.holder})"
            count = self._named.get(client.name, ("", 0))[1]
        self._named[client.name] = (client.holder, count + 1)
        self._clients[client.channel_id] = client

    def remove(self, client: Client) -> None:
        """List a client no longer."""
        del self._clients[client.channel_id]
        holder, count = self._named.pop(client.name)
        if count > 1:
            self._named[client.name] = (holder, count - 1)

    def described(self) -> dict[str, Any]:
        """Say who is connected, by client id, as the peer's `/pubsub_client_info` does."""
        found: dict[str, Any] = {}
        for client in self:
            one = found.setdefault(
                client.client_id,
                {
                    "client_id": client.client_id,
                    "source_host": client.host,
                    "source_port": client.port,
                    "connect_time": client.connected_at,
                    "subscribed_topics": set[str](),
                    "refcount": 0,
                    "query_params": client.query,
                },
            )
            one["subscribed_topics"] |= client.subscriber.topics
            one["refcount"] += 1
        return {
            name: {**one, "subscribed_topics": sorted(one["subscribed_topics"])} for name, one in sorted(found.items())
        }
