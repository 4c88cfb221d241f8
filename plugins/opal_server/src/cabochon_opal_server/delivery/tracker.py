"""Which agents there are, at this server and its siblings, and how far each has come; without I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct
from msgspec.structs import replace

from cabochon import LogRecord
from cabochon_opal_server.delivery.agent_state import OURS, PEERS, AgentState
from cabochon_opal_server.delivery.recent_numbers import RecentNumbers
from cabochon_opal_server.pubsub.clients import Client, ClientWatcher
from cabochon_opal_server.pubsub.messages import Progress

__all__ = ["SILENT_AFTER_S", "Followed", "Known", "ServerState", "Tracker", "key_of"]

SILENT_AFTER_S = 15.0
"""A server that has not written its state for so long is taken to be gone, and its agents with it."""

_POLICY_PREFIX = "policy:"


class Followed(Protocol):
    """What is followed: the hub."""

    @property
    def log_id(self) -> str:
        """The identity of the log."""
        ...

    number: int


class ServerState(Struct, kw_only=True):
    """What servers tell each other of themselves.

    Attributes:
        name: unique among the servers of a backbone; the same after a restart.
        started_at, seen_at: Unix seconds.
        number: the last number of the log that it has passed on.
    """

    name: str
    started_at: float
    seen_at: float
    number: int = 0


class Known(NamedTuple):
    """An agent, with the last number that its server has passed on."""

    agent: AgentState
    told: int


class Tracker(ClientWatcher):
    """Follows the clients of this server, and is told what the others know.

    Args:
        server: the name of this server.
        hub: whose numbers are meant.
        clock: gives Unix seconds.

    Attributes:
        changed: names of this server's agents whose state is not in the register yet.
        forgotten: names of those that are to leave it.
    """

    def __init__(self, server: str, hub: Followed, clock: Callable[[], float]) -> None:
        self.recent = RecentNumbers()
        self.changed: set[str] = set()
        self.forgotten: set[str] = set()
        self._server = server
        self._hub = hub
        self._clock = clock
        self._started_at = clock()
        self._own: dict[str, AgentState] = {}
        self._channels: dict[str, dict[str, Client]] = {}
        self._begun: set[str] = set()
        self._came_from_elsewhere: set[str] = set()
        self._others: dict[str, Known] = {}
        self._remembered = False

    # ------------------------------------------------------------------------------------------ what the hub says

    def began(self, number: int) -> None:
        """Take note that the hub follows from this number on."""
        self.recent.begin(number)

    def passed_on(self, record: LogRecord) -> None:
        """Take note of a record that was given to subscribers."""
        self.recent.add(record)

    # --------------------------------------------------------------------------------------- what connections say

    def subscribed(self, client: Client, topics: Sequence[str], *, resumed: bool) -> None:
        """Take note of an agent's topics; unless it resumed, what is older comes with its base data."""
        name = _name_of(client)
        channels = self._channels.setdefault(name, {})
        agent = self._arrived(client) if not channels else self._own[name]
        channels[client.channel_id] = client
        agent.topics = tuple(sorted(frozenset[str]().union(*(one.subscriber.topics for one in channels.values()))))
        agent.last_seen = self._clock()
        data = any(not topic.startswith(_POLICY_PREFIX) for topic in topics)
        if data and not resumed and client.channel_id not in self._begun:
            agent.begin(self._hub.log_id, client.subscriber.number)
        if data:
            self._begun.add(client.channel_id)
        if resumed:
            self._came_from_elsewhere.add(name)
            if agent.log != self._hub.log_id:
                agent.begin(self._hub.log_id, 0)
        self.changed.add(name)

    def _arrived(self, client: Client) -> AgentState:
        name = _name_of(client)
        agent = self._own.get(name)
        if agent is None:
            agent = self._own[name] = AgentState(name=name)
        agent.kind = OURS if client.agent else PEERS
        agent.version = client.agent_version
        agent.server = self._server
        agent.connected_at, agent.disconnected_at = self._clock(), None
        self.forgotten.discard(name)
        return agent

    def progressed(self, client: Client, progress: Progress) -> None:
        """Take note of how far an agent has come; who has not subscribed has nothing to tell."""
        agent = self._own.get(_name_of(client))
        if agent is None or agent.disconnected_at is not None or agent.log != self._hub.log_id:
            return
        agent.advance(progress)
        agent.last_seen = self._clock()
        self.changed.add(agent.name)

    def left(self, client: Client) -> None:
        """Take note that a connection ended; an agent may have more of them."""
        self._begun.discard(client.channel_id)
        name = _name_of(client)
        channels = self._channels.get(name, {})
        if channels.pop(client.channel_id, None) is None or channels:
            return
        del self._channels[name]
        self._came_from_elsewhere.discard(name)
        self._gone(self._own[name], self._clock())

    def _gone(self, agent: AgentState, at: float) -> None:
        if agent.kind == PEERS:
            # The next connection has another name: nobody will ever know whether it is the same client.
            self._forget(agent.name)
        else:
            agent.disconnected_at = agent.last_seen = at
            self.changed.add(agent.name)

    def _forget(self, name: str) -> None:
        del self._own[name]
        self.changed.discard(name)
        self.forgotten.add(name)

    def stop(self) -> None:
        """Take note that this server ends, and with it every connection."""
        self._channels.clear()
        for agent in [one for one in self._own.values() if one.disconnected_at is None]:
            self._gone(agent, self._clock())

    # ---------------------------------------------------------------------------------------- what others have written

    def state(self) -> ServerState:
        """Return what this server tells the others of itself."""
        return ServerState(
            name=self._server, started_at=self._started_at, seen_at=self._clock(), number=self._hub.number
        )

    def key_of(self, name: str) -> str:
        """Return the key of the document of one of this server's agents."""
        return key_of(self._server, name)

    def own(self, name: str) -> AgentState | None:
        """Return the state of an agent that is, or was last, connected to this server."""
        return self._own.get(name)

    def take(self, agents: Iterable[AgentState], servers: Iterable[ServerState]) -> None:
        """Take over what the register says: of other servers' agents, and of this server's before its last start."""
        running = {server.name: server for server in servers}
        self._others = {}
        first, self._remembered = not self._remembered, True
        for agent in agents:
            if agent.server == self._server:
                if first:
                    self._remember(agent, running.get(agent.server))
                continue
            known = _seen_from_afar(agent, running.get(agent.server), self._clock())
            best = self._others.get(agent.name)
            if best is None or _rank(known.agent) > _rank(best.agent):
                self._others[agent.name] = known
        for name in self._came_from_elsewhere & self._others.keys():
            self._adopt(self._own[name], self._others[name].agent)
        self._came_from_elsewhere.clear()

    def _remember(self, agent: AgentState, server: ServerState | None) -> None:
        if agent.name in self._own:
            return
        self._own[agent.name] = agent
        if agent.disconnected_at is None:
            # It was connected when this server was killed.
            self._gone(agent, agent.last_seen if server is None else max(agent.last_seen, server.seen_at))

    def _adopt(self, agent: AgentState, before: AgentState) -> None:
        """Go on from what another server knew of an agent that came here with all that it has."""
        if before.log == agent.log and before.connected_at < agent.connected_at and agent.began < before.began:
            agent.began = before.began
        if before.log == agent.log:
            agent.failed = {**before.failed, **agent.failed}
            agent.ended = max(agent.ended, before.ended)
            self.changed.add(agent.name)

    def forget_before(self, at: float) -> None:
        """Forget this server's agents that have not been seen since."""
        for agent in [one for one in self._own.values() if one.disconnected_at is not None]:
            if agent.last_seen < at:
                self._forget(agent.name)

    # ------------------------------------------------------------------------------------------------------ asking

    def agents(self) -> list[Known]:
        """List all agents: those that are connected first, then by name."""
        found = dict(self._others)
        for name, agent in self._own.items():
            other = found.get(name)
            if other is None or _rank(agent) >= _rank(other.agent):
                found[name] = Known(agent, self._hub.number)
        known = [Known(self._of_this_log(agent), told) for agent, told in found.values()]
        return sorted(known, key=lambda one: (one.agent.disconnected_at is not None, one.agent.name))

    def _of_this_log(self, agent: AgentState) -> AgentState:
        """Leave out numbers of another log: they mean nothing."""
        if agent.log == self._hub.log_id:
            return agent
        return replace(agent, log=self._hub.log_id, began=0, ended=0, above=set(), failed={})


def key_of(server: str, name: str) -> str:
    """Return the key of an agent's document in the register."""
    return f"agent {server} {name}"


def _name_of(client: Client) -> str:
    return client.agent or client.client_id


def _rank(agent: AgentState) -> tuple[bool, float]:
    return agent.disconnected_at is None, agent.connected_at


def _seen_from_afar(agent: AgentState, server: ServerState | None, now: float) -> Known:
    """Take an agent for gone if its server is, or has been restarted since."""
    told = server.number if server is not None else 0
    if agent.disconnected_at is not None:
        return Known(agent, told)
    if server is None or now - server.seen_at > SILENT_AFTER_S or agent.connected_at < server.started_at:
        gone_at = agent.last_seen if server is None else max(agent.last_seen, min(server.seen_at, now))
        return Known(replace(agent, disconnected_at=gone_at), told)
    return Known(agent, told)
