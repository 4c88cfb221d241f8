"""What a store must do that keeps documents: put, delete, order, all or nothing."""

from __future__ import annotations

from decimal import Decimal

import pytest

from cabochon.contract.policy_store import PolicyStore
from cabochon.contract.powers import SupportsExport, SupportsReadBack
from cabochon.documents.json_values import decode
from cabochon.documents.path import ROOT, DocumentPath
from cabochon.errors import PathConflictError
from cabochon.testing._commits import MISSING, at, delete, land, put, refuse, writes
from cabochon.testing._every_store import StoreTests
from cabochon.transactions.changes import Changes, SetData
from cabochon.transactions.commit_result import Applied, Refused

__all__ = ["DocumentTests"]

KEYS = ["é", "日本", "🔑", "a b", "a/b", "~", "~1", "%", "%2F", "50%", "a.b", *"'\"\\-0", "null", "?#&=+;"]
KEY_IDS = [key.encode("unicode_escape").decode() for key in KEYS]


class DocumentTests(StoreTests):
    """Put and delete; see `DocumentStoreContract`."""

    async def read(self, store: PolicyStore, path: str | DocumentPath) -> object:
        """Return what the engine holds at `path`, `MISSING` if nothing; override it where `read_back` is missing."""
        assert isinstance(store, SupportsReadBack), "override `read` for a store without read_back"
        raw = await store.get_data(path if isinstance(path, DocumentPath) else at(path))
        return MISSING if raw is None else decode(raw)

    async def test_store_keeps_documents(self, store: PolicyStore) -> None:
        """
        A store under this contract declares that it keeps documents.
        """
        assert store.traits.data_unit == "documents"

    # ---------------------------------------------------------------------------------------------------- put

    async def test_put_replaces_the_document(self, store: PolicyStore) -> None:
        """
        PUT leaves nothing of the earlier document behind.
        """
        await land(store, put("/tenants/acme", {"plan": "free", "seats": {"used": 3}}))
        await land(store, put("/tenants/acme", {"plan": "pro"}))

        assert await self.read(store, "/tenants/acme") == {"plan": "pro"}
        assert await self.read(store, "/tenants/acme/seats") is MISSING

    async def test_put_below_a_document_keeps_the_rest_of_it(self, store: PolicyStore) -> None:
        """
        PUT of a member changes that member alone.
        """
        await land(store, put("/tenants/acme", {"plan": "free", "limits": {"seats": 3, "sites": 1}}))
        await land(store, put("/tenants/acme/limits/seats", 4))

        assert await self.read(store, "/tenants/acme") == {"plan": "free", "limits": {"seats": 4, "sites": 1}}

    async def test_put_creates_missing_parents(self, store: PolicyStore) -> None:
        """
        PUT creates the objects that its path runs through.
        """
        await land(store, put("/a/b/c/d", 1))

        assert await self.read(store, "/a") == {"b": {"c": {"d": 1}}}

    async def test_put_keeps_siblings(self, store: PolicyStore) -> None:
        """
        PUT and delete touch no other path, be it spelt almost alike.
        """
        alike = ["/users2", "/user", "/users_", "/userS", "/a/users"]
        await land(store, *(put(path, {"kept": path}) for path in alike))
        await land(store, put("/users", {"x": 1}))
        await land(store, delete("/users"))

        assert [{"kept": path} for path in alike] == [await self.read(store, path) for path in alike]

    @pytest.mark.parametrize("scalar", ["text", 1, True, None], ids=repr)
    async def test_put_below_a_scalar_is_a_conflict(self, store: PolicyStore, scalar: object) -> None:
        """
        PUT below a string, number, boolean or null is refused with a `PathConflictError` that names the path.
        """
        await land(store, put("/a", {"b": scalar}))
        error = await refuse(store, put("/a/b/c", 1))

        assert isinstance(error, PathConflictError)
        assert "/a/b" in str(error)
        assert error.path.startswith("/a/b")
        assert await self.read(store, "/a") == {"b": scalar}

    async def test_put_replaces_an_element(self, store: PolicyStore) -> None:
        """
        PUT at the index of an array's element replaces that element, and reaches into it.
        """
        await land(store, put("/a", [1, {"n": 2}, 3]))
        await land(store, put("/a/0", "one"), put("/a/1/n", "two"))

        assert await self.read(store, "/a") == ["one", {"n": "two"}, 3]
        assert await self.read(store, "/a/2") == 3

    @pytest.mark.parametrize("index", ["2", "-", "x", "-1"])
    async def test_put_at_no_element_is_a_conflict(self, store: PolicyStore, index: str) -> None:
        """
        PUT at or below an index that an array does not have is refused with a `PathConflictError`.
        """
        await land(store, put("/a", [1, 2]))

        assert isinstance(await refuse(store, put(f"/a/{index}", 0)), PathConflictError)
        assert isinstance(await refuse(store, put(f"/a/{index}/b", 0)), PathConflictError)
        assert await self.read(store, "/a") == [1, 2]

    async def test_root_document_replaces_all_or_is_refused(self, store: PolicyStore) -> None:
        """
        PUT of a root object replaces all but what the store reserves, unless the store refuses it as a whole.
        """
        reserved = [path / "contract" for path in store.traits.reserved]
        result = await store.commit(Changes(writes([put("/old", 1)]), tuple(put(path, "kept") for path in reserved)))
        assert [Applied] == [type(outcome) for outcome in result.outcomes]
        result = await store.commit(Changes(writes([put("/", {"new": {"x": 1}})])))

        replaced = isinstance(result.outcomes[0], Applied)
        assert replaced or isinstance(result.outcomes[0], Refused)
        assert (await self.read(store, "/old"), await self.read(store, "/new")) == (
            (MISSING, {"x": 1}) if replaced else (1, MISSING)
        )
        assert ["kept" for _ in reserved] == [await self.read(store, path) for path in reserved]

    @pytest.mark.parametrize("value", [[], "text", 1, None], ids=repr)
    async def test_root_is_an_object(self, store: PolicyStore, value: object) -> None:
        """
        A root document that is no object is refused.
        """
        await land(store, put("/a", 1))
        await refuse(store, put("/", value))

        assert await self.read(store, "/a") == 1

    # ------------------------------------------------------------------------------------------------- delete

    async def test_delete_removes_what_is_there(self, store: PolicyStore) -> None:
        """
        Delete removes the document with all below it, and keeps its siblings.
        """
        await land(store, put("/a", {"b": {"c": 1}, "d": 2}))
        await land(store, delete("/a/b"))

        assert await self.read(store, "/a") == {"d": 2}
        assert await self.read(store, "/a/b/c") is MISSING

    @pytest.mark.parametrize("path", ["/x", "/a/x", "/a/scalar/x", "/a/list/7", "/a/list/-", "/x/y/z"])
    async def test_delete_of_nothing_is_fine(self, store: PolicyStore, path: str) -> None:
        """
        Delete of what is not there changes nothing and is applied.
        """
        await land(store, put("/a", {"scalar": 1, "list": [1]}))
        await land(store, delete(path))

        assert await self.read(store, "/a") == {"scalar": 1, "list": [1]}
        assert await self.read(store, "/x") is MISSING

    # ------------------------------------------------------------------------------------------------- values

    @pytest.mark.parametrize("key", KEYS, ids=KEY_IDS)
    async def test_any_key_is_a_key(self, store: PolicyStore, key: str) -> None:
        """
        Any text is a key, in a path and in a document, whatever it means to URLs, JSON pointers or databases.
        """
        await land(store, SetData(DocumentPath(("keys", key, "member")), b"1"))
        await land(store, put("/document", {key: {"member": 2}}))

        assert await self.read(store, "/keys") == {key: {"member": 1}}
        assert await self.read(store, DocumentPath(("document", key, "member"))) == 2

        await land(store, put("/keys/other", 1), SetData(DocumentPath(("keys", key)), b"3"))
        assert await self.read(store, "/keys") == {key: 3, "other": 1}

    async def test_nulls_are_data(self, store: PolicyStore) -> None:
        """
        A null is a value: it is kept, and it is not the same as nothing.
        """
        await land(store, put("/a", {"b": None, "c": [None]}), put("/null", None))

        assert await self.read(store, "/a") == {"b": None, "c": [None]}
        assert await self.read(store, "/null") is None
        assert await self.read(store, "/nothing") is MISSING

    @pytest.mark.parametrize(
        "number",
        [
            "0",
            "1.10",
            "1e400",
            "-1e-400",
            "123456789012345678901234567890",
            "9007199254740993",
            "0.1234567890123456789",
        ],
    )
    async def test_numbers_are_exact(self, store: PolicyStore, number: str) -> None:
        """
        A number keeps its exact value, whatever its size.
        """
        await land(store, put("/number", number.encode()), put("/in", b'{"a": [' + number.encode() + b"]}"))

        assert Decimal(number) == await self.read(store, "/number")
        assert {"a": [Decimal(number)]} == await self.read(store, "/in")

    @pytest.mark.parametrize("value", [{}, [], "", 0, False, True, [[]], [{}], {"a": {}}, {"": ""}], ids=repr)
    async def test_small_values_stay_what_they_are(self, store: PolicyStore, value: object) -> None:
        """
        Empty objects, arrays and strings, zero and booleans are kept as what they are, at a path and in a document.
        """
        await land(store, put("/small", value), put("/outer", {"inner": value}))

        for found in (await self.read(store, "/small"), await self.read(store, "/outer/inner")):
            assert (type(value), value) == (type(found), found)

    async def test_text_is_exact(self, store: PolicyStore) -> None:
        """
        Text is kept character by character, control characters and all planes of Unicode included.
        """
        text = "".join(map(chr, range(0x180))) + "\u2028\u2029\ufeff\uffff🔑e\u0301é"
        await land(store, put("/text", text))

        assert text == await self.read(store, "/text")

    async def test_wide_documents(self, store: PolicyStore) -> None:
        """
        A document of 10,000 keys is kept, and a change of one of them keeps the others.
        """
        wide = {f"user{number}": {"n": number} for number in range(10_000)}
        await land(store, put("/wide", wide))
        await land(store, put("/wide/user5000/n", -1), delete("/wide/user7000"), put("/wide/new", {}))
        del wide["user7000"]

        assert wide | {"user5000": {"n": -1}, "new": {}} == await self.read(store, "/wide")

    async def test_deep_documents(self, store: PolicyStore) -> None:
        """
        A document of 100 levels is kept, written as one or by a path of 100 segments.
        """
        deep: object = 1
        for _ in range(100):
            deep = {"d": deep}
        path = DocumentPath(["d"] * 100)
        await land(store, put("/deep", deep), SetData(at("/path").joined(path), b"1"))

        assert deep == await self.read(store, "/deep") == await self.read(store, "/path")
        assert await self.read(store, at("/deep").joined(path)) == 1

    async def test_value_that_is_no_json_is_refused(self, store: PolicyStore) -> None:
        """
        Bytes that are no JSON are refused, and nothing of them lands.
        """
        await refuse(store, put("/a", b'{"b": '))

        assert await self.read(store, "/a") is MISSING

    async def test_export_holds_everything(self, store: PolicyStore) -> None:
        """
        An export is one JSON object with all documents as they are.
        """
        engine = self.power(store, SupportsExport)
        await land(store, put("/a", {"b": [1, None, "é"]}), put("/n", b"1e400"))

        assert {"a": {"b": [1, None, "é"]}, "n": Decimal("1e400")} == decode(await engine.export_data())
        assert {"a", "n"} == set(_object(await self.read(store, ROOT)))


def _object(value: object) -> dict[str, object]:
    assert isinstance(value, dict)
    return value  # pyright: ignore[reportUnknownVariableType]
