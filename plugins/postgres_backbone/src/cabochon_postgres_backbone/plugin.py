"""What this plugin offers: the backbone `postgres`."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager

from cabochon import Backbone, BackboneType, hookimpl
from cabochon_postgres_backbone.settings import PostgresBackboneSettings


def open_postgres(settings: PostgresBackboneSettings, url: str) -> AbstractAsyncContextManager[Backbone]:
    """Open the log; the client is imported only now."""
    from cabochon_postgres_backbone.log import open_postgres_log  # noqa: PLC0415

    return open_postgres_log(settings, url)


@hookimpl
def cabochon_backbones() -> Iterable[BackboneType]:
    """Offer the backbone `postgres`."""
    yield BackboneType(
        name="postgres",
        summary="The update log of several servers, in PostgreSQL",
        open=open_postgres,
        schemes=("postgres", "postgresql"),
        settings=PostgresBackboneSettings,
    )
