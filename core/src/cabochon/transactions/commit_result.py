"""What became of a commit, write by write."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from cabochon.errors import StoreRejectedError
from cabochon.transactions.changes import Changes

__all__ = ["STATE", "Applied", "Blame", "CommitResult", "Outcome", "Refused", "Unknown"]


class Applied(Struct, frozen=True):
    """The write is in force."""


class Refused(Struct, frozen=True):
    """The engine refuses the write, and would again; nothing of it is in force."""

    error: StoreRejectedError


class Unknown(Struct, frozen=True):
    """The answer was lost: the write may be in force, or be so in a moment. The core clears it up."""

    error: Exception


Outcome: TypeAlias = Applied | Refused | Unknown


STATE = -1
"""In `Blame.write`: the guilty change is one of the listeners'."""


class Blame(Struct, frozen=True):
    """Which change made an engine refuse an atomic commit: `Changes.writes[write].changes[change]`."""

    write: int
    change: int


class CommitResult(Struct, frozen=True):
    """What became of each write of a commit.

    Attributes:
        outcomes: one for each of `Changes.writes`.
        state: what became of `Changes.state`, and with it of the guard. An engine that takes the data and then refuses
            what a listener adds (a policy, say) may say so: every outcome `Applied`, `state` `Refused`. The data count
            as applied then and are not written again, the marker is what the guard leaves, the listener is found
            (`blame` helps), named and taken out of service, and the state is written again without it. One write
            `Applied` is enough for the marker to be the new one; of a refused commit that has no writes the core reads
            the marker back.
        version: the engine's own version token after the commit (revision, model id, ZedToken), None if it has none.
        blame: for a commit refused as a whole, or a refused `state`, the guilty change if the engine says; the core
            then lands the rest. Without it the core splits the commit until it finds it.
    """

    outcomes: tuple[Outcome, ...]
    version: str | None = None
    blame: Blame | None = None
    state: Outcome = Applied()

    @property
    def landed(self) -> bool:
        """Whether all of it is in force."""
        return type(self.state) is Applied and all(type(outcome) is Applied for outcome in self.outcomes)

    @property
    def data_landed(self) -> bool:
        """Whether every write is in force, whatever became of the listeners' changes."""
        return all(type(outcome) is Applied for outcome in self.outcomes)

    @property
    def in_doubt(self) -> bool:
        """Whether some of it may or may not be in force."""
        return type(self.state) is Unknown or any(type(outcome) is Unknown for outcome in self.outcomes)

    @property
    def refusal(self) -> StoreRejectedError | None:
        """The first refusal, None if nothing was refused."""
        for outcome in (*self.outcomes, self.state):
            if isinstance(outcome, Refused):
                return outcome.error
        return None

    @classmethod
    def applied(cls, changes: Changes, *, version: str | None = None) -> CommitResult:
        """Everything landed."""
        return cls((_APPLIED,) * len(changes.writes), version)

    @classmethod
    def refused(cls, changes: Changes, error: StoreRejectedError, *, blame: Blame | None = None) -> CommitResult:
        """An atomic commit was refused: nothing landed."""
        refused = Refused(error)
        return cls((refused,) * len(changes.writes), blame=blame, state=refused)

    @classmethod
    def unknown(cls, changes: Changes, error: Exception) -> CommitResult:
        """The answer was lost: everything may have landed, or nothing."""
        unknown = Unknown(error)
        return cls((unknown,) * len(changes.writes), state=unknown)


_APPLIED = Applied()
