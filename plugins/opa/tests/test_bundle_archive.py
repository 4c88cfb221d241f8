"""The bundle as a file."""

from __future__ import annotations

import gzip
import io
import json
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabochon import DocumentPath, StoreRejectedError
from cabochon_opa.bundle.archive import Archive, archive_path, build, build_archive

ROOTS = (DocumentPath(("b",)), DocumentPath(("a", "c-d")))


def unpacked(archive: Archive) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(archive.content))) as tar:
        return {member.name: read.read() for member in tar if (read := tar.extractfile(member)) is not None}


def test_modules_lie_at_their_paths_beside_a_manifest() -> None:
    archive = build({"x/y.rego": "package b", "plain": "package a"}, ROOTS)
    files = unpacked(archive)
    assert json.loads(files.pop("/.manifest")) == {"revision": archive.revision, "roots": ["a/c-d", "b"]}
    assert files == {"/x/y.rego": b"package b", "/plain.rego": b"package a"}
    assert archive.etag == f'"{archive.revision}"'


@given(st.dictionaries(st.from_regex(r"\A[a-z]{1,3}(/[a-z]{1,3})?\.rego\Z"), st.text(max_size=20)), st.randoms())
def test_the_same_policies_are_the_same_bytes_in_any_order(policies: dict[str, str], random: object) -> None:
    shuffled = list(policies.items())
    random.shuffle(shuffled)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    assert build(dict(shuffled), ROOTS[::-1]) == build(policies, ROOTS)


@pytest.mark.parametrize(
    ("policies", "roots"),
    [
        ({"a.rego": "package b "}, ROOTS),
        ({"b.rego": "package b"}, ROOTS),
        ({"a.rego": "package b", "c.rego": ""}, ROOTS),
        ({"a.rego": "package b"}, ROOTS[:1]),
        ({}, ROOTS),
    ],
)
def test_another_content_is_another_revision(policies: dict[str, str], roots: tuple[DocumentPath, ...]) -> None:
    assert build(policies, roots).revision != build({"a.rego": "package b"}, ROOTS).revision


@pytest.mark.parametrize(
    "policy_id", ["/a.rego", "../a.rego", "a/../b.rego", "a//b.rego", "./a", "", "a/", "a\0b", "a\n"]
)
def test_a_path_out_of_the_archive_is_refused(policy_id: str) -> None:
    with pytest.raises(StoreRejectedError) as caught:
        build({policy_id: "package a"}, ())
    assert caught.value.path == policy_id
    assert repr(policy_id) in str(caught.value)


def test_two_ids_for_one_file_are_refused() -> None:
    with pytest.raises(StoreRejectedError, match="same path"):
        build({"a": "package a", "a.rego": "package a"}, ())


def test_long_and_foreign_names_are_kept() -> None:
    long = "/".join(["directory"] * 30) + "/ä.rego"
    assert archive_path(long) == f"/{long}"
    assert f"/{long}" in unpacked(build({long: "package a"}, ()))


async def test_a_large_set_is_built_off_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []

    async def in_thread(function: object, *arguments: object) -> Archive:
        calls.append(function)
        return build(*arguments)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr("anyio.to_thread.run_sync", in_thread)
    await build_archive({"a.rego": "package a"}, ())
    assert not calls
    await build_archive({f"{n}.rego": "package a" for n in range(1_500)}, ())
    await build_archive({"a.rego": "package a" + " " * 1_000_001}, ())
    assert len(calls) == 2
