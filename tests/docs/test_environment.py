"""OPAL's variables: each one is read by a part that is named, or has a reason why not."""

from __future__ import annotations

from cabochon.settings.peer_variables import peer_variables

from .pages import ROOT

PAGE = ROOT / "docs/reference/environment.md"


def test_every_variable_is_read_or_has_a_reason_and_never_both() -> None:
    """
    Who reads it is computed from the settings models (`make docs`); a name that no model has any more needs a reason.
    """
    variables = peer_variables()

    unexplained = [n for n, one in variables.items() if not one.by and not one.reason]
    contradicted = [n for n, one in variables.items() if one.by and one.reason]
    assert ([], []) == (unexplained, contradicted)


def test_page_lists_every_variable_once_in_the_section_that_fits() -> None:
    """
    Supported ones with their readers, the others with the reason.
    """
    text = PAGE.read_text("utf-8")
    read, _, reasons = text.partition("## Not supported, and why")

    for name, one in peer_variables().items():
        section = read if one.by else reasons
        assert f"`{name}`" in section, name
        assert 1 == text.count(f"`{name}`"), name
