"""The registration of the log in SQLite."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from cabochon import Backbone, BackboneType
from cabochon_opal_server.log.settings import SqliteLogSettings

__all__ = ["SQLITE"]


def _opened(settings: SqliteLogSettings, url: str) -> AbstractAsyncContextManager[Backbone]:
    from cabochon_opal_server.log.sqlite_log import open_sqlite_log  # noqa: PLC0415 - only where it is used

    return open_sqlite_log(settings, url)


SQLITE = BackboneType(
    name="sqlite",
    summary="The update log of one server, in a file",
    open=_opened,
    schemes=("sqlite",),
    settings=SqliteLogSettings,
)
