"""Stores that break one promise about documents each; see broken_stores.py."""

from __future__ import annotations

from decimal import Decimal

from cabochon.contract.policy_store import StoreTraits
from cabochon.documents.json_values import decode, encode
from cabochon.documents.path import DocumentPath
from cabochon.errors import PathConflictError, StoreRejectedError

from .broken_stores import BROKEN, breaks
from .reference_store import NOTHING, Json, ReferenceStore, is_array, is_object

__all__ = ["BROKEN"]


@breaks("test_store_keeps_documents")
class KeepsFacts(ReferenceStore):
    traits = StoreTraits(policy_unit="files", data_unit="facts", atomic="commit")


@breaks("test_put_replaces_the_document")
class MergesPuts(ReferenceStore):
    def put(self, tree: Json, path: DocumentPath, value: Json) -> None:
        old = self.find(tree, path)
        super().put(tree, path, old | value if is_object(old) and is_object(value) else value)


@breaks("test_put_below_a_document_keeps_the_rest_of_it")
@breaks("test_patch_at_the_root")
class ReplacesParents(ReferenceStore):
    def put(self, tree: Json, path: DocumentPath, value: Json) -> None:
        super().put(tree, path.parent, {path[-1]: value})


@breaks("test_put_creates_missing_parents")
class WantsParents(ReferenceStore):
    def put(self, tree: Json, path: DocumentPath, value: Json) -> None:
        if path and self.find(tree, path.parent) is NOTHING:
            raise PathConflictError("no parent")
        super().put(tree, path, value)


@breaks("test_put_keeps_siblings")
class DeletesByPrefix(ReferenceStore):
    def delete(self, tree: Json, path: DocumentPath) -> None:
        for key in [key for key in tree if key.startswith(path[0])]:
            del tree[key]


@breaks("test_put_below_a_scalar_is_a_conflict", None)
@breaks("test_put_below_a_scalar_is_a_conflict", "text")
@breaks("test_refused_write_leaves_nothing")
@breaks("test_refused_commit_leaves_nothing")
@breaks("test_state_alone_lands_or_is_refused")
class OverwritesScalars(ReferenceStore):
    def put(self, tree: Json, path: DocumentPath, value: Json) -> None:
        for depth in range(len(path)):
            if not isinstance(self.find(tree, path[:depth]), dict | list):
                super().put(tree, DocumentPath(path[:depth]), {})
        super().put(tree, path, value)


@breaks("test_put_replaces_an_element")
class InsertsElements(ReferenceStore):
    def put(self, tree: Json, path: DocumentPath, value: Json) -> None:
        node = self.find(tree, path.parent)
        if is_array(node):
            node.insert(int(path[-1]), value)
        else:
            super().put(tree, path, value)


@breaks("test_put_at_no_element_is_a_conflict", "2")
@breaks("test_put_at_no_element_is_a_conflict", "-")
class GrowsArrays(ReferenceStore):
    def put(self, tree: Json, path: DocumentPath, value: Json) -> None:
        node = self.find(tree, path.parent)
        if is_array(node) and path[-1] in {"-", str(len(node))}:
            node.append(value)
        else:
            super().put(tree, path, value)


@breaks("test_root_document_replaces_all_or_is_refused")
class WipesWhatIsReserved(ReferenceStore):
    def put_root(self, tree: dict[str, Json], value: Json) -> None:
        super().put_root(tree, value)
        tree.pop("system", None)


@breaks("test_root_document_replaces_all_or_is_refused")
class MergesTheRoot(ReferenceStore):
    def put_root(self, tree: dict[str, Json], value: Json) -> None:
        tree.update(value)


@breaks("test_root_is_an_object", [])
class WrapsTheRoot(ReferenceStore):
    def put_root(self, tree: dict[str, Json], value: Json) -> None:
        super().put_root(tree, value if is_object(value) else {"items": value})


@breaks("test_delete_removes_what_is_there")
class NullsWhatIsDeleted(ReferenceStore):
    def delete(self, tree: Json, path: DocumentPath) -> None:
        self.put(tree, path, None)


@breaks("test_delete_of_nothing_is_fine", "/x/y/z")
class CreatesToDelete(ReferenceStore):
    def delete(self, tree: Json, path: DocumentPath) -> None:
        self.put(tree, path, None)
        super().delete(tree, path)


@breaks("test_any_key_is_a_key", "a/b")
class SplitsKeys(ReferenceStore):
    def put(self, tree: Json, path: DocumentPath, value: Json) -> None:
        super().put(tree, DocumentPath("/".join(path).split("/")), value)


@breaks("test_any_key_is_a_key", "%2F")
class DecodesKeys(ReferenceStore):
    def put(self, tree: Json, path: DocumentPath, value: Json) -> None:
        super().put(tree, DocumentPath.parse("/".join(path)), value)


@breaks("test_nulls_are_data")
class DropsNulls(ReferenceStore):
    def decoded(self, raw: bytes, path: DocumentPath) -> Json:
        value = super().decoded(raw, path)
        return {key: one for key, one in value.items() if one is not None} if is_object(value) else value


@breaks("test_nulls_are_data")
class ReadsNullAsNothing(ReferenceStore):
    async def get_data(self, path: DocumentPath) -> bytes | None:
        raw = await super().get_data(path)
        return None if raw == b"null" else raw


def floats(value: Json) -> Json:
    if is_object(value):
        return {key: floats(one) for key, one in value.items()}
    if is_array(value):
        return [floats(one) for one in value]
    return float(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) else value


@breaks("test_numbers_are_exact", "1e400")
@breaks("test_numbers_are_exact", "9007199254740993")
@breaks("test_numbers_are_exact", "123456789012345678901234567890")
class ComputesInFloats(ReferenceStore):
    def decoded(self, raw: bytes, path: DocumentPath) -> Json:
        return floats(super().decoded(raw, path))


@breaks("test_small_values_stay_what_they_are", [])
@breaks("test_small_values_stay_what_they_are", {})
class PrunesWhatIsEmpty(ReferenceStore):
    def put(self, tree: Json, path: DocumentPath, value: Json) -> None:
        if value in ({}, []):
            self.delete(tree, path)
        else:
            super().put(tree, path, value)


@breaks("test_small_values_stay_what_they_are", True)
class CountsBooleans(ReferenceStore):
    def decoded(self, raw: bytes, path: DocumentPath) -> Json:
        value = super().decoded(raw, path)
        return int(value) if isinstance(value, bool) else value


@breaks("test_text_is_exact")
class CleansText(ReferenceStore):
    def decoded(self, raw: bytes, path: DocumentPath) -> Json:
        value = super().decoded(raw, path)
        return value.replace("\0", "") if isinstance(value, str) else value


@breaks("test_wide_documents")
class PagesAtAThousand(ReferenceStore):
    async def get_data(self, path: DocumentPath) -> bytes | None:
        raw = await super().get_data(path)
        value: Json = decode(raw or b"null")
        return encode(dict(list(value.items())[:1000])) if is_object(value) else raw


@breaks("test_deep_documents")
class StopsAtDepth(ReferenceStore):
    def put(self, tree: Json, path: DocumentPath, value: Json) -> None:
        if len(path) > 50:
            raise StoreRejectedError("too deep")
        super().put(tree, path, value)


@breaks("test_value_that_is_no_json_is_refused")
class RaisesItsRefusals(ReferenceStore):
    def decoded(self, raw: bytes, path: DocumentPath) -> Json:
        return decode(raw)


@breaks("test_export_holds_everything")
class ExportsNulls(ReferenceStore):
    async def export_data(self) -> bytes:
        return encode(dict.fromkeys(self.engine.holds.tree))
