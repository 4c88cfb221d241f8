"""Whom an entry trusts when it says otherwise than the settings, and which certificate it shows."""

from __future__ import annotations

import os
import ssl
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple, TypeAlias

from anyio import to_thread

from cabochon.kit.http.tls import client_context
from cabochon_http_fetcher.config import FetchConfig

__all__ = ["Trust"]

_CONTEXTS = 16


class _Tls(NamedTuple):
    verify: bool
    ca_file: str | None
    client_cert: str | None
    client_key: str | None


_Stamped: TypeAlias = tuple[_Tls, tuple[int, ...]]


class Trust:
    """The TLS context of each entry; the last few that are not the settings' are kept.

    Args:
        context: the settings' own.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._others: OrderedDict[_Stamped, ssl.SSLContext] = OrderedDict()

    async def context(self, wanted: FetchConfig) -> ssl.SSLContext:
        """Return the context for an entry; equal entries get the same one until a file of theirs is renewed.

        Raises:
            ConfigurationError: a file can't be used.
        """
        tls = _Tls(wanted.verify, wanted.ca_file, wanted.client_cert, wanted.client_key)
        if tls == (True, None, None, None):
            return self._context
        stamped = (tls, tuple(_stamp(name) for name in tls[1:] if name))
        context = self._others.get(stamped)
        if context is None:
            context = await to_thread.run_sync(lambda: client_context(**tls._asdict()))
            self._others[stamped] = context
            while len(self._others) > _CONTEXTS:
                self._others.popitem(last=False)
        else:
            self._others.move_to_end(stamped)
        return context


def _stamp(name: str) -> int:
    """When the file was written: certificates that were renewed are read again."""
    try:
        return os.stat(Path(name).expanduser()).st_mtime_ns  # noqa: PTH116 # the quicker of the two
    except OSError:
        return 0
