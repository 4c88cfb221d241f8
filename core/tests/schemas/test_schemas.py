"""The wire models keep the peer's names and defaults, hand documents on untouched, and say what is wrong.

That they agree with the real peer is tested in `tests/interop/`.
"""

import json
from typing import Any

import msgspec
import pytest

from cabochon import schemas
from cabochon.schemas import (
    DataEntryReport,
    DataSourceConfig,
    DataSourceEntry,
    DataUpdate,
    DataUpdateReport,
    HttpFetcherConfig,
    JSONPatchAction,
    PolicyBundle,
    ServerDataSourceConfig,
    StoreTransaction,
    UpdateCallback,
)


def read(raw: str, model: Any) -> Any:  # noqa: ANN401 - a model, and an instance of it
    return msgspec.json.decode(raw, type=model)


def written(model: msgspec.Struct) -> dict[str, Any]:
    return json.loads(msgspec.json.encode(model))


def test_data_update_has_the_peers_defaults() -> None:
    """
    What an update leaves out is what the peer takes it for.
    """
    update = read('{"entries": [{"url": "http://data.example"}]}', DataUpdate)
    entry = DataSourceEntry(
        url="http://data.example", config=None, topics=("policy_data",), dst_path="", save_method="PUT"
    )

    assert DataUpdate(id=None, entries=(entry,), reason=None, callback=UpdateCallback(callbacks=())) == update


@pytest.mark.parametrize("raw", ['{"n": 1.10}', "[1e400, 12345678901234567890.5]", '"text"', "0", "false", '{ "a" :1}'])
def test_inline_data_is_untouched(raw: str) -> None:
    """
    Inline data are the very bytes that came, whatever their numbers and spaces.
    """
    entry = read(f'{{"url": "", "data": {raw}}}', DataSourceEntry)

    assert raw.encode() == entry.inline
    assert raw.encode() in msgspec.json.encode(entry)


@pytest.mark.parametrize("raw", ['{"url": ""}', '{"url": "", "data": null}', '{"url": "", "data":   null }'])
def test_entry_without_data_is_to_be_fetched(raw: str) -> None:
    """
    No data and null mean the same: fetch it.
    """
    assert read(raw, DataSourceEntry).inline is None


def test_entry_without_data_is_written_without() -> None:
    """
    An entry says nothing of data that it has not: the peer refuses a report on a patch that has null for them.
    """
    entry = DataSourceEntry(url="http://data.example", save_method="PATCH")
    report = written(DataUpdateReport(update_id="one", reports=(DataEntryReport(entry=entry, fetched=True),)))

    assert {"url", "config", "topics", "dst_path", "save_method"} == report["reports"][0]["entry"].keys()
    assert {"update_id": "one", "policy_hash": None, "user_data": {}}.items() <= report.items()


@pytest.mark.parametrize(
    "callbacks",
    [(), ("http://a",), (("http://a",),), (("http://a", {"method": "put"}),), (("http://a", None), "http://b")],
    ids=repr,
)
def test_callbacks_are_urls_with_or_without_config(callbacks: tuple[Any, ...]) -> None:
    """
    A callback is a URL, a URL in a list of its own, or a URL and its config.
    """
    update = read(json.dumps({"entries": [], "callback": {"callbacks": callbacks}}), DataUpdate)

    assert callbacks == update.callback.callbacks


@pytest.mark.parametrize("callback", [1, None, [], [1], ["http://a", 1], ["http://a", {}, {}], {"url": "http://a"}])
def test_callback_that_is_none_is_refused(callback: object) -> None:
    """
    What is no callback is refused by its place in the list.
    """
    with pytest.raises(msgspec.ValidationError, match=r"callbacks\[1\]"):
        read(json.dumps({"callbacks": ["http://ok.example", callback]}), UpdateCallback)


@pytest.mark.parametrize("raw", ["{}", '{"config": {}, "external_source_url": "http://a"}'])
def test_server_config_is_one_of_two(raw: str) -> None:
    """
    A server holds the base data or knows who does, not both and not neither.
    """
    with pytest.raises(msgspec.ValidationError, match="exactly one of 'config' and 'external_source_url'"):
        read(raw, ServerDataSourceConfig)


def test_server_config_of_each_kind() -> None:
    """
    The base data themselves and a URL for them are each enough.
    """
    assert read('{"config": {}}', ServerDataSourceConfig).config == DataSourceConfig()
    assert read('{"external_source_url": "http://a"}', ServerDataSourceConfig).external_source_url == "http://a"


@pytest.mark.parametrize(
    ("model", "raw", "where"),
    [
        (DataUpdate, "{}", "missing required field `entries`"),
        (DataUpdate, '{"entries": [{"dst_path": "/a"}]}', r"missing required field `url` - at `\$.entries\[0\]`"),
        (DataUpdate, '{"entries": [{"url": "", "save_method": "put"}]}', r"'put' - at `\$.entries\[0\].save_method`"),
        (DataUpdate, '{"entries": [{"url": "", "topics": "a"}]}', r"got `str` - at `\$.entries\[0\].topics`"),
        (HttpFetcherConfig, '{"method": "GET"}', r"Invalid enum value 'GET' - at `\$.method`"),
        (JSONPatchAction, '{"op": "upsert", "path": ""}', r"Invalid enum value 'upsert' - at `\$.op`"),
        (PolicyBundle, '{"hash": "1"}', "missing required field `manifest`"),
    ],
)
def test_bad_message_is_refused_by_member(model: Any, raw: str, where: str) -> None:  # noqa: ANN401 - a model
    """
    A message of the wrong shape is refused, and the reason names the member.
    """
    with pytest.raises(msgspec.ValidationError, match=where):
        read(raw, model)


def test_transaction_is_written_in_full() -> None:
    """
    A transaction is written with every member that the peer's healthcheck document has.
    """
    members = ["id", "actions", "transaction_type", "success", "error", "creation_time", "end_time", "remotes_status"]

    assert members == list(written(StoreTransaction(id="one", actions=("set_policy_data",))))


def test_patch_action_is_written_without_what_it_has_not() -> None:
    """
    An operation of a JSON patch is written with the members that RFC 6902 gives it.
    """
    move = read('{"op": "move", "path": "/a", "from": "/b"}', JSONPatchAction)
    add = read('{"op": "add", "path": "/a", "value": null}', JSONPatchAction)

    assert {"op": "move", "path": "/a", "from": "/b"} == written(move)
    assert {"op": "add", "path": "/a", "value": None} == written(add)


@pytest.mark.parametrize("name", schemas.__all__)
def test_models_can_not_be_changed(name: str) -> None:
    """
    What came over the wire stays as it came: every model is frozen.
    """
    model = getattr(schemas, name)
    if isinstance(model, type) and issubclass(model, msgspec.Struct):
        assert model.__struct_config__.frozen
