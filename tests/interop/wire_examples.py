"""Examples of wire models, generated from our types and from the peer's schemas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from msgspec import inspect

Json: TypeAlias = Any

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
names = st.sampled_from(["a", "b/c", "policy_data", "\u00e9 %"])
floats = st.floats(allow_nan=False, allow_infinity=False)
numbers = st.integers(-(2**63), 2**63) | floats
leaves: SearchStrategy[Json] = st.none() | st.booleans() | numbers | texts
values: SearchStrategy[Json] = leaves | st.lists(leaves, max_size=2) | st.dictionaries(names, leaves, max_size=2)
objects: SearchStrategy[Json] = st.dictionaries(names, values, max_size=2)
pointers = st.sampled_from(["", "/a", "/a~1b/-", "/0"])
files = st.sampled_from([".", "data.json", "a/b", "caf\u00e9/x.rego"])
urls = st.sampled_from(["http://data.example", "https://data.example:8443/a?b=c#d", "http://bob:secret@localhost/"])
actions: SearchStrategy[Json] = st.one_of(
    st.fixed_dictionaries({"op": st.just("remove"), "path": pointers}),
    st.fixed_dictionaries({"op": st.sampled_from(["move", "copy"]), "path": pointers, "from": pointers}),
    st.fixed_dictionaries({"op": st.just("test"), "path": pointers, "value": values}),
    st.fixed_dictionaries(
        {
            "op": st.sampled_from(["add", "replace"]),
            "path": pointers,
            "value": values.filter(lambda value: value is not None),
        }
    ),
)
http_configs: SearchStrategy[Json] = st.fixed_dictionaries(
    {
        "fetcher": st.none() | texts,
        "headers": st.none() | st.dictionaries(texts, texts, max_size=2),
        "is_json": st.booleans(),
        "process_data": st.booleans(),
        "method": st.sampled_from(["get", "post", "put", "patch", "head", "delete"]),
        "data": values,
    }
)

OF_FIELD: Mapping[tuple[str, str], SearchStrategy[Json]] = {
    ("CallbackEntry", "config"): st.none() | http_configs,
    ("DataSourceEntry", "data"): st.none() | st.lists(values, max_size=3) | objects,
    ("DataSourceEntry", "save_method"): st.sampled_from(["PUT", "PATCH"]),
    ("DeletedFiles", "data_modules"): st.lists(files, max_size=2),
    ("DeletedFiles", "policy_modules"): st.lists(files, max_size=2),
    ("HttpFetcherConfig", "headers"): st.none() | st.dictionaries(texts, texts, max_size=2),
    ("ServerDataSourceConfig", "external_source_url"): st.none() | urls,
    ("UpdateCallback", "callbacks"): st.lists(urls | st.tuples(urls, http_configs).map(list), max_size=2),
}
"""What both sides take where a field's type says less than the wire means; subclasses share it."""


def of_model(
    name: str, required: dict[str, SearchStrategy[Json]], optional: dict[str, SearchStrategy[Json]]
) -> SearchStrategy[Json]:
    """Generate a model of these members, each by its own strategy unless `OF_FIELD` knows better."""
    if name == "JSONPatchAction":
        return actions
    family = name.removesuffix("WithPollingInterval")
    members = st.fixed_dictionaries(
        {field: OF_FIELD.get((family, field), strategy) for field, strategy in required.items()},
        optional={field: OF_FIELD.get((family, field), strategy) for field, strategy in optional.items()},
    )
    if name == "ServerDataSourceConfig":
        return members.map(_one_of_the_two)
    return st.builds(_patched, members, st.lists(actions, max_size=3)) if family == "DataSourceEntry" else members


def _one_of_the_two(model: dict[str, Json]) -> dict[str, Json]:
    """Make it a config or a URL, and never both."""
    if model.get("config") is not None:
        return {"config": model["config"]}
    return model if model.get("external_source_url") is not None else {"config": {}}


def _patched(model: dict[str, Json], patch: list[Json]) -> dict[str, Json]:
    """Make the data of an entry a JSON patch if that is how it is saved."""
    return model | {"data": patch} if model.get("save_method") == "PATCH" and "data" in model else model


def of_ours(kind: inspect.Type) -> SearchStrategy[Json]:
    """Generate what a type of ours takes."""
    match kind:
        case inspect.StructType(cls=cls, fields=fields):
            return of_model(
                cls.__name__,
                {field.encode_name: of_ours(field.type) for field in fields if field.required},
                {field.encode_name: of_ours(field.type) for field in fields if not field.required},
            )
        case inspect.UnionType(types=types):
            return st.one_of([of_ours(each) for each in types])
        case inspect.VarTupleType(item_type=item_type):
            return st.lists(of_ours(item_type), max_size=2)
        case inspect.LiteralType(values=choices):
            return st.sampled_from(choices)
        case _:
            return OF_OUR_TYPE[type(kind)]


OF_OUR_TYPE: Mapping[type[inspect.Type], SearchStrategy[Json]] = {
    inspect.NoneType: st.none(),
    inspect.BoolType: st.booleans(),
    inspect.FloatType: floats,
    inspect.StrType: texts,
    inspect.DictType: objects,
    inspect.AnyType: values,
    inspect.RawType: objects,
}


@dataclass
class PeersModel:
    """A model of the peer, as its own schema describes it."""

    definitions: Mapping[str, Json]
    nullable: Mapping[str, list[str]]

    def examples(self, name: str) -> SearchStrategy[Json]:
        """Generate what a model takes."""
        definition = self.definitions[name]
        if "properties" not in definition:
            return self._of(definition)
        members = {
            field: st.none() | self._of(schema) if field in self.nullable[name] else self._of(schema)
            for field, schema in definition["properties"].items()
        }
        required: list[str] = definition.get("required", [])
        if name.startswith("DataSourceEntry"):
            # Where there is no data the peer writes null, which it refuses itself to read if the entry is a patch.
            required = [*required, "data"]
        return of_model(
            name,
            {field: strategy for field, strategy in members.items() if field in required},
            {field: strategy for field, strategy in members.items() if field not in required},
        )

    def _of(self, schema: dict[str, Json]) -> SearchStrategy[Json]:
        match schema:
            case {"$ref": str(name)} | {"allOf": [{"$ref": str(name)}]}:
                return self.examples(name)
            case {"anyOf": choices}:
                return st.one_of([self._of(choice) for choice in choices])
            case {"enum": choices}:
                return st.sampled_from(choices)
            case {"type": "array", "items": items} if not isinstance(items, list):
                return st.lists(self._of(items), max_size=2)
            case _:
                return OF_PEERS_TYPE[schema.get("type")]


OF_PEERS_TYPE: Mapping[str | None, SearchStrategy[Json]] = {
    None: values,
    "array": st.nothing(),
    "boolean": st.booleans(),
    "number": floats | st.integers(0, 1_000),
    "object": objects,
    "string": texts,
}
