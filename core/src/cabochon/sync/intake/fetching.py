"""Fetch entries side by side, within bounds: which fetcher, how many at once, how often, until when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import anyio
import structlog

from cabochon.backoff import Backoff
from cabochon.contract.fetcher import Fetcher
from cabochon.contract.metrics import Metrics
from cabochon.documents import json_patch, json_values
from cabochon.documents.json_patch import PatchOperation
from cabochon.documents.json_values import JsonError
from cabochon.documents.off_loop import off_loop
from cabochon.errors import FetchDecodeError, FetchError, FetchTimeoutError
from cabochon.schemas import DataSourceEntry
from cabochon.settings.fetch_providers import no_fetcher
from cabochon.urls import masked_url

__all__ = ["FetchPool", "FetchRetry", "Fetched"]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchRetry:
    """How often one fetch is tried before its deadline."""

    attempts: int = 5
    backoff: Backoff


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came: raw JSON, and its operations where a JSON patch was asked for."""

    raw: bytes
    operations: tuple[PatchOperation, ...] = ()


class FetchPool:
    """The fetchers of one agent, by name (aliases included) and by URL scheme, names in lower case."""

    def __init__(
        self,
        by_name: Mapping[str, Fetcher],
        by_scheme: Mapping[str, Fetcher],
        *,
        side_by_side: int,
        retry: FetchRetry,
        metrics: Metrics,
    ) -> None:
        self._by_name = by_name
        self._by_scheme = by_scheme
        self._retry = retry
        self._room = anyio.CapacityLimiter(side_by_side)
        self._metrics = metrics
        metrics.gauge("fetches.running", lambda: self._room.borrowed_tokens)

    async def fetch(self, spec: DataSourceEntry, deadline: float) -> Fetched:
        """Fetch an entry's data, trying again while that may help and time is left.

        Args:
            spec: the entry.
            deadline: on the clock of `anyio.current_time`.

        Raises:
            FetchError: why it can't be had; `FetchTimeoutError` at the deadline.
        """
        fetcher = self._choose(spec)
        last: FetchError | None = None
        with anyio.CancelScope(deadline=deadline):
            for attempt in range(1, self._retry.attempts + 1):
                try:
                    async with self._room:
                        started = anyio.current_time()
                        raw = await fetcher.fetch(spec.url, spec.config or {})
                        self._metrics.observe("fetches.duration", anyio.current_time() - started)
                    return await _checked(spec, raw)
                except FetchError as err:
                    last = err
                except Exception as err:  # noqa: BLE001 - a guarded edge: whatever a fetcher raises is the fetcher's
                    why = f"{type(fetcher).__name__} failed with {type(err).__name__}: {err}"
                    last = FetchError(f"{masked_url(spec.url)}: {why}", url=masked_url(spec.url))
                self._metrics.count("fetches.failed")
                wait = self._retry.backoff.wait_s(attempt, at_least_s=last.retry_after_s)
                if not last.again or attempt == self._retry.attempts or anyio.current_time() + wait >= deadline:
                    raise last
                log.debug(
                    "fetch.retried", url=masked_url(spec.url), attempt=attempt, wait_s=round(wait, 3), error=str(last)
                )
                await anyio.sleep(wait)
        # Only the deadline leads here: the loop returns or raises.
        why = f" (before that: {last})" if last is not None else ""
        msg = f"{masked_url(spec.url)} did not answer before the deadline of the update{why}"
        raise FetchTimeoutError(msg, url=masked_url(spec.url))

    def _choose(self, spec: DataSourceEntry) -> Fetcher:
        named = (spec.config or {}).get("fetcher")
        if named:
            fetcher = self._by_name.get(str(named).lower())
            if fetcher is None:
                msg = no_fetcher(str(named), sorted(self._by_name))
                raise FetchError(msg, url=masked_url(spec.url), again=False)
            return fetcher
        scheme, colon, _ = spec.url.partition(":")
        fetcher = self._by_scheme.get(scheme.lower()) if colon else None
        if fetcher is None:
            what = f"its URL {masked_url(spec.url)!r}" if spec.url else "an entry with neither data nor url"
            msg = f"no fetcher is installed for {what}; known schemes: {', '.join(sorted(self._by_scheme)) or 'none'}"
            raise FetchError(msg, url=masked_url(spec.url), again=False)
        return fetcher


async def _checked(spec: DataSourceEntry, raw: bytes) -> Fetched:
    try:
        value = await off_loop(json_values.check, raw)
        operations = json_patch.parse(value) if spec.save_method == "PATCH" else ()
    except JsonError as err:
        msg = f"{masked_url(spec.url)} gave {len(raw)} bytes that can't be used: {err}"
        # A maintenance page, say: the next try may find the document.
        raise FetchDecodeError(msg, url=masked_url(spec.url), again=True) from err
    return Fetched(value, operations)
