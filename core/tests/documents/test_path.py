"""Paths are compared by segment and survive both of their notations."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabochon import DocumentPath, DocumentPathError

ROOT = DocumentPath()
segments = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6) | st.sampled_from("ab%/~")
paths = st.lists(segments, max_size=4).map(DocumentPath)
short_paths = st.lists(st.sampled_from(["users", "users2", "a/b"]), max_size=4).map(DocumentPath)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("/", ()),
        ("//", ()),
        ("users", ("users",)),
        ("/users/bob", ("users", "bob")),
        ("users/bob/", ("users", "bob")),
        ("/users//bob", ("users", "bob")),
        ("/users/bob%2Fsmith", ("users", "bob/smith")),
        ("/caf%C3%A9", ("caf\u00e9",)),
        ("/caf\u00e9", ("caf\u00e9",)),
        ("/50%", ("50%",)),
        ("/50%25", ("50%",)),
        ("/100%zz", ("100%zz",)),
        ("/a b/~0/~1", ("a b", "~0", "~1")),
        ("/./..", (".", "..")),
    ],
)
def test_dst_path_is_read_as_opa_reads_it(text: str, expected: tuple[str, ...]) -> None:
    """
    Slashes at the ends and doubled ones mean nothing, percent-encoded ones belong to their segment.
    """
    assert expected == DocumentPath.parse(text)


@pytest.mark.parametrize("text", ["/%ff", "/a/%C3", "/\udc80", "/\udc80/%41"], ids=ascii)
def test_dst_path_that_is_no_utf8_is_refused(text: str) -> None:
    """
    A path that no engine could hold is refused, with a message that shows it.
    """
    with pytest.raises(DocumentPathError, match="path '/"):
        DocumentPath.parse(text)


@given(paths)
def test_dst_path_survives_a_round_trip(path: DocumentPath) -> None:
    """
    What `str` writes, `parse` reads.
    """
    assert path == DocumentPath.parse(str(path))


@given(st.text())
def test_any_text_is_a_path_or_refused(text: str) -> None:
    """
    Reading a path raises nothing but a `DocumentPathError`, and what is read can be written.
    """
    try:
        path = DocumentPath.parse(text)
    except DocumentPathError:
        return
    assert path == DocumentPath.parse(str(path))
    assert "" not in path


@pytest.mark.parametrize(
    ("pointer", "expected"),
    [
        ("", ()),
        ("/", ()),
        ("/a", ("a",)),
        ("/a/", ("a", "")),
        ("//a", ("", "a")),
        ("/a~1b/~0", ("a/b", "~")),
        ("/~01", ("~1",)),
        ("/%41", ("%41",)),
        ("/0/-", ("0", "-")),
    ],
)
def test_pointer_is_read_as_rfc_6901_says(pointer: str, expected: tuple[str, ...]) -> None:
    """
    `~1` is a slash and `~0` a tilde, empty segments count, and a lone slash is the root as in OPA.
    """
    assert expected == DocumentPath.from_pointer(pointer)


@pytest.mark.parametrize("pointer", ["a", "a/b", "/~", "/~2", "/a~", "/~0~"])
def test_bad_pointer_is_refused(pointer: str) -> None:
    """
    A pointer starts with a slash, and a tilde starts an escape.
    """
    with pytest.raises(DocumentPathError, match="RFC 6901"):
        DocumentPath.from_pointer(pointer)


@pytest.mark.parametrize("read", [DocumentPath.parse, DocumentPath.from_pointer])
@pytest.mark.parametrize("segment", ["/a", "/a%2Fb", "/a~1b"])
def test_path_may_be_128_deep(read: Callable[[str], DocumentPath], segment: str) -> None:
    """
    An engine takes ever longer to look at longer ones, and OPA is not to be had any more at a few thousand.
    """
    assert 128 == len(read(segment * 128))
    with pytest.raises(DocumentPathError, match="129 segments"):
        read(segment * 129)


@given(st.lists(st.text(max_size=4) | segments, max_size=4).map(DocumentPath))
def test_pointer_survives_a_round_trip(path: DocumentPath) -> None:
    """
    What `pointer` writes, `from_pointer` reads; only the path of one empty segment is written as the root is read.
    """
    expected = ROOT if path == ("",) else path

    assert expected == DocumentPath.from_pointer(path.pointer())


@given(short_paths, short_paths)
def test_covers_compares_by_segment(path: DocumentPath, other: DocumentPath) -> None:
    """
    A path covers what starts with all of its segments, whatever the texts look like.
    """
    by_text = str(other) == str(path) or not path or str(other).startswith(f"{path}/")

    assert by_text == path.covers(other)
    assert (path.covers(other) or other.covers(path)) == path.overlaps(other)


@given(short_paths, short_paths, short_paths)
def test_covers_is_a_partial_order(first: DocumentPath, second: DocumentPath, third: DocumentPath) -> None:
    """
    Every path covers itself, two that cover each other are one, and who covers a path covers what is below it.
    """
    assert first.covers(first)
    assert (first.covers(second) and second.covers(first)) == (first == second)
    assert not (first.covers(second) and second.covers(third)) or first.covers(third)
    assert first.overlaps(second) == second.overlaps(first)
    assert first.covers(first.joined(second))


def test_covers_does_not_take_a_prefix_for_a_parent() -> None:
    """
    `/users` has nothing to do with `/users2`.
    """
    users, users2 = DocumentPath.parse("/users"), DocumentPath.parse("/users2")

    assert not users.covers(users2)
    assert not users.overlaps(users2)


@given(paths, segments)
def test_parent_takes_back_a_segment(path: DocumentPath, segment: str) -> None:
    """
    The parent of a member is the document; the root is its own parent; all of them are paths.
    """
    assert path == (path / segment).parent
    assert ROOT == ROOT.parent
    assert {DocumentPath} == {type(path / segment), type(path.parent), type(path.joined(("a",)))}
    assert repr(path) == f"DocumentPath({str(path)!r})"
