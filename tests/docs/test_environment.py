"""OPAL's variables: each one is read by a part that is named, or has a reason why not."""

from __future__ import annotations

from cabochon.peer_variables import SERVER, peer_variables

from .pages import ROOT

PAGE = ROOT / "docs/reference/environment.md"


def test_every_variable_is_read_or_has_a_reason_and_never_both() -> None:
    """
    Who reads it is computed from the settings models (`make docs`); a name that no model has any more needs a reason.
    """
    variables = peer_variables()

    unexplained = [n for n, one in variables.items() if not one.by and not one.reason and one.declared != SERVER]
    contradicted = [n for n, one in variables.items() if one.by and one.reason]
    assert ([], []) == (unexplained, contradicted)


def test_page_lists_every_variable_once_in_the_section_that_fits() -> None:
    """
    Supported ones with their readers, the others with the reason, the server's by themselves.
    """
    text = PAGE.read_text("utf-8")
    read, _, rest = text.partition("## Not supported, and why")
    reasons, _, servers = rest.partition("## The server's")

    for name, one in peer_variables().items():
        section = read if one.by else reasons if one.reason else servers
        assert f"`{name}`" in section, name
        assert 1 == text.count(f"`{name}`"), name
