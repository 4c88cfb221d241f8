"""OPAL_POLICY_STORE_POLICY_PATHS_TO_IGNORE means to us what it means to the real peer, pattern by pattern."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cabochon.errors import ConfigurationError
from cabochon_opa.policies.paths_to_ignore import PathsToIgnore

pytestmark = [pytest.mark.network, pytest.mark.timeout(900), pytest.mark.xdist_group("peer")]

PEER_ASKED = """
import json, sys
from opal_client.policy_store.opa_client import should_ignore_path
def answer(patterns, path):
    try:
        return should_ignore_path(path, patterns)
    except ValueError:
        return "error"
cases = json.load(sys.stdin)
print("ANSWERS" + json.dumps([
    {
        "answers": [answer(patterns, path) for path in paths],
        "breaks": any(answer([pattern], "some.path") == "error" for pattern in patterns),
    }
    for patterns, paths in cases
]))
"""

WORDS = ["a", "b", "lib", "lib2", "*", "?", "[ab]", "**", "a*", "*.rego", "a.rego", "main.rego", "..", ".", ""]
KNOWN = [
    [], ["/"], ["/**"], ["lib/**"], ["!lib/**"], ["/", "!lib"], ["/", "!lib/**", "lib/a/**"], ["*.rego"],
    ["lib/*.rego"], ["**"], ["/lib"], ["/lib/**"], ["lib/"], ["lib//**"], ["."], ["!"], [""], ["!/"], ["!/**", "/"],
    ["!!a"], ["a/**/b"], ["*/**"], ["[ab]/**"], ["//"], ["./a"], ["!*.rego", "**"], ["lib/***"], ["LIB/**"],
]  # fmt: skip
PATHS = [
    "a", "a.rego", "a/a.rego", "a/b/main.rego", "lib", "lib/a.rego", "lib/a/b.rego", "lib2/a.rego", "x/lib/a.rego",
    "/lib/a.rego", "LIB/a.rego", "a/b", "b/../a.rego", "./a", "é.rego", "main.rego", "lib/", "**", "*", "a//b.rego",
]  # fmt: skip


def _cases() -> Iterator[list[str]]:
    yield from KNOWN
    seeded = random.Random(4)  # noqa: S311 - the same cases each time
    for _ in range(3_000):
        yield [
            seeded.choice(["", "", "!"]) + "/".join(seeded.choices(WORDS, k=seeded.randint(1, 3)))
            for _ in range(seeded.randint(1, 3))
        ]


def _ours(patterns: list[str], path: str) -> bool | str:
    try:
        return path in PathsToIgnore(patterns)
    except ConfigurationError:
        return "error"


def test_same_paths_are_ignored(peer_python: Path) -> None:
    """
    For every pattern that the peer can read; one that breaks it, once it comes to it, is refused here at the start.
    """
    cases = list(_cases())
    asked = json.dumps([[patterns, PATHS] for patterns in cases])
    done = subprocess.run(
        [peer_python, "-c", PEER_ASKED], input=asked, check=True, capture_output=True, text=True, timeout=300
    )
    peers = json.loads(done.stdout.partition("ANSWERS")[2])

    differences = [
        (patterns, path, theirs, ours)
        for patterns, peer in zip(cases, peers, strict=True)
        for path, theirs in zip(PATHS, peer["answers"], strict=True)
        if (ours := _ours(patterns, path)) != ("error" if peer["breaks"] else theirs)
    ]
    assert [] == differences
    assert {True, False, "error"} == {answer for peer in peers for answer in peer["answers"]}
