"""The register of update callbacks: who is told of every data update."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, cast

import msgspec

from cabochon.contract.callback_reporter import Callback
from cabochon.schemas import CallbackEntry, HttpFetcherConfig, UpdateCallback

__all__ = ["CallbackRegister"]


class CallbackRegister:
    """Callbacks by key. What a callback's config leaves out comes from the default config."""

    def __init__(self, initial: UpdateCallback, default_config: Mapping[str, Any]) -> None:
        self._default = dict(default_config)
        self._callbacks: dict[str, Callback] = {}
        self._made: dict[str, str] = {}
        """The key of each registered callback, by the one that is made of its URL and config."""
        self._urls: Counter[str] = Counter()
        """How many are registered for each URL: a key is only made where two may be the same."""
        for callback in self.resolve(initial):
            self._add(made := _key(callback), made, callback)

    def resolve(self, callbacks: UpdateCallback) -> list[Callback]:
        """Return the receivers that a `callback` member names, their configuration complete."""
        out: list[Callback] = []
        for target in callbacks.callbacks:
            if isinstance(target, str):
                out.append(Callback(target, self._complete(None)))
            else:
                out.append(Callback(target[0], self._complete(target[1] if len(target) > 1 else None)))
        return out

    def put(self, entry: CallbackEntry) -> CallbackEntry:
        """Register a callback, under the key it brings or one made of its URL and config; return it with its key.

        The same callback under another key is replaced: nobody wants the same report twice.
        """
        callback = Callback(entry.url, self._complete(entry.config))
        made = _key(callback)
        key = entry.key or made
        if (before := self._made.get(made)) is not None:
            self.remove(before)
        self.remove(key)
        self._add(key, made, callback)
        return _entry(key, callback)

    def _add(self, key: str, made: str, callback: Callback) -> None:
        if key not in self._callbacks:
            self._urls[callback.url] += 1
        self._callbacks[key] = callback
        self._made[made] = key

    def get(self, key: str) -> CallbackEntry | None:
        """Return the callback with this key, None if there is none."""
        callback = self._callbacks.get(key)
        return None if callback is None else _entry(key, callback)

    def remove(self, key: str) -> bool:
        """Take a callback out and tell whether it was there."""
        callback = self._callbacks.pop(key, None)
        if callback is None:
            return False
        del self._made[_key(callback)]
        self._urls[callback.url] -= 1
        if not self._urls[callback.url]:
            del self._urls[callback.url]
        return True

    def entries(self) -> list[CallbackEntry]:
        """Return every callback, sorted by key."""
        return [_entry(key, self._callbacks[key]) for key in sorted(self._callbacks)]

    def receivers(self, extra: Iterable[Callback] = ()) -> list[Callback]:
        """Return who gets a report: everyone registered, and the extra ones that are not."""
        extra = list(extra)
        named = Counter(callback.url for callback in extra)
        out = list(self._callbacks.values())
        made: set[str] = set()
        for callback in extra:
            if callback.url in self._urls or named[callback.url] > 1:
                key = _key(callback)
                if key in self._made or key in made:
                    continue
                made.add(key)
            out.append(callback)
        return out

    def __bool__(self) -> bool:
        """Whether anyone is registered."""
        return bool(self._callbacks)

    def _complete(self, config: Mapping[str, Any] | None) -> dict[str, Any]:
        if not config:
            return dict(self._default)
        given = {name: value for name, value in config.items() if value is not None}
        complete = {**self._default, **given}
        default_headers: object = self._default.get("headers") or {}
        given_headers: object = given.get("headers", {})
        # What is no headers is kept: whoever delivers to it says what is wrong with it.
        if isinstance(default_headers, dict) and isinstance(given_headers, dict):
            ours, theirs = cast("dict[str, Any]", default_headers), cast("dict[str, Any]", given_headers)
            names = {name.lower() for name in theirs}
            merged = {name: value for name, value in ours.items() if name.lower() not in names} | theirs
            if merged:
                complete["headers"] = merged
        return complete


def _entry(key: str, callback: Callback) -> CallbackEntry:
    return CallbackEntry(key=key, url=callback.url, config=dict(callback.config))


def _key(callback: Callback) -> str:
    """Make the peer's key: SHA-256, in hex, of the URL and the config as JSON in the peer's order of members."""
    try:
        config = msgspec.to_builtins(msgspec.convert(callback.config, HttpFetcherConfig))
        order = ("fetcher", "headers", "is_json", "process_data", "method", "data")
        text = json.dumps({name: config[name] for name in order})
    except msgspec.ValidationError:
        text = json.dumps(callback.config, sort_keys=True, default=str)
    return hashlib.sha256((callback.url + text).encode()).hexdigest()
