"""Which agents there are, at this server and its siblings, and how far each has come; without I/O."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from msgspec import Struct
from msgspec.structs import replace

from cabochon import LogRecord
from cabochon_opal_server.delivery.agent_state import OURS, PEERS, AgentState
from cabochon_opal_server.delivery.clocks import Unchanged
from cabochon_opal_server.delivery.recent_numbers import RecentNumbers
from cabochon_opal_server.pubsub.clients import Client, ClientWatcher
from cabochon_opal_server.pubsub.messages import Progress

__all__ = ["SILENT_AFTER_S", "Followed", "Known", "ServerState", "Tracker", "key_of"]

SILENT_AFTER_S = 15.0
"""A server that was seen to write nothing for so long is taken to be gone, and its agents with it."""

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


@dataclass(slots=True)
class _OwnAgent:
    """An agent that is, or was last, connected to this server.

    Attributes:
        state: what is known of it.
        channels: its connections, by channel id; none if it is gone.
        begun: ids of those that have subscribed to data before.
        came_from_elsewhere: it resumed here, and what other servers know of it was not looked at since.
    """

    state: AgentState
    channels: dict[str, Client] = field(default_factory=dict[str, Client])
    begun: set[str] = field(default_factory=set[str])
    came_from_elsewhere: bool = False


class Tracker(ClientWatcher):
    """Follows the clients of this server, and is told what the others know.

    Args:
        server: the name of this server.
        hub: whose numbers are meant.
        clock: gives Unix seconds; they are compared with no other server's.
        elapsed: gives seconds, by which the silence of other servers is measured.

    Attributes:
        changed: names of this server's agents whose state is not in the register yet.
        forgotten: names of those that are to leave it.
    """

    def __init__(
        self,
        server: str,
        hub: Followed,
        clock: Callable[[], float],
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self.recent = RecentNumbers()
        self.changed: set[str] = set()
        self.forgotten: set[str] = set()
        self._server = server
        self._hub = hub
        self._clock = clock
        self._started_at = clock()
        self._own: dict[str, _OwnAgent] = {}
        self._others: dict[str, Known] = {}
        self._silence = Unchanged(elapsed)
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
        own = self._arrived(client)
        own.channels[client.channel_id] = client
        agent = own.state
        agent.topics = tuple(sorted(frozenset[str]().union(*(one.subscriber.topics for one in own.channels.values()))))
        agent.last_seen = self._clock()
        data = any(not topic.startswith(_POLICY_PREFIX) for topic in topics)
        if data and not resumed and client.channel_id not in own.begun:
            agent.begin(self._hub.log_id, client.subscriber.number)
        if data:
            own.begun.add(client.channel_id)
        if resumed:
            own.came_from_elsewhere = True
            if agent.log != self._hub.log_id:
                agent.begin(self._hub.log_id, 0)
        self.changed.add(agent.name)

    def _arrived(self, client: Client) -> _OwnAgent:
        name = _name_of(client)
        own = self._own.setdefault(name, _OwnAgent(AgentState(name=name)))
        if not own.channels:
            agent = own.state
            agent.kind = OURS if client.agent else PEERS
            agent.version = client.agent_version
            agent.server = self._server
            agent.connected_at, agent.disconnected_at = self._clock(), None
            self.forgotten.discard(name)
        return own

    def progressed(self, client: Client, progress: Progress) -> None:
        """Take note of how far an agent has come; who has not subscribed has nothing to tell."""
        agent = self.own(_name_of(client))
        if agent is None or agent.disconnected_at is not None or agent.log != self._hub.log_id:
            return
        agent.advance(progress)
        agent.last_seen = self._clock()
        self.changed.add(agent.name)

    def left(self, client: Client) -> None:
        """Take note that a connection ended; an agent may have more of them."""
        own = self._own.get(_name_of(client))
        if own is None:
            return
        own.begun.discard(client.channel_id)
        if own.channels.pop(client.channel_id, None) is None or own.channels:
            return
        own.came_from_elsewhere = False
        self._gone(own.state, self._clock())

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
        for own in list(self._own.values()):
            own.channels.clear()
            if own.state.disconnected_at is None:
                self._gone(own.state, self._clock())

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
        own = self._own.get(name)
        return None if own is None else own.state

    def take(self, agents: Iterable[AgentState], servers: Iterable[ServerState]) -> None:
        """Take over what the register says: of other servers' agents, and of this server's before its last start."""
        running = {server.name: server for server in servers}
        silent = {server.name for server in running.values() if self._silent_s(server) > SILENT_AFTER_S}
        self._silence.keep(set(running))
        self._others = {}
        first, self._remembered = not self._remembered, True
        for agent in agents:
            if agent.server == self._server:
                if first:
                    self._remember(agent, running.get(agent.server))
                continue
            known = _seen_from_afar(agent, running.get(agent.server), is_silent=agent.server in silent)
            best = self._others.get(agent.name)
            if best is None or _rank(known.agent) > _rank(best.agent):
                self._others[agent.name] = known
        for name, own in self._own.items():
            if own.came_from_elsewhere and name in self._others:
                self._go_on_from(self._others[name].agent, own.state)
            own.came_from_elsewhere = False

    def _silent_s(self, server: ServerState) -> float:
        return self._silence.unchanged_s(server.name, (server.started_at, server.seen_at, server.number))

    def _remember(self, agent: AgentState, server: ServerState | None) -> None:
        if agent.name in self._own:
            return
        self._own[agent.name] = _OwnAgent(agent)
        if agent.disconnected_at is None:
            # It was connected when this server was killed.
            self._gone(agent, agent.last_seen if server is None else max(agent.last_seen, server.seen_at))

    def _go_on_from(self, before: AgentState, agent: AgentState) -> None:
        """Go on from what another server knew of an agent that came here with all that it has."""
        if before.log == agent.log and before.connected_at < agent.connected_at and agent.began < before.began:
            agent.began = before.began
        if before.log == agent.log:
            agent.failed = {**before.failed, **agent.failed}
            agent.ended = max(agent.ended, before.ended)
            self.changed.add(agent.name)

    def forget_before(self, at: float) -> None:
        """Forget this server's agents that have not been seen since."""
        for agent in [own.state for own in self._own.values()]:
            if agent.disconnected_at is not None and agent.last_seen < at:
                self._forget(agent.name)

    # ------------------------------------------------------------------------------------------------------ asking

    def agents(self) -> list[Known]:
        """List all agents: those that are connected first, then by name."""
        found = dict(self._others)
        for name, own in self._own.items():
            other = found.get(name)
            if other is None or _rank(own.state) >= _rank(other.agent):
                found[name] = Known(own.state, self._hub.number)
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
    return client.name


def _rank(agent: AgentState) -> tuple[bool, float]:
    return agent.disconnected_at is None, agent.connected_at


def _seen_from_afar(agent: AgentState, server: ServerState | None, *, is_silent: bool) -> Known:
    """Take an agent for gone if its server is, or has been restarted since; only times of one server are compared."""
    told = server.number if server is not None else 0
    if agent.disconnected_at is not None:
        return Known(agent, told)
    if server is None or is_silent or agent.connected_at < server.started_at:
        gone_at = agent.last_seen if server is None else max(agent.last_seen, server.seen_at)
        return Known(replace(agent, disconnected_at=gone_at), told)
    return Known(agent, told)
