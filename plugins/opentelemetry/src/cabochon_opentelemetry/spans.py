"""From what the agent recorded to spans: a span for each update, below it its fetches, its commit, its reports.

Names of spans are few, what differs is in attributes: OpenTelemetry's semantic conventions where they have one
(`url.full`, `error.type`), else `cabochon.` and the word that OPAL's users know.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    set_span_in_context,
)
from opentelemetry.trace import Tracer as SpanMaker
from opentelemetry.util.types import AttributeValue

from cabochon.contract.tracing import EntryTrace, Period, PolicyTrace, ReportTrace, Tracer, UpdateTrace
from cabochon_opentelemetry.trace_ids import ChosenIds, links_to, trace_id_of

__all__ = ["SpanTracer"]

_REMEMBERED = 10_000
_PATHS_SHOWN = 32
_NOWHERE = Context()


class SpanTracer(Tracer):
    """Makes spans of traces, each when what it is about has ended.

    Args:
        spans: OpenTelemetry's tracer, of a provider that takes its ids from `ids`.
        ids: decides which trace the next root span begins.
        policy_store: the name of the store in use.
    """

    def __init__(self, spans: SpanMaker, ids: ChosenIds, *, policy_store: str) -> None:
        self._spans = spans
        self._ids = ids
        self._policy_store = policy_store
        self._roots: OrderedDict[str, SpanContext] = OrderedDict()

    def update_ended(self, trace: UpdateTrace) -> None:
        """Make `data.update`, with a `fetch` for each entry that was fetched, and `commit`."""
        links = [link for entry in trace.entries for link in links_to(entry.traceparent)]
        root = self._root(trace.update_id, "data.update", trace.period, _of_update(trace), links)
        if root.is_recording():
            for entry in trace.entries:
                if entry.fetch is not None:
                    self._fetch(root, entry, entry.fetch)
                if entry.error:
                    failed = _of_entry(entry) | {"cabochon.error": entry.error}
                    root.add_event("entry.failed", failed, _ns(trace.period.ended))
            if trace.commit is not None:
                refused = "; ".join(one.error for one in trace.entries if one.fetched and one.error)
                attributes = {"cabochon.commit.updates": trace.group_size}
                self._commit(root, trace.commit, attributes, refused)
        _end(root, trace.period, trace.error)

    def policy_ended(self, trace: PolicyTrace) -> None:
        """Make `policy.update` with `fetch` and, if the bundle was there, `commit`."""
        attributes: dict[str, AttributeValue] = {"cabochon.policies": trace.policies}
        if trace.policy_hash is not None:
            attributes["cabochon.policy_hash"] = trace.policy_hash
        period = Period(trace.fetch.began, (trace.commit or trace.fetch).ended)
        root = self._root(_subject(None, trace.policy_hash), "policy.update", period, attributes)
        if root.is_recording():
            failed = trace.error if trace.commit is None else ""
            _end(self._below(root, "fetch", SpanKind.CLIENT, trace.fetch, {}), trace.fetch, failed)
            if trace.commit is not None:
                self._commit(root, trace.commit, {}, trace.error)
        _end(root, period, trace.error)

    def report_ended(self, trace: ReportTrace) -> None:
        """Make `report`, below the span of what it is about while that is remembered, else beside it."""
        subject = _subject(trace.update_id, trace.policy_hash)
        attributes: dict[str, AttributeValue] = {"url.full": trace.url, "cabochon.attempts": trace.attempts}
        about = self._roots.get(subject or "")
        if about is not None:
            span = self._below(NonRecordingSpan(about), "report", SpanKind.CLIENT, trace.period, attributes)
        else:
            span = self._begin(subject, "report", SpanKind.CLIENT, trace.period, attributes)
        _end(span, trace.period, trace.error)

    # ------------------------------------------------------------------------------------------------------- how

    def _fetch(self, root: Span, entry: EntryTrace, period: Period) -> None:
        attributes = _of_entry(entry)
        if entry.url:
            attributes["url.full"] = entry.url
        failed = "" if entry.fetched else entry.error
        _end(self._below(root, "fetch", SpanKind.CLIENT, period, attributes), period, failed)

    def _commit(self, root: Span, period: Period, attributes: Mapping[str, AttributeValue], error: str) -> None:
        told = {"cabochon.policy_store": self._policy_store, **attributes}
        _end(self._below(root, "commit", SpanKind.CLIENT, period, told), period, error)

    def _root(
        self,
        subject: str | None,
        name: str,
        period: Period,
        attributes: dict[str, AttributeValue],
        links: list[Link] | None = None,
    ) -> Span:
        attributes["cabochon.policy_store"] = self._policy_store
        root = self._begin(subject, name, SpanKind.CONSUMER, period, attributes, links)
        if subject is not None:
            self._roots[subject] = root.get_span_context()
            self._roots.move_to_end(subject)
            if len(self._roots) > _REMEMBERED:
                self._roots.popitem(last=False)
        return root

    def _begin(
        self,
        subject: str | None,
        name: str,
        kind: SpanKind,
        period: Period,
        attributes: Mapping[str, AttributeValue],
        links: list[Link] | None = None,
    ) -> Span:
        self._ids.next_trace_id = None if subject is None else trace_id_of(subject)
        return self._spans.start_span(name, _NOWHERE, kind, attributes, links, _ns(period.began))

    def _below(
        self, parent: Span, name: str, kind: SpanKind, period: Period, attributes: Mapping[str, AttributeValue]
    ) -> Span:
        context = set_span_in_context(parent, _NOWHERE)
        return self._spans.start_span(name, context, kind, attributes, start_time=_ns(period.began))


def _subject(update_id: str | None, policy_hash: str | None) -> str | None:
    """Name what a trace is about; a hash of policies is no update's id, even if it looks like one."""
    if update_id is not None:
        return update_id
    return None if policy_hash is None else f"policy {policy_hash}"


def _of_update(trace: UpdateTrace) -> dict[str, AttributeValue]:
    return {
        "cabochon.update.id": trace.update_id,
        "cabochon.update.kind": trace.kind,
        "cabochon.update.number": trace.number,
        "cabochon.update.entries": len(trace.entries),
        "cabochon.update.dst_paths": [entry.dst_path for entry in trace.entries[:_PATHS_SHOWN]],
        "cabochon.update.topics": sorted({topic for entry in trace.entries for topic in entry.topics}),
        "cabochon.update.fetched": all(entry.fetched for entry in trace.entries),
        "cabochon.update.saved": all(entry.saved for entry in trace.entries),
        "cabochon.transaction.success": not trace.error,
    }


def _of_entry(entry: EntryTrace) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {
        "cabochon.dst_path": entry.dst_path,
        "cabochon.save_method": entry.save_method,
        "cabochon.fetched": entry.fetched,
        "cabochon.saved": entry.saved,
    }
    if entry.size_bytes is not None:
        attributes["cabochon.size"] = entry.size_bytes
    return attributes


def _end(span: Span, period: Period, error: str) -> None:
    if error:
        span.set_status(Status(StatusCode.ERROR, error))
    span.end(_ns(period.ended))


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
