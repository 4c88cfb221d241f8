"""The variables of OPAL's client mean to us what they mean to it."""

from __future__ import annotations

import pytest

from cabochon import ConfigurationError, load_settings
from cabochon_opal_source.settings import OpalSourceSettings
from cabochon_opal_source.topics import Subscription, entry_topics

SERVER = "OPAL_SERVER_URL"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "ws://localhost:7002/ws"),
        ({SERVER: "https://opal.example/base/"}, "wss://opal.example/base/ws"),
        ({SERVER: "http://https.example"}, "ws://https.example/ws"),
        ({SERVER: "http://a", "OPAL_SERVER_WS_URL": "wss://b:1"}, "wss://b:1/ws"),
        ({"OPAL_SERVER_WS_URL": "ws://b", "OPAL_SERVER_PUBSUB_URL": "ws://c/pubsub"}, "ws://c/pubsub"),
    ],
    ids=["default", "https", "only the scheme", "ws", "pubsub"],
)
def test_pubsub_url_follows_from_the_others(variables: dict[str, str], expected: str) -> None:
    """
    Each URL that is not set follows from the one before it.
    """
    assert expected == load_settings(OpalSourceSettings, variables).pubsub_url


@pytest.mark.parametrize(
    ("variables", "data", "policy"),
    [
        ({}, "http://localhost:7002/data/config", "http://localhost:7002/policy"),
        ({"OPAL_DEFAULT_DATA_SOURCES_CONFIG_URL": "http://d/x/"}, "http://d/x/", "http://localhost:7002/policy"),
        (
            {"OPAL_SCOPE_ID": "s1", "OPAL_DEFAULT_DATA_SOURCES_CONFIG_URL": "http://d"},
            "http://localhost:7002/scopes/s1/data",
            "http://localhost:7002/scopes/s1/policy",
        ),
    ],
    ids=["default", "own", "scope"],
)
def test_urls_of_data_and_policies(variables: dict[str, str], data: str, policy: str) -> None:
    """
    A scope has its own; else the list of sources may be elsewhere.
    """
    settings = load_settings(OpalSourceSettings, variables)

    assert (data, policy) == (settings.data_sources_url, settings.policy_url)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("app:lib", ("app", "lib")),
        ("app/rbac:app:./app:lib/", ("app", "lib")),
        ("app:.", (".",)),
        ("application:app", ("application", "app")),
    ],
)
def test_directories_below_others_are_left_out(written: str, expected: tuple[str, ...]) -> None:
    """
    A directory stands for all below it.
    """
    settings = load_settings(OpalSourceSettings, {"OPAL_POLICY_SUBSCRIPTION_DIRS": written})

    assert expected == settings.policy_directories


def test_topics_of_a_scope() -> None:
    """
    In a scope every topic carries its name, and policies are one topic.
    """
    found = Subscription.of(data=("a", "b/c"), directories=("app", "lib"), scope="s1")

    assert ("s1:data:a", "s1:data:b/c", "s1:policy:.") == found.topics
    assert ("s1:data:a", "data:a", "a") == entry_topics(("a",), "s1")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        (SERVER, "localhost:7002"),
        ("OPAL_SERVER_WS_URL", "http://localhost"),
        ("OPAL_SERVER_PUBSUB_URL", "http://localhost/ws"),
        ("OPAL_SCOPE_ID", "a/b"),
        ("OPAL_KEEP_ALIVE_INTERVAL", "-1"),
        ("OPAL_SOURCE_PING_INTERVAL", "0"),
        ("OPAL_POLICY_SUBSCRIPTION_DIRS", ":"),
    ],
)
def test_wrong_value_is_named(variable: str, value: str) -> None:
    """
    What can't be right stops the start, with the variable's name.
    """
    with pytest.raises(ConfigurationError, match=f"^{variable}="):
        load_settings(OpalSourceSettings, {variable: value})
