"""Every receiver is registered once, its config complete, under the key that the peer would give it."""

import hashlib
import json
from typing import Any

import pytest

from cabochon.contract.callback_reporter import Callback
from cabochon.schemas import CallbackEntry, UpdateCallback
from cabochon.sync.outcome.callback_register import CallbackRegister

URL = "http://reports.example/hook"
DEFAULT: dict[str, Any] = {"method": "post", "headers": {"content-type": "application/json", "X-From": "agent"}}


def register(*callbacks: Any, default: dict[str, Any] | None = None) -> CallbackRegister:
    return CallbackRegister(UpdateCallback(callbacks=callbacks), DEFAULT if default is None else default)


def peer_key(url: str, **config: object) -> str:
    whole = {"fetcher": None, "headers": None, "is_json": True, "process_data": True, "method": "get", "data": None}
    return hashlib.sha256((url + json.dumps(whole | config)).encode()).hexdigest()


@pytest.mark.parametrize("callback", [URL, (URL,), (URL, None), (URL, {})], ids=repr)
def test_url_alone_gets_the_default_config(callback: Any) -> None:  # noqa: ANN401 - what the wire allows
    """
    A URL, `[url]` and a pair without config are called as the default config says.
    """
    assert [Callback(URL, DEFAULT)] == register(callback).receivers()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"method": "put"}, DEFAULT | {"method": "put"}),
        ({"method": None, "data": 1}, DEFAULT | {"data": 1}),
        ({"headers": {"X-From": "me"}}, DEFAULT | {"headers": {"content-type": "application/json", "X-From": "me"}}),
        (
            {"headers": {"Content-Type": "text/plain"}},
            DEFAULT | {"headers": {"X-From": "agent", "Content-Type": "text/plain"}},
        ),
        ({"headers": None}, DEFAULT),
        ({"headers": {}}, DEFAULT),
    ],
)
def test_config_is_completed(given: dict[str, Any], expected: dict[str, Any]) -> None:
    """
    What a config leaves out, or names with null, comes from the default; headers are merged, whatever their case.
    """
    (receiver,) = register((URL, given)).receivers()

    assert expected == receiver.config


def test_key_is_the_peers() -> None:
    """
    The key is SHA-256 of the URL and the config with all its members, as the peer makes it.
    """
    entries = register(URL, (URL, {"method": "put", "headers": {"a": "b"}}), default={}).entries()

    assert sorted([peer_key(URL), peer_key(URL, method="put", headers={"a": "b"})]) == [entry.key for entry in entries]


def test_config_of_another_reporter_has_a_key_too() -> None:
    """
    A config that is none of an HTTP request, for a reporter of another kind, is kept as it is.
    """
    entry = register(default={}).put(CallbackEntry(url="kafka://broker/topic", config={"method": 7}))

    assert entry.key
    assert entry.config == {"method": 7}


@pytest.mark.parametrize("headers", [7, "abc", ["a"], True])
def test_config_with_headers_that_are_none_is_kept(headers: object) -> None:
    """
    It does no harm to whoever takes the update in; what is wrong with it is for its delivery to say.
    """
    given = UpdateCallback(callbacks=((URL, {"headers": headers}),))
    (callback,) = register(default={"headers": {"a": "b"}}).resolve(given)

    assert {"headers": headers} == callback.config


def test_put_registers_under_its_key() -> None:
    """
    What is put can be read under its key, and removed once.
    """
    callbacks = register()
    assert not callbacks
    entry = callbacks.put(CallbackEntry(url=URL, key="mine", config={"method": "put"}))

    assert entry == CallbackEntry(url=URL, key="mine", config=DEFAULT | {"method": "put"}) == callbacks.get("mine")
    assert callbacks
    assert [True, False] == [callbacks.remove("mine") for _ in range(2)]
    assert callbacks.get("mine") is None


def test_same_callback_is_registered_once() -> None:
    """
    The same URL and config under another key replaces the first, and a key taken again is overwritten.
    """
    callbacks = register(URL)
    callbacks.put(CallbackEntry(url=URL, key="mine"))
    callbacks.put(CallbackEntry(url=URL, key="other", config=DEFAULT))
    assert [CallbackEntry(url=URL, key="other", config=DEFAULT)] == callbacks.entries()
    callbacks.put(CallbackEntry(url="http://reports.example/second", key="other"))

    assert [("other", "http://reports.example/second")] == [(entry.key, entry.url) for entry in callbacks.entries()]


def test_one_time_receiver_is_told_once() -> None:
    """
    A one-time callback that is registered anyway gets one report, and others come on top.
    """
    callbacks = register(URL)
    extra = callbacks.resolve(UpdateCallback(callbacks=(URL, "http://once.example", ("http://once.example", DEFAULT))))

    assert [URL, "http://once.example"] == [receiver.url for receiver in callbacks.receivers(extra)]
    assert len(callbacks.entries()) == 1


def test_defaults_are_nobodys_to_change() -> None:
    """
    Changing a config that came out of the register changes no other.
    """
    callbacks = register(URL, "http://other.example")
    for entry in callbacks.entries():
        assert entry.config is not None
        entry.config["method"] = "delete"

    assert ["post", "post"] == [receiver.config["method"] for receiver in callbacks.receivers()]
