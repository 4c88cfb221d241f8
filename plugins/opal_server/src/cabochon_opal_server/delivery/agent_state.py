"""What is known of one agent, and what that says of an update; pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, NamedTuple

from msgspec import Struct, field

from cabochon_opal_server.pubsub.messages import Progress

__all__ = ["OURS", "PEERS", "AgentState", "Standing", "State", "standing"]

Kind = Literal["cabochon", "opal-client"]
OURS: Kind = "cabochon"
PEERS: Kind = "opal-client"

_MOST_ABOVE = 10_000
_MOST_FAILED = 200
_LONGEST_REASON = 300


class State(StrEnum):
    """What became of an update at an agent.

    `SENT` is all that can be known of OPAL's clients: they do not say how far they are.
    """

    HAS = "has"
    LATE = "late"
    FAILED = "failed"
    SENT = "sent"


class Standing(NamedTuple):
    """The state of an update at an agent, and why; the reason is "" where the state says all."""

    state: State
    why: str = ""


# size: a document: each field is a member of the JSON that the register keeps
class AgentState(Struct, kw_only=True, omit_defaults=True):
    """What is known of an agent; it is kept as JSON in the register of the backbone.

    Attributes:
        name: as the agent gives it; for OPAL's clients what they are called in `/pubsub_client_info`.
        kind: whose agent it is.
        version: what it runs, "" if it does not say.
        server: the server that it is or was connected to.
        log: the log that all numbers here are of.
        connected_at: when it came, in Unix seconds.
        disconnected_at: when it went; None while it is connected.
        last_seen: when it was heard of last.
        topics: what it is subscribed to.
        began: the number at which it subscribed afresh: older updates came with its base data.
        ended: every update up to this number has ended there.
        above: higher numbers that have ended too.
        failed: why updates that ended are not in force, by number; the newest of them.
        policy_hash, ready, healthy: as it said last; None if it does not say.
    """

    name: str
    kind: Kind = OURS
    version: str = ""
    server: str = ""
    log: str = ""
    connected_at: float = 0.0
    disconnected_at: float | None = None
    last_seen: float = 0.0
    topics: tuple[str, ...] = ()
    began: int = 0
    ended: int = 0
    above: set[int] = field(default_factory=set[int])
    failed: dict[int, str] = field(default_factory=dict[int, str])
    policy_hash: str | None = None
    ready: bool | None = None
    healthy: bool | None = None

    def begin(self, log: str, number: int) -> None:
        """Take note that it subscribed afresh at this number: what it said before counts no longer."""
        self.log, self.began = log, number
        self.ended = number
        self.above.clear()
        self.failed.clear()

    def advance(self, progress: Progress) -> None:
        """Take note of how far it has come; word of one connection that comes after word of a newer does no harm.

        A failure stays until the agent takes it back, with an empty reason.
        """
        self.ended = max(self.ended, progress.ended)
        above = self.above.union(progress.above)
        self.above = {number for number in sorted(above)[:_MOST_ABOVE] if number > self.ended}
        for number, why in progress.failed.items():
            if why:
                self.failed[number] = why[:_LONGEST_REASON]
            else:
                self.failed.pop(number, None)
        for number in sorted(self.failed)[:-_MOST_FAILED]:
            del self.failed[number]
        self.policy_hash = self.policy_hash if progress.policy_hash is None else progress.policy_hash
        self.ready = self.ready if progress.ready is None else progress.ready
        self.healthy = self.healthy if progress.healthy is None else progress.healthy


def standing(agent: AgentState, number: int, *, told: int, superseded_by: int | None = None) -> Standing:
    """Say what became of an update at an agent that it was meant for.

    Args:
        agent: with numbers of the log that the update is in.
        number: the update's.
        told: the last number that the agent's server has passed on.
        superseded_by: the later update that made this one needless, if there is one.
    """
    if number <= agent.began:
        loaded = agent.ready is not False
        return Standing(State.HAS, "by base data") if loaded else Standing(State.LATE, "its base data is not loaded")
    if number in agent.failed and superseded_by is None:
        return Standing(State.FAILED, agent.failed[number])
    if number <= agent.ended or number in agent.above:
        return Standing(State.HAS)
    if superseded_by is not None:
        return Standing(State.HAS, f"superseded by {superseded_by}")
    return _on_its_way(agent, number, told)


def _on_its_way(agent: AgentState, number: int, told: int) -> Standing:
    if agent.disconnected_at is not None:
        return Standing(State.LATE, "not connected")
    if number > told:
        return Standing(State.LATE, "its server has not passed it on yet")
    if agent.kind == PEERS:
        return Standing(State.SENT, "OPAL's clients do not say how far they are")
    return Standing(State.LATE, "sent, and not ended yet")
