"""Our wire models and the peer's are the same: names, defaults, and every example both ways through the real peer."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias, TypeGuard

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import inspect

from cabochon import schemas
from cabochon.documents import json_patch, json_values
from cabochon.schemas import CallbackEntry, UpdateCallback
from cabochon.sync.outcome.callback_register import CallbackRegister

from .wire_examples import Json, PeersModel, actions, http_configs, of_ours, texts, values

pytestmark = [pytest.mark.network, pytest.mark.timeout(900), pytest.mark.xdist_group("peer")]

Model: TypeAlias = type[msgspec.Struct]

MODELS: list[Model] = [
    model
    for name in schemas.__all__
    if isinstance(model := getattr(schemas, name), type) and issubclass(model, msgspec.Struct)
]
each_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
examples = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)

FIELD_EXCUSES: Mapping[tuple[str, str], str] = {
    (
        "UpdateCallback",
        "callbacks",
    ): "required in the peer, which has no update without it; we take {} for no callbacks",
}
"""Where a field of ours differs from the peer's in being required, in its default, or in taking null."""

TAKEN_BY_US_ALONE: Mapping[str, tuple[str, str]] = {
    "a URL in a list of its own, as OPAL's documentation shows it": ("UpdateCallback", '{"callbacks": [["http://a"]]}'),
    "a URL with null for its config": ("UpdateCallback", '{"callbacks": [["http://a", null]]}'),
    "inline data that is a text": ("DataSourceEntry", '{"url": "", "data": "text"}'),
    "inline data that is a number": ("DataSourceEntry", '{"url": "", "data": 1}'),
    "inline data that is a boolean": ("DataSourceEntry", '{"url": "", "data": true}'),
    "a patch to be fetched, with null for its data": (
        "DataSourceEntry",
        '{"url": "http://a", "save_method": "PATCH", "data": null}',
    ),
    "a patch that writes null": ("JSONPatchAction", '{"op": "add", "path": "/a", "value": null}'),
}
"""The peer refuses it, OPA can hold it."""

TAKEN_BY_THE_PEER_ALONE: Mapping[str, tuple[str, str]] = {
    "a save method in lower case, without data": ("DataSourceEntry", '{"url": "", "save_method": "put"}'),
    "an operation that RFC 6902 does not know": ("JSONPatchAction", '{"op": "upsert", "path": "/a"}'),
    "a number for a text": ("DataSourceEntry", '{"url": 1}'),
    "a text for a boolean": ("RemoteStatus", '{"succeed": "yes"}'),
    "a header that is a number": ("HttpFetcherConfig", '{"headers": {"x": 1}}'),
}
"""The peer guesses what was meant; what it sends itself never needs that."""

CHANGED_BY_THE_PEER: Mapping[str, tuple[str, str]] = {
    "members of what looks like a patch": ("DataSourceEntry", '{"url": "", "data": [{"op": "1", "path": "", "x": 1}]}'),
    "the spelling of numbers": ("DataSourceEntry", '{"url": "", "data": {"n": 1.0000000000000000001}}'),
    "a callback's config, which it completes": ("CallbackEntry", '{"url": "", "config": {}}'),
    "paths of deleted files, which it tidies": ("DeletedFiles", '{"data_modules": ["a//b/"]}'),
}
"""The peer reads it and writes something else; we hand on what came."""


# --------------------------------------------------------------------------------------------------- the peer


class Peer:
    """The peer's models, in a process of their own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, do: str, **request: Json) -> dict[str, Json]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def parsed(self, model: Model, raw: bytes) -> bytes:
        """Return what the peer writes after reading `raw`."""
        answer = self.ask("parse", model=model.__name__, raw=raw.decode())
        assert "ok" in answer, f"the peer refuses {raw.decode()}: {answer}"
        return answer["ok"].encode()


@pytest.fixture(scope="module")
def peer(peer_python: Path) -> Iterator[Peer]:
    script = Path(__file__).with_name("peer_schemas.py")
    command = [str(peer_python), "-I", str(script)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        yield Peer(process)


# --------------------------------------------------------------------------------------------------- comparing


def written(value: Json) -> bytes:
    return json.dumps(value).encode()


def ours(model: Model, raw: bytes) -> bytes:
    """Return what we write after reading `raw`."""
    return msgspec.json.encode(msgspec.json.decode(raw, type=model))


def same(raw: bytes) -> Json:
    """Return what counts: no order of members, and no null for what an entry or a patch operation has not."""
    return _same(json.loads(raw))


def _same(value: Json) -> Json:
    if _is_object(value):
        plain = {key: _same(each) for key, each in value.items()}
        if "save_method" in plain and plain.get("data") is None:
            plain.pop("data", None)
        if {"op", "path"} <= plain.keys():
            absent = {"from"} if plain["op"] in {"test", "add", "replace"} else {"from", "value"}
            return {key: each for key, each in plain.items() if each is not None or key not in absent}
        return plain
    if _is_array(value):
        return [_same(each) for each in value]
    # As Python has it, true is 1 and 1 is 1.0.
    return repr(value) if isinstance(value, bool | float) else value


def _is_object(value: Json) -> TypeGuard[dict[str, Json]]:
    return isinstance(value, dict)


def _is_array(value: Json) -> TypeGuard[list[Json]]:
    return isinstance(value, list)


def with_strangers(kind: inspect.Type, value: Json) -> Json:
    """Add members that nobody knows to every model in `value`."""
    if isinstance(kind, inspect.UnionType):
        structs = [choice for choice in kind.types if isinstance(choice, inspect.StructType)]
        return with_strangers(structs[0], value) if structs else value
    if isinstance(kind, inspect.StructType) and _is_object(value):
        types = {field.encode_name: field.type for field in kind.fields}
        known = {key: with_strangers(types[key], each) for key, each in value.items()}
        return {"": [], "stranger": {"entries": 1}, **known, "Url": None}
    if isinstance(kind, inspect.VarTupleType) and _is_array(value):
        return [with_strangers(kind.item_type, each) for each in value]
    return value


# ------------------------------------------------------------------------------------------------------- tests


@each_model
def test_model_has_the_peers_fields(peer: Peer, model: Model) -> None:
    """
    Each model has the fields of the peer's, required where they are, with their defaults, and null where they take it.
    """
    described = peer.ask("describe", model=model.__name__)["ok"]["fields"]
    found: dict[str, Json] = {}
    for field in msgspec.structs.fields(model):
        default = field.default_factory() if callable(field.default_factory) else field.default
        raw = b"null" if field.required or default is msgspec.UNSET else msgspec.json.encode(default) or b"null"
        found[field.encode_name] = {
            "required": field.required,
            "nullable": _takes_null(inspect.type_info(field.type)),
            "default": json.loads(raw),
        }
    differing = {field for field in found.keys() & described.keys() if found[field] != described[field]}

    assert found.keys() == described.keys()
    assert {(model.__name__, field) for field in differing} == {
        excuse for excuse in FIELD_EXCUSES if excuse[0] == model.__name__
    }


def _takes_null(kind: inspect.Type) -> bool:
    match kind:
        case inspect.UnionType(types=types):
            return any(_takes_null(each) for each in types)
        case inspect.NoneType() | inspect.AnyType() | inspect.RawType():
            return True
        case _:
            return False


@each_model
@examples
@given(data=st.data())
def test_what_we_write_survives_the_peer(peer: Peer, model: Model, data: st.DataObject) -> None:
    """
    What we write the peer reads, and what it writes then is what we wrote.
    """
    sent = ours(model, written(data.draw(of_ours(inspect.type_info(model)))))

    assert same(sent) == same(ours(model, peer.parsed(model, sent)))


@each_model
def test_what_the_peer_writes_survives_us(peer: Peer, model: Model) -> None:
    """
    What the peer writes we read, and what we write then is the same to the peer.
    """
    name = model.__name__
    described = peer.ask("describe", model=name)["ok"]
    definitions = {name: described["schema"], **described["schema"].get("definitions", {})}

    @examples
    @given(value=PeersModel(definitions, described["nullable"]).examples(name))
    def survives(value: Json) -> None:
        ours(model, written(value))
        sent = peer.parsed(model, written(value))
        assert same(sent) == same(peer.parsed(model, ours(model, sent)))

    survives()


@each_model
@examples
@given(data=st.data())
def test_unknown_members_are_ignored(peer: Peer, model: Model, data: st.DataObject) -> None:
    """
    Members that nobody knows, in any model, change nothing for us, nor for the peer.
    """
    kind = inspect.type_info(model)
    known = ours(model, written(data.draw(of_ours(kind))))
    strange = written(with_strangers(kind, json.loads(known)))

    assert known != strange
    assert ours(model, known) == ours(model, strange)
    assert peer.parsed(model, known) == peer.parsed(model, strange)


@examples
@given(patch=st.lists(actions, max_size=3))
def test_patch_survives_the_peers_server(peer: Peer, patch: list[Json]) -> None:
    """
    A JSON patch that went through the peer's server is the patch that was sent.
    """
    entry = {"url": "", "save_method": "PATCH", "data": patch}
    published = peer.parsed(schemas.DataSourceEntry, written(entry))
    received = msgspec.json.decode(published, type=schemas.DataSourceEntry).inline
    assert received is not None

    def meaning(raw: bytes) -> list[Json]:
        return [
            (each.op, each.path, each.source, None if each.op in {"remove", "move", "copy"} else _same(each.value))
            for each in json_patch.parse(json_values.encode(json.loads(raw)))
        ]

    assert meaning(written(patch)) == meaning(received)


@pytest.mark.parametrize(("model", "raw"), TAKEN_BY_US_ALONE.values(), ids=TAKEN_BY_US_ALONE.keys())
def test_what_we_take_alone_is_refused_by_the_peer(peer: Peer, model: str, raw: str) -> None:
    """
    What the examples leave out for the peer's sake is still refused by it, and taken by us.
    """
    assert "error" in peer.ask("parse", model=model, raw=raw)
    msgspec.json.decode(raw, type=getattr(schemas, model))


@pytest.mark.parametrize(("model", "raw"), TAKEN_BY_THE_PEER_ALONE.values(), ids=TAKEN_BY_THE_PEER_ALONE.keys())
def test_what_the_peer_takes_alone_is_refused_by_us(peer: Peer, model: str, raw: str) -> None:
    """
    What the examples leave out for our sake is still taken by the peer, and refused by us.
    """
    assert "ok" in peer.ask("parse", model=model, raw=raw)
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(raw, type=getattr(schemas, model))


@pytest.mark.parametrize(("model", "raw"), CHANGED_BY_THE_PEER.values(), ids=CHANGED_BY_THE_PEER.keys())
def test_what_the_peer_changes_we_hand_on(peer: Peer, model: str, raw: str) -> None:
    """
    What the examples leave out because the peer changes it is still changed by it, and not by us.
    """
    kind: Model = getattr(schemas, model)
    sent = ours(kind, raw.encode())

    assert same(sent) == same(ours(kind, sent))
    assert sent != ours(kind, peer.parsed(kind, sent))


@examples
@given(value=values)
def test_hash_is_the_peers(peer: Peer, value: Json) -> None:
    """
    The hash in a report is what the peer's client computes for the same document.
    """
    raw = written(value)

    assert json_values.peer_hash(raw) == peer.ask("hash", raw=raw.decode())["ok"]


@examples
@given(url=texts, config=http_configs)
def test_key_of_a_callback_is_the_peers(peer: Peer, url: str, config: dict[str, Json]) -> None:
    """
    A callback is registered under the key that the peer's client gives it.
    """
    entry = CallbackRegister(UpdateCallback(), {}).put(CallbackEntry(url=url, config=config))

    assert entry.key == peer.ask("key", url=url, config=config)["ok"]
