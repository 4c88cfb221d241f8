"""The in-process update source: what is fed comes out, in order and bounded."""

import anyio
import msgspec
import pytest
from anyio import wait_all_tasks_blocked

from cabochon.contract.update_source import Connected, DataUpdateReceived, Disconnected, PolicyChanged, SourceEvent
from cabochon.schemas import DataSourceConfig, DataSourceEntryWithPollingInterval, PolicyBundle
from cabochon.testing.in_process_source import InProcessSource

BUNDLE = PolicyBundle(manifest=(), hash="1", data_modules=(), policy_modules=())


def update(name: str) -> dict[str, object]:
    return {"id": name, "entries": [{"url": "", "dst_path": "/a", "data": {"price": 0.1}}]}


async def all_of(source: InProcessSource) -> list[SourceEvent]:
    source.close()
    return [event async for event in source.events()]


async def test_events_come_in_the_order_in_which_they_were_fed() -> None:
    """First it is connected, then follows what was fed."""
    source = InProcessSource(bundle=BUNDLE)
    await source.publish(update("u1"), topic="t")
    await source.disconnect("gone")
    await source.connect(resumed=True)
    await source.change_policies(msgspec.structs.replace(BUNDLE, hash="2"), directories=["a"])

    first, published, *rest = await all_of(source)

    assert Connected() == first
    assert isinstance(published, DataUpdateReceived)
    assert ("u1", "t", 1) == (published.update.id, published.topic, published.position)
    assert [Disconnected("gone"), Connected(resumed=True), PolicyChanged("2", ("a",))] == rest


async def test_documents_stay_raw() -> None:
    """The data of an update given as an object travel as JSON, as they would from a server."""
    source = InProcessSource()
    await source.publish(update("u1"))

    _, published = await all_of(source)

    assert isinstance(published, DataUpdateReceived)
    assert b'{"price":0.1}' == published.update.entries[0].inline


async def test_what_is_no_update_is_refused_at_once() -> None:
    """A wrong object is the publisher's mistake, and told to the publisher."""
    with pytest.raises(msgspec.ValidationError, match="dst_path"):
        await InProcessSource().publish({"entries": [{"url": "", "dst_path": 1}]})


async def test_publisher_waits_for_room() -> None:
    """What was not taken yet is bounded: the publisher waits."""
    source = InProcessSource(capacity=2)
    taken = source.events()
    published: list[str] = []

    async def publish_all() -> None:
        for name in ("u1", "u2", "u3"):
            await source.publish(update(name))
            published.append(name)
        source.close()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(publish_all)
        await wait_all_tasks_blocked()
        assert ["u1"] == published
        assert Connected() == await anext(taken)
        await wait_all_tasks_blocked()
        assert ["u1", "u2"] == published
        assert 3 == len([event async for event in taken])


async def test_publishing_after_the_end_is_an_error() -> None:
    """A closed source takes nothing more."""
    source = InProcessSource()
    source.close()

    with pytest.raises(RuntimeError, match="closed"):
        await source.publish(update("u1"))


async def test_answers_are_what_it_was_given() -> None:
    """Base data and policies are its attributes; known policies are not sent again."""
    base = DataSourceConfig(entries=(DataSourceEntryWithPollingInterval(url="http://a", dst_path="/a"),))
    source = InProcessSource(base_data=base, bundle=BUNDLE)

    assert base == await source.data_sources()
    assert BUNDLE == await source.policy_bundle(None, ())
    assert await source.policy_bundle("1", ()) is None
    assert source.has_policies
    assert not InProcessSource().has_policies


async def test_acknowledged_positions_are_remembered() -> None:
    """A test can see how far the agent has come."""
    source = InProcessSource()
    await source.acknowledge(1)

    assert [1] == source.acknowledged
