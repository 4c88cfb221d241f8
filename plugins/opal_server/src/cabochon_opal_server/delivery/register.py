"""The register of agents in the backbone: what each server knows of its agents, for all of them and for its next start.

There is a document for each agent and server, so that no server overwrites what another knows, and one for each server.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping

import anyio
import anyio.abc
import msgspec
import structlog

from cabochon import Backbone, BackboneError
from cabochon_opal_server.delivery.agent_state import AgentState
from cabochon_opal_server.delivery.tracker import ServerState, Tracker, key_of

__all__ = ["Register"]

log = structlog.get_logger()

_EVERY_S = 1.0
_SERVER_EVERY_S = 5.0
_AT_ONCE = 500
_LAST_WRITE_S = 2.0


class Register:
    """Writes what the tracker knows, and reads what the trackers of other servers do.

    Args:
        tracker: of this server.
        retention_s: agents that were not seen for so many seconds are forgotten.
        clock: gives Unix seconds.
        sleep: waits between two writes.
    """

    def __init__(
        self,
        backbone: Backbone,
        tracker: Tracker,
        *,
        retention_s: float,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._backbone = backbone
        self._tracker = tracker
        self._retention_s = retention_s
        self._clock = clock
        self._sleep = sleep
        self._reading = anyio.Lock()
        self._read_at = float("-inf")
        self._server_written = ServerState(name="", started_at=0.0, seen_at=float("-inf"))
        self._failing = False

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Write about once a second, until cancelled; then say once more that this server and its agents are gone."""
        await self.refresh()
        task_status.started()
        try:
            while True:
                await self.write()
                await self._sleep(_EVERY_S)
        finally:
            with anyio.move_on_after(_LAST_WRITE_S, shield=True):
                self._tracker.stop()
                await self.write(last=True)

    async def refresh(self) -> None:
        """Read what other servers wrote, at most once a second; what was read last stays if the backbone is away."""
        async with self._reading:
            if self._clock() - self._read_at < _EVERY_S:
                return
            try:
                await self._take(await self._backbone.documents())
            except BackboneError as err:
                log.warning("agents.not_read", error=str(err))
                return
            self._read_at = self._clock()

    async def _take(self, documents: Mapping[str, bytes]) -> None:
        agents: list[AgentState] = []
        servers: list[ServerState] = []
        old: list[str] = []
        oldest = self._clock() - self._retention_s
        for key, document in documents.items():
            try:
                if key.startswith("server "):
                    servers.append(msgspec.json.decode(document, type=ServerState))
                    seen = servers[-1].seen_at
                elif key.startswith("agent "):
                    agent = msgspec.json.decode(document, type=AgentState)
                    agents.append(agent)
                    seen = agent.last_seen if agent.disconnected_at is not None else self._clock()
                else:
                    continue  # it is another room's
            except msgspec.MsgspecError:
                # Of another version: it goes.
                seen = float("-inf")
            if seen < oldest:
                old.append(key)
        alive = {server.name for server in servers if server.seen_at >= oldest}
        # Agents of a server that was killed long ago are not connected, whatever it wrote last.
        old += [_key(one) for one in agents if one.server not in alive and one.last_seen < oldest]
        if old:
            await self._backbone.forget_documents(sorted(set(old)))
        self._tracker.take((one for one in agents if _key(one) not in old), servers)

    async def write(self, *, last: bool = False) -> None:
        """Write what changed; what can't be written now is written later."""
        tracker = self._tracker
        tracker.forget_before(self._clock() - self._retention_s)
        changed, tracker.changed = tracker.changed, set()
        forgotten, tracker.forgotten = tracker.forgotten, set()
        try:
            await self._save(sorted(changed), last=last)
            if forgotten:
                await self._backbone.forget_documents([tracker.key_of(name) for name in sorted(forgotten)])
        except BackboneError as err:
            tracker.changed |= {name for name in changed if tracker.own(name) is not None}
            tracker.forgotten |= {name for name in forgotten if tracker.own(name) is None}
            if not self._failing:
                log.warning("agents.not_saved", agents=len(changed), error=str(err))
            self._failing = True
        else:
            self._failing = False

    async def _save(self, changed: list[str], *, last: bool) -> None:
        documents: dict[str, bytes] = {}
        server = self._tracker.state()
        before = self._server_written
        if last:
            await self._backbone.forget_documents([f"server {server.name}"])
        elif server.number != before.number or server.seen_at - before.seen_at >= _SERVER_EVERY_S:
            documents[f"server {server.name}"] = msgspec.json.encode(server)
        for name in changed:
            agent = self._tracker.own(name)
            if agent is not None:
                documents[_key(agent)] = msgspec.json.encode(agent)
            if len(documents) == _AT_ONCE:
                await self._backbone.save_documents(documents)
                documents = {}
        if documents:
            await self._backbone.save_documents(documents)
        self._server_written = server


def _key(agent: AgentState) -> str:
    return key_of(agent.server, agent.name)
