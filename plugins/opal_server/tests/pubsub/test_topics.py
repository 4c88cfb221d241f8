"""Which topics an update goes to."""

from __future__ import annotations

import pytest

from cabochon_opal_server.pubsub.topics import expanded, policy_topics, topics_of


@pytest.mark.parametrize(
    ("topic", "levels"),
    [
        ("a", ["a"]),
        ("a/b/c", ["a", "a/b", "a/b/c"]),
        ("data:a/b", ["data:a", "data:a/b"]),
        ("eu:x/y:a/b", ["eu:x/y:a", "eu:x/y:a/b"]),
    ],
)
def test_levels(topic: str, levels: list[str]) -> None:
    assert levels == topics_of(topic)


def test_each_once() -> None:
    assert ("a", "a/b", "a/c") == expanded(["a/b", "a/c", "a"])


def test_policies_are_announced_to_every_folder_above() -> None:
    assert ("policy:.", "policy:a", "policy:a/b", "policy:c") == policy_topics(["a/b", "c"])
