"""What this plugin offers: the update source `opal`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager

from cabochon import UpdateSource, UpdateSourceType, hookimpl
from cabochon_opal_source.settings import OpalSourceSettings

__all__ = ["cabochon_update_sources"]


def open_opal_source(settings: OpalSourceSettings) -> AbstractAsyncContextManager[UpdateSource]:
    """Open the source; the HTTP and WebSocket clients are imported only now."""
    from cabochon_opal_source.source import OpalUpdateSource  # noqa: PLC0415

    return OpalUpdateSource.open(settings)


@hookimpl
def cabochon_update_sources() -> Iterator[UpdateSourceType]:
    """Offer `opal`."""
    yield UpdateSourceType(
        name="opal",
        summary="Data updates, base data and policies from an OPAL server",
        open=open_opal_source,
        settings=OpalSourceSettings,
        usual=True,
    )
