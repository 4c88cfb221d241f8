"""What may travel in the bundle, and the paths that it then owns."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabochon import DocumentPath
from cabochon_opa.bundle.roots import overlapping, package_of, split_policies
from cabochon_opa.testing import RealOpa

FORMS = [
    "package a",
    'package a.b["c-d"].e',
    'package a["b"].c["d"]',
    'package a[ "b" ]',
    "package a[`b c`]",
    'package a["x\\"y"]',
    'package a["b\\u0041"]',
    'package a["x/y"]',
    "package a.if.contains",
    "package A1._x",
    "package data.a",
    "package\na",
    "\ufeffpackage a",
    "# package no\n\n  # METADATA\npackage a.b # c",
    "package a.b\r\nx := 1",
    "package a.b import data.x",
]

segments = st.sampled_from(["a", "b", "c", "system", "x y"])
names = st.sampled_from(["a", "b", "system"])
paths = st.tuples(names, st.lists(segments, max_size=3)).map(lambda parts: DocumentPath([parts[0], *parts[1]]))
documents = st.lists(st.lists(segments, max_size=4).map(DocumentPath), max_size=4)


def module(package: DocumentPath) -> str:
    rest = "".join(f"[{json.dumps(segment)}]" for segment in package[1:])
    return f"package {package[0]}{rest}\n"


@pytest.mark.parametrize("flag", ["--v0-compatible", "--v1-compatible"])
def test_a_package_is_read_as_opa_reads_it(opa_path: Path, flag: str) -> None:
    with RealOpa(opa_path, flag) as opa, httpx.Client(base_url=opa.url) as client:
        for form in FORMS:
            assert client.put("/v1/policies/x", content=form.encode()).status_code == 200, form
            tree = client.get("/v1/policies/x").json()["result"]["ast"]["package"]["path"]
            assert package_of(form) == tuple(term["value"] for term in tree[1:]), form
            client.delete("/v1/policies/x")


@pytest.mark.parametrize("source", ["", "# package a", "x := 1", "package", "package 1a", "package a[1]", "packagea"])
def test_no_package_is_read_where_there_is_none(source: str) -> None:
    assert package_of(source) is None


@given(st.text(max_size=40))
def test_no_text_is_too_odd_to_be_read(text: str) -> None:
    package_of(text)
    package_of(f"package a{text}")


@given(st.lists(paths, max_size=8), documents)
def test_roots_hold_what_is_bundled_and_touch_nothing_else(
    packages: list[DocumentPath], kept: list[DocumentPath]
) -> None:
    policies = {f"{number}.rego": module(package) for number, package in enumerate(packages)}
    split = split_policies(policies, kept)
    assert {**split.bundled, **split.by_rest} == policies
    assert not set(split.bundled) & set(split.by_rest)
    bundled = [package_of(source) or DocumentPath() for source in split.bundled.values()]
    by_rest = [package_of(source) or DocumentPath() for source in split.by_rest.values()]
    for one, other in itertools.combinations(split.roots, 2):
        assert not one.overlaps(other)
    for package in bundled:
        assert sum(root.covers(package) for root in split.roots) == 1
    for root in split.roots:
        assert root in bundled, "a root is as deep as it can be"
        assert root[0] != "system"
        assert not any(root.overlaps(path) for path in [*kept, *by_rest])


@given(st.lists(paths, max_size=8), documents)
def test_nothing_goes_by_rest_without_need(packages: list[DocumentPath], kept: list[DocumentPath]) -> None:
    policies = {f"{number}.rego": module(package) for number, package in enumerate(packages)}
    for source in split_policies(policies, kept).by_rest.values():
        package = package_of(source)
        assert package is not None
        group = [other for other in packages if other.overlaps(package)]
        top = min(group, key=len)
        reasons = [top[0] == "system", "x y" in top, any(top.overlaps(path) for path in kept)]
        assert any(reasons)


def test_a_package_and_one_below_it_share_a_root() -> None:
    split = split_policies({"1": "package a.b", "2": "package a.b.c", "3": "package a.bc", "4": "package d"}, [])
    assert split.roots == (("a", "b"), ("a", "bc"), ("d",))


def test_a_document_above_or_below_keeps_a_package_out() -> None:
    policies = {"1": "package a.b", "2": "package c", "3": "package d.e", "4": "package f"}
    split = split_policies(policies, [DocumentPath(("a", "b", "users")), DocumentPath(("d",)), DocumentPath(("fx",))])
    assert set(split.by_rest) == {"1", "3"}
    assert split.roots == (("c",), ("f",))


def test_the_root_document_keeps_everything_out() -> None:
    assert split_policies({"1": "package a"}, [DocumentPath()]).roots == ()


def test_a_module_without_a_package_is_for_opa_to_refuse_with_the_bundle() -> None:
    split = split_policies({"1": "nonsense"}, [])
    assert set(split.bundled) == {"1"}
    assert split.roots == ()


@given(st.sets(paths, max_size=6), documents)
def test_overlaps_are_those_of_the_definition(roots: set[DocumentPath], others: list[DocumentPath]) -> None:
    assert overlapping(roots, others) == {root for root in roots if any(root.overlaps(other) for other in others)}


def test_a_module_of_a_thousand_lines_is_read_by_its_first() -> None:
    source = "# comment\n" * 1000 + "package a\n" + "x := 1\n" * 1000
    assert package_of(source) == ("a",)
    assert msgspec.json.encode(package_of(source)) == b'["a"]'
