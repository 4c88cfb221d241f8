"""How to retry, in the peer's words."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from cabochon.settings.model import Seconds

__all__ = ["NO_TIME", "ConnRetryOptions"]


NO_TIME = timedelta(0)


_MINUTE = timedelta(minutes=1)


class ConnRetryOptions(BaseModel):
    """How to retry, with the peer's names and defaults: what a JSON value leaves out is taken from here.

    Every wait is cut by up to a half at random, so that many agents spread out.

    Attributes:
        wait_strategy: the same wait each time ("fixed"), or twice as long each time (both others).
        wait_time: the wait, or the first of them.
        attempts: tries in all.
        max_wait: no wait is longer; None for no limit.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    wait_strategy: Literal["fixed", "exponential", "random_exponential"] = "fixed"
    wait_time: Annotated[Seconds, Field(ge=NO_TIME)] = timedelta(seconds=2)
    attempts: Annotated[int, Field(ge=1)] = 2
    max_wait: Annotated[Seconds, Field(ge=NO_TIME)] | None = None

    @property
    def longest_wait(self) -> timedelta:
        """No wait between two tries is longer than this; a minute where nothing else is said."""
        if self.wait_strategy == "fixed":
            return self.wait_time
        return self.max_wait if self.max_wait is not None else _MINUTE
