"""The order in which policies can go into OPA one by one, read off their text."""

from __future__ import annotations

import pytest

from cabochon_opa.policies.order import in_order, outline, users_of

LIB = "package lib.text\n\nf(x) := x\n"


@pytest.mark.parametrize(
    "user",
    [
        "package u\n\nr := data.lib.text.f(1)",
        'package u\n\nr := data.lib["text"].f(1)',
        'package u\n\nr := data["lib"]["text"]["f"](1)',
        "package u\n\nimport data.lib\n\nr := lib.text.f(1)",
        "package u\n\nimport data.lib.text\n\nr := text.f(1)",
        "package u\nimport data.lib.text as t\nr := t.f(1)",
        "package u\n\nimport data.lib.text.f\n\nr := f(1)",
        "package u\n\nimport data.lib.text.f as g # why\n\nr := g(1)",
        "package u\n\nr { x := data.lib.text.f(1); x > 0 }",
        "package u\n\nr if [y | some y in [1]; data.lib.text.f(y)] == []",
        "package u\n\nr := 1 if data.other.g(1) with data.other.g as data.lib.text.f",
        'package u\n\nr := $"{data.lib.text.f(1)} times"',
        "package u\n\nr := $`{data.lib.text.f(1)}`",
        'package u\n\na := "# no comment"\nr := data.lib.text.f(1)',
        'package u # text\n\na := `"`\nr := data.lib.text.f(1)',
        'package u\n\na := "\\""\nr := data.lib.text.f("")',
        "# package v\npackage u\r\n\r\nr := data.lib.text.f(1)\r\n",
        "\ufeffpackage u\n\nr := data.lib.text.f(1)",
        "package lib.text\n\nr := f(1)",
        "package lib.text.below\n\nr := data.lib.text.f(1)",
    ],
)
def test_module_comes_after_the_function_it_calls(user: str) -> None:
    """
    However it is written: in full, through an import or an alias, in brackets, in a template string.
    """
    assert ["lib", "user"] == in_order({"user": user, "lib": LIB})


@pytest.mark.parametrize(
    "text",
    [
        "package u\n\n# data.lib.text.f(1)\nr := 1",
        'package u\n\nr := "data.lib.text.f(1)"',
        "package u\n\nr := `\ndata.lib.text.f(1)\n`",
        "package u\n\nr := input.data.lib.text.f",
        "package u\n\nr := data.lib.texts.f(1)",
        "package lib\n\nr := f(1)",
    ],
)
def test_what_is_no_reference_changes_no_order(text: str) -> None:
    """
    Comments, strings, other names: the order given stands.
    """
    assert ["u", "lib"] == in_order({"u": text, "lib": LIB})


def test_order_given_breaks_ties() -> None:
    """
    Modules that do not refer to each other stay as the manifest has them.
    """
    free = {f"m{number}": f"package m{number}" for number in (3, 1, 2)}

    assert ["m3", "m1", "m2"] == in_order(free)
    assert ["m3", "lib", "user", "m1"] == in_order(
        {"m3": free["m3"], "user": "package u\nr := data.lib.text.f(1)", "m1": free["m1"], "lib": LIB}
    )


def test_circle_leaves_the_others_in_order() -> None:
    """
    Every id once; what is outside of the circle still comes before it.
    """
    sources = {
        "a": "package a\nr := data.b.r",
        "b": "package b\nr := data.c.q\nq := data.lib.text.f(1)",
        "c": "package c\nq := 1\nr := data.a.r",
        "lib": LIB,
    }
    order = in_order(sources)

    assert sorted(sources) == sorted(order)
    assert "lib" == order[0] or order.index("lib") < order.index("b")


def test_long_chain_needs_no_deep_stack() -> None:
    """
    Thousands of modules, each calling the next.
    """
    chain = {f"m{n}": f"package m{n}\n\nf(x) := data.m{n + 1}.f(x)" for n in range(3_000)}

    assert list(reversed(chain)) == in_order(chain)


def test_functions_of_one_package_in_two_modules() -> None:
    """
    Inside a package only functions must be there; each of its modules mentions many words.
    """
    sources = {
        "user": "package p\n\nr := q if helper(1)",
        "rules": "package p\n\nq := 1\nhelps := r",
        "helpers": "package p\n\ndefault helper(_) := false\n\nhelper(x) if x > 0",
    }

    assert ["helpers", "user", "rules"] == in_order(sources)


def test_users_come_before_what_they_use() -> None:
    """
    Through others too; what does not refer to it is left out.
    """
    sources = {
        "lib": LIB,
        "near": "package near\n\nf(x) := data.lib.text.f(x)",
        "far": "package far\n\nr := data.near.f(1)",
        "alone": "package alone",
    }

    assert ["far", "near", "lib"] == users_of(sources, ["lib", "unknown"])
    assert ["alone"] == users_of(sources, ["alone"])


@pytest.mark.parametrize("text", ["", "no rego at all {{{", "package", 'package "', "$", "`", "import data"])
def test_text_that_is_no_rego_is_no_error(text: str) -> None:
    """
    OPA says what is wrong with it, better.
    """
    assert () == outline(text).package
    assert ["a", "b"] == in_order({"a": text, "b": text})
