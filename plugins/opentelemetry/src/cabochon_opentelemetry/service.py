"""Tracing for as long as the agent runs: OpenTelemetry's SDK, set up as its own variables say, and put away again."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from threading import Thread

import anyio
import structlog
from anyio.to_thread import run_sync
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from cabochon import AgentContext, ConfigurationError
from cabochon import __version__ as version_of_agent
from cabochon_opentelemetry import __version__
from cabochon_opentelemetry.spans import SpanTracer
from cabochon_opentelemetry.trace_ids import ChosenIds

__all__ = ["tracing"]

log = structlog.get_logger()

_LAST_SPANS_S = 1.0


@asynccontextmanager
async def tracing(agent: AgentContext) -> AsyncGenerator[None]:
    """Send a trace of whatever ends inside this block; leaving it sends what is left, for a second at most.

    Raises:
        ConfigurationError: an `OTEL_` variable that the SDK does not put up with.
    """
    ids = ChosenIds()
    try:
        provider = TracerProvider(resource=_resource(), shutdown_on_exit=False, id_generator=ids)
        exporter = OTLPSpanExporter()
        provider.add_span_processor(BatchSpanProcessor(exporter))
    except ValueError as err:
        raise ConfigurationError(f"a variable of OpenTelemetry (OTEL_...) is wrong: {err}") from err
    tracer = SpanTracer(provider.get_tracer("cabochon", __version__), ids, policy_store=agent.policy_store_type)
    try:
        with agent.traces.sent_to(tracer):
            yield
    finally:
        with anyio.CancelScope(shield=True):
            await _put_away(provider, exporter)


def _resource() -> Resource:
    resource = Resource.create({SERVICE_VERSION: version_of_agent})
    if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: "cabochon-agent"}))
    return resource


async def _put_away(provider: TracerProvider, exporter: OTLPSpanExporter) -> None:
    # A daemon: the SDK waits up to 30 s for a collector that hangs, and neither we nor the process's end may.
    closing = Thread(target=provider.shutdown, name="opentelemetry-shutdown", daemon=True)
    closing.start()
    await run_sync(closing.join, _LAST_SPANS_S)
    if closing.is_alive():
        # It would try again for a minute, in a thread of the SDK's own.
        await run_sync(exporter.shutdown)
        log.warning("traces.dropped", why="the collector did not take the last ones in time", waited_s=_LAST_SPANS_S)
