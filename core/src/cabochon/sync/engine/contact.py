"""Whether the engine answers, and when it is to be asked again if it does not."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar

import anyio
import structlog

from cabochon.backoff import Backoff
from cabochon.contract.metrics import Metrics
from cabochon.errors import StoreUnavailableError

__all__ = ["Away", "Contact", "Here", "NotMet"]

log = structlog.get_logger()

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0
"""An engine that is back is noticed within this time."""


@dataclass(frozen=True, slots=True)
class NotMet:
    """It has not been asked yet."""

    why: ClassVar = StoreUnavailableError("the policy store has not answered yet")
    tries: ClassVar = 0
    next_try_at: ClassVar = 0.0


@dataclass(frozen=True, slots=True)
class Away:
    """It does not answer.

    Attributes:
        why: what became of the last question, or commit.
        tries: how often it has been asked in vain since it went away.
        next_try_at: when it is to be asked again, in seconds of the event loop's clock.
    """

    why: StoreUnavailableError
    tries: int
    next_try_at: float


@dataclass(frozen=True, slots=True)
class Here:
    """It answers, and has been filled."""


class Contact:
    """The contact to one engine, from one answer, or lack of one, to the next; `random` is where the jitter comes from.

    Attributes:
        state: how it stands.
        looked_at: when the engine was last seen to hold our state, in seconds of the event loop's clock.
    """

    def __init__(self, random: Random, metrics: Metrics) -> None:
        self._backoff = Backoff(first_s=_FIRST_PAUSE_S, longest_s=_LONGEST_PAUSE_S, random=random)
        self._metrics = metrics
        self.state: NotMet | Away | Here = NotMet()
        self.looked_at = 0.0

    @property
    def away(self) -> bool:
        """Whether the engine does not answer, as far as is known."""
        return not isinstance(self.state, Here)

    @property
    def why_away(self) -> StoreUnavailableError:
        """Why a write is put off: what became of the last question."""
        return NotMet.why if isinstance(self.state, Here) else self.state.why

    def next_try_in_s(self) -> float:
        """Seconds until the engine is to be asked again."""
        return 0.0 if isinstance(self.state, Here) else max(0.0, self.state.next_try_at - anyio.current_time())

    def held(self) -> None:
        """Take note that the engine was seen to hold our state."""
        self.looked_at = anyio.current_time()

    def filled(self, *, anew: bool) -> None:
        """Take note that the engine holds what it should; `anew`: everything was written again."""
        if self.away:
            log.info("engine.filled", documents_restored=anew)
        self.state = Here()

    def lost(self, why: Exception, *, asked_at: float | None = None) -> None:
        """Take note that the engine does not answer.

        Args:
            why: what became of the question.
            asked_at: when a question began that was asked to find out; None if it went away from its work.
        """
        match self.state:
            case NotMet():
                log.warning("engine.not_there", error=_text(why))
            case Here():
                self._metrics.count("engine.lost")
                log.warning("engine.lost", error=_text(why))
            case Away():
                pass
        tries = 0 if asked_at is None else 1 + (0 if isinstance(self.state, Here) else self.state.tries)
        # What a question took counts as part of the pause: an engine that is back is not left waiting.
        began = anyio.current_time() if asked_at is None else asked_at
        error = StoreUnavailableError(f"the policy store is not available: {_text(why)}")
        self.state = Away(error, tries, began + self._backoff.wait_s(max(1, tries)))


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__
