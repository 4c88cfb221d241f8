"""Which trace an update belongs to: the same on every agent, without anyone having told them."""

from __future__ import annotations

import hashlib
import uuid

from opentelemetry.context import Context
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Link, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

__all__ = ["ChosenIds", "links_to", "trace_id_of"]


def trace_id_of(subject: str) -> int:
    """Return the trace id, 128 bits, of what has this name.

    A UUID, such as OPAL gives to its updates, is the trace id itself: paste an update's id into the search of a
    tracing tool. Any other name is hashed.

    Example:
        >>> format(trace_id_of("0af76519-16cd-43dd-8448-eb211c80319c"), "032x")
        '0af7651916cd43dd8448eb211c80319c'
    """
    try:
        number = uuid.UUID(subject).int
    except ValueError:
        number = 0
    # All zeros is the one number that is no trace id (W3C Trace Context).
    return number or int.from_bytes(hashlib.sha256(subject.encode("utf-8", "surrogatepass")).digest()[:16], "big")


class ChosenIds(RandomIdGenerator):
    """Gives the next trace the id that is chosen for it; those of spans are random."""

    def __init__(self) -> None:
        self.next_trace_id: int | None = None

    def generate_trace_id(self) -> int:
        """Return the chosen id once, a random one if none is chosen."""
        chosen, self.next_trace_id = self.next_trace_id, None
        return super().generate_trace_id() if chosen is None else chosen

    def is_trace_id_random(self) -> bool:
        """Tell samplers that ids come from outside."""
        return False


def links_to(traceparent: str | None) -> list[Link]:
    """Return a link to the span that a W3C `traceparent` header names; none if it is malformed."""
    if traceparent is None:
        return []
    # A context of its own: what is malformed must not lead to whatever span the process is in.
    found = TraceContextTextMapPropagator().extract({"traceparent": traceparent}, Context())
    context = get_current_span(found).get_span_context()
    return [Link(context)] if context.is_valid else []
