"""What this plugin offers: the callback reporter for HTTP callbacks."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager

from cabochon.contract.callback_reporter import CallbackReporter, CallbackReporterType
from cabochon.contract.hookspecs import hookimpl
from cabochon_callbacks.settings import CallbacksSettings


def open_http_reporter(settings: CallbacksSettings) -> AbstractAsyncContextManager[CallbackReporter]:
    """Open the reporter; the HTTP client is imported only now."""
    from cabochon_callbacks.reporter import HttpCallbackReporter  # noqa: PLC0415

    return HttpCallbackReporter.open(settings)


@hookimpl
def cabochon_callback_reporters() -> Iterable[CallbackReporterType]:
    """Offer the reporter `http`."""
    yield CallbackReporterType(
        name="http",
        summary="Reports to callbacks over HTTP and HTTPS",
        open=open_http_reporter,
        schemes=("http", "https"),
        settings=CallbacksSettings,
    )
