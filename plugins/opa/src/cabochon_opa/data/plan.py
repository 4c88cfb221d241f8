"""What one `PATCH /v1/data` carries: operations, and which change each of them serves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cabochon.errors import StoreRejectedError
from cabochon.transactions.changes import DataChange
from cabochon.transactions.commit_result import Blame
from cabochon_opa.data.pointers import pointer_json

__all__ = ["Place", "Plan", "RefusedChange"]


class RefusedChange(Exception):  # noqa: N818 - it carries the error
    """A change can't be put into operations: `error` says why, `place` which; None if another commit could do it."""

    def __init__(self, error: StoreRejectedError, place: Blame | None) -> None:
        super().__init__(str(error))
        self.error = error
        self.place = place


@dataclass(frozen=True, slots=True)
class Place:
    """A change, and where in the commit it stands."""

    blame: Blame
    change: DataChange


@dataclass(slots=True)
class Plan:
    """Operations as JSON.

    Attributes:
        operations: in order.
        places: which change each of them serves, None where it serves the store itself.
        new_parents: parents that are made on the way.
    """

    operations: list[bytes] = field(default_factory=list[bytes])
    places: list[Place | None] = field(default_factory=list["Place | None"])
    new_parents: set[tuple[str, ...]] = field(default_factory=set[tuple[str, ...]])

    def add(self, place: Place | None, path: Sequence[str], raw: bytes) -> int:
        """Add a member, or an element before that index; return the operation's number."""
        return self._put(place, b'{"op":"add","path":', path, raw)

    def replace(self, place: Place | None, path: Sequence[str], raw: bytes) -> int:
        """Replace what has to be there; return the operation's number."""
        return self._put(place, b'{"op":"replace","path":', path, raw)

    def remove(self, place: Place | None, path: Sequence[str]) -> int:
        """Remove what has to be there; return the operation's number."""
        self.operations.append(b'{"op":"remove","path":' + pointer_json(path) + b"}")
        self.places.append(place)
        return len(self.operations) - 1

    def _put(self, place: Place | None, head: bytes, path: Sequence[str], raw: bytes) -> int:
        self.operations.append(b"".join((head, pointer_json(path), b',"value":', raw, b"}")))
        self.places.append(place)
        return len(self.operations) - 1

    def drop(self, number: int) -> None:
        """Leave an operation out; the numbers of the others stay."""
        self.operations[number] = b""

    def sealed(self) -> Plan:
        """Return the plan without the operations that were dropped."""
        kept = [number for number, operation in enumerate(self.operations) if operation]
        operations, places = self.operations, self.places
        return Plan([operations[number] for number in kept], [places[number] for number in kept], self.new_parents)

    def body(self, *, first: int | None = None, then: bytes | None = None) -> bytes:
        """Write the operations, or the `first` of them, as the body of a PATCH; `then` is one more."""
        operations = self.operations if first is None else self.operations[:first]
        pieces = [b"["]
        for operation in operations if then is None else [*operations, then]:
            pieces += (operation, b",")
        # One join: each more would copy all of it, and an operation may hold a large document.
        pieces[-1] = b"]" if len(pieces) > 1 else b"[]"
        return b"".join(pieces)
