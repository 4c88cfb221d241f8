"""How the scripted server misbehaves: what it does to a request, to a WebSocket's upgrade, and to end a session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from random import Random
from typing import TypeVar

__all__ = ["Ending", "Faults", "HttpFault", "Plan", "UpgradeFault"]

T = TypeVar("T")

_BAD_REQUESTS = 0.2
_BAD_UPGRADES = 0.15
_IN_A_ROW = 3


class HttpFault(Enum):
    """What becomes of a request."""

    ERROR = auto()
    """Answered with 500 or 503."""
    RESET = auto()
    """The connection is reset in place of an answer."""
    HALF = auto()
    """Half of the body, then the end."""
    NO_JSON = auto()
    """200 with something that can't be parsed."""
    SLOW = auto()
    """The right answer of that moment, late."""
    HANG = auto()
    """No answer for longer than a fetch may take, then the end."""


class UpgradeFault(Enum):
    """What becomes of the upgrade to a WebSocket."""

    FORBIDDEN = auto()
    UNAVAILABLE = auto()
    RESET = auto()
    HALF = auto()
    """Half of the answer, then the end."""
    LATE = auto()
    """Accepted, late."""
    MUTE = auto()
    """Accepted; then no call is answered, and the connection is reset."""


class Ending(Enum):
    """How a session ends."""

    CLOSE = auto()
    """With the closing handshake."""
    END = auto()
    """TCP ends without one."""
    RESET = auto()
    HALF_FRAME = auto()
    """Half of an update, then TCP ends."""
    HALF_FRAME_RESET = auto()
    GARBAGE = auto()
    """Bytes that are no frame."""
    SILENCE = auto()
    """Nothing is read or sent any more, until the agent takes the server for gone."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to become of a session: it lasts so many seconds from the upgrade on, and ends so."""

    lasts_s: float
    ending: Ending


class Faults:
    """Chooses what goes wrong; nothing does while it is not `on`.

    The agent waits longer after each connection that fails or lives for less than two seconds. So that it does not
    spend the time of the test on that, a few of those are followed by one that lives long enough.
    """

    def __init__(self, chance: Random) -> None:
        self.on = False
        self._chance = chance
        self._short = 0

    def let_live(self) -> None:
        """Let the next connection live long enough, whatever it was before."""
        self._short = _IN_A_ROW

    def request(self) -> HttpFault | None:
        """Choose for a request."""
        return self._one_of(tuple(HttpFault), (6, 4, 3, 2, 8, 1), _BAD_REQUESTS)

    def upgrade(self) -> UpgradeFault | None:
        """Choose for an upgrade."""
        if self._short >= _IN_A_ROW:
            return None
        fault = self._one_of(tuple(UpgradeFault), (3, 2, 2, 2, 2, 1), _BAD_UPGRADES)
        self._short += fault is not None and fault is not UpgradeFault.LATE
        return fault

    def session(self) -> Plan | None:
        """Choose for a session; None lets it live."""
        ending = self._one_of(tuple(Ending), (6, 4, 5, 4, 4, 2, 1), 1.0)
        if self._short >= _IN_A_ROW:
            self._short, lasts_s = 0, self._chance.uniform(2.05, 2.2)
        else:
            self._short, lasts_s = self._short + 1, self._chance.uniform(0.0, 0.3)
        return None if ending is None else Plan(lasts_s, ending)

    def seconds(self, at_most: float) -> float:
        """Choose how long something takes."""
        return self._chance.uniform(0.05, at_most)

    def _one_of(self, faults: Sequence[T], weights: Sequence[int], share: float) -> T | None:
        if not self.on or self._chance.random() >= share:
            return None
        return self._chance.choices(faults, weights)[0]
