"""Somebody who asks OPA every 5 ms, past the agent, whether it is ready, and in the same query what is there."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

__all__ = ["Sample", "Watcher"]

_EVERY_S = 0.005
_PATIENCE_S = 0.25

ALWAYS = {"ready": "data.system.opal.ready"}


@dataclass(frozen=True, slots=True)
class Sample:
    """One atomic read: `found` has what was defined, by name."""

    asked_at: float
    found: Mapping[str, Any]

    @property
    def ready(self) -> bool:
        """OPA says that it is ready."""
        return self.found.get("ready") is True


class Watcher:
    """Polls in a thread of its own from enter to exit.

    Args:
        url: OPA's, not the proxy's.
        asked: references by name, read together with `ready`.
        judge: says what is wrong with a sample, given the last one that was ready before it; None if nothing is.

    Attributes:
        samples: all answers, in order.
        wrong: what the judge said, with the sample.
    """

    def __init__(
        self, url: str, asked: Mapping[str, str], judge: Callable[[Sample, Sample | None], str | None]
    ) -> None:
        self._address = url.removeprefix("http://")
        # One query is one read transaction of OPA's: no write can fall in between.
        query = "; ".join(f"{name} := [x | x := {where}]" for name, where in {**ALWAYS, **asked}.items())
        self._body = json.dumps({"query": query}).encode()
        self._judge = judge
        self._last_ready: Sample | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watcher", daemon=True)
        self._connection: http.client.HTTPConnection | None = None
        self._failure: Exception | None = None
        self.samples: list[Sample] = []
        self.wrong: list[tuple[str, Sample]] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        if self._connection is not None:
            self._connection.close()
        if self._failure is not None:
            raise self._failure

    def ready_since(self, moment: float) -> bool:
        """Tell whether a question asked after `moment` was answered with ready."""
        return self._last_ready is not None and self._last_ready.asked_at > moment

    def between(self, begin: float, end: float) -> list[Sample]:
        """The samples asked for in that time."""
        return [sample for sample in self.samples if begin <= sample.asked_at <= end]

    def _watch(self) -> None:
        try:
            at = time.monotonic()
            while not self._over.wait(max(0.0, at - time.monotonic())):
                at = max(at + _EVERY_S, time.monotonic())
                sample = self._ask()
                if sample is not None:
                    self._take(sample)
        except Exception as err:  # noqa: BLE001 - raised again where somebody sees it
            self._failure = err

    def _take(self, sample: Sample) -> None:
        self.samples.append(sample)
        complaint = self._judge(sample, self._last_ready)
        if complaint is not None:
            self.wrong.append((complaint, sample))
        elif sample.ready:
            self._last_ready = sample

    def _ask(self) -> Sample | None:
        """Ask once; None if OPA is down, or does not answer."""
        asked_at = time.monotonic()
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection(self._address, timeout=_PATIENCE_S)
            self._connection.request("POST", "/v1/query", self._body, {"Content-Type": "application/json"})
            answer = self._connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            if self._connection is not None:
                self._connection.close()
            self._connection = None
            return None
        if answer.status != http.client.OK:
            raise RuntimeError(f"OPA answers the watcher with {answer.status}: {body!r}")
        (found,) = json.loads(body)["result"]
        return Sample(asked_at, {name: values[0] for name, values in found.items() if values})
