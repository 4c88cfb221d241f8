"""Which ids are ignored; tests/interop holds this to the real peer."""

from __future__ import annotations

import pytest

from cabochon.errors import ConfigurationError
from cabochon_opa.policies.paths_to_ignore import PathsToIgnore


@pytest.mark.parametrize(
    ("patterns", "ignored", "kept"),
    [
        ([], [], ["a.rego", "a/b.rego"]),
        (["/"], ["a.rego", "a/b.rego"], []),
        (["/**", "!mine/**"], ["a.rego", "mine2/a.rego"], ["mine/a.rego"]),
        (["lib/**"], ["lib", "lib/a.rego", "lib/b/c.rego"], ["library/a.rego", "a/lib/b.rego"]),
        (["*.rego"], ["a.rego", "a/b.rego"], ["a.txt"]),
        (["lib/*.rego"], ["lib/a.rego", "x/lib/a.rego"], ["lib/b/a.rego"]),
        (["!a/**"], [], ["a/b.rego", "c.rego"]),
        (["!a/**", "a/b/**"], [], ["a/b/c.rego"]),
    ],
)
def test_patterns(patterns: list[str], ignored: list[str], kept: list[str]) -> None:
    """
    Folders, globs and exceptions.
    """
    paths = PathsToIgnore(patterns)

    assert (ignored, []) == ([id_ for id_ in ignored if id_ in paths], [id_ for id_ in kept if id_ in paths])


@pytest.mark.parametrize("pattern", ["", "!", "."])
def test_pattern_that_matches_nothing_stops_the_start(pattern: str) -> None:
    """
    In the peer it breaks each policy update instead.
    """
    with pytest.raises(ConfigurationError, match="OPAL_POLICY_STORE_POLICY_PATHS_TO_IGNORE has"):
        PathsToIgnore(["a/**", pattern])


def test_exceptions_alone_ignore_nothing() -> None:
    """
    So sets can be judged beforehand.
    """
    assert not PathsToIgnore(["!a/**"])
    assert PathsToIgnore(["a/**"])
