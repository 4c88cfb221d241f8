"""What every update source must do, as tests that its author runs by subclassing."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import ClassVar

import anyio
import msgspec
import pytest

from cabochon.contract.update_source import Connected, UpdateSource, UpdateSourceType
from cabochon.schemas import DataUpdate
from cabochon.testing import _source_feed as side
from cabochon.testing._contract import Contract
from cabochon.testing._source_feed import QUIET_S, UpdateFeed, made
from cabochon.testing._watch import Watch

__all__ = ["UpdateFeed", "UpdateSourceContract"]


class UpdateSourceContract(Contract):
    """What every update source must do; subclass it and provide `source_type`, `feed` and, if need be, `settings`.

    Attributes:
        run_ahead_bytes: how much the source may hold that nobody has taken yet, of the 40 MB that are published.
    """

    run_ahead_bytes: ClassVar[int] = 20_000_000

    @pytest.fixture
    def source_type(self) -> UpdateSourceType:
        """The registration that the plugin offers."""
        raise NotImplementedError("return the UpdateSourceType under test")

    @pytest.fixture
    def feed(self) -> UpdateFeed:
        """The other side."""
        raise NotImplementedError("return or yield an UpdateFeed")

    @pytest.fixture
    def settings(self, source_type: UpdateSourceType) -> object:
        """What `open` is given; the settings' defaults unless overridden."""
        return source_type.settings() if source_type.settings is not None else None

    @pytest.fixture
    async def source(self, source_type: UpdateSourceType, settings: object) -> AsyncGenerator[UpdateSource]:
        """The source, open."""
        async with source_type.open(settings) as source:
            yield source

    # ------------------------------------------------------------------------------------------------------ events

    async def test_first_event_is_connected(self, source: UpdateSource) -> None:
        """
        The first event of a new source is `Connected`, and it claims no position to resume from.
        """
        async with side.listening(source) as events:
            assert Connected(resumed=False) == await side.next_event(events)

    async def test_updates_come_in_order(self, source: UpdateSource, feed: UpdateFeed) -> None:
        """
        Updates come once each, in the order in which they were published.
        """
        names = [f"update-{number}" for number in range(50)]

        received = await side.received(source, feed, *map(made, names))

        assert names == [event.update.id for event in received]

    async def test_updates_come_unchanged(self, source: UpdateSource, feed: UpdateFeed) -> None:
        """
        An update comes as it was published: every entry, topic, configuration, callback and digit.
        """
        topic = (*source.topics, "policy_data")[0]
        entry = {
            "url": "http://data.example/J\u00f6rg?a=%2F",
            "config": {"headers": {"x": "y"}, "timeout": 1},
            "topics": [topic, "other"],
            "dst_path": "/users/J\u00f6rg%2F",
        }
        patch = {"url": "", "topics": [topic], "dst_path": "/a", "save_method": "PATCH"}
        update = msgspec.convert(
            {
                "id": "u",
                "reason": "why",
                "entries": [
                    entry,
                    {**patch, "data": msgspec.Raw(b'[{"op": "add", "path": "/n", "value": 12345678901234567890.10}]')},
                ],
                "callback": {"callbacks": ["http://a.example", ["http://b.example", {"method": "put"}]]},
            },
            DataUpdate,
        )

        (event,) = await side.received(source, feed, update)

        assert side.comparable(update) == side.comparable(event.update)

    async def test_quiet_source_waits(self, source: UpdateSource, feed: UpdateFeed) -> None:
        """
        As long as something may come, the events do not end, however quiet it is.
        """
        async with side.listening(source) as events:
            await side.next_event(events)
            for name in ("first", "second"):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(side.later, feed, made(name))
                    assert name == (await side.next_update(events)).update.id

    async def test_malformed_update_is_skipped(self, source: UpdateSource, feed: UpdateFeed) -> None:
        """
        What is no data update is skipped: those before and after it come.
        """
        async with side.listening(source) as events, anyio.create_task_group() as tasks:
            await side.next_event(events)
            tasks.start_soon(side.publish_around_malformed, feed)
            assert ["before", "after"] == [(await side.next_update(events)).update.id for _ in range(2)]

    async def test_malformed_update_is_logged(self, source: UpdateSource, feed: UpdateFeed) -> None:
        """
        What is no data update is logged as such, without what it holds.
        """
        with Watch() as watch:
            async with side.listening(source) as events, anyio.create_task_group() as tasks:
                await side.next_event(events)
                tasks.start_soon(side.publish_around_malformed, feed)
                for _ in range(2):
                    await side.next_update(events)

        assert "malformed" in watch.logged
        assert feed.secret not in watch.logged

    async def test_source_does_not_run_ahead(self, source: UpdateSource, feed: UpdateFeed) -> None:
        """
        While nobody takes its events, a source holds a bounded part of what is published, not all of it.
        """
        async with side.listening(source) as events, anyio.create_task_group() as tasks:
            await side.next_event(events)
            with side.memory() as held:
                tasks.start_soon(side.flood, feed)
                await side.next_update(events)
                await anyio.sleep(2 * QUIET_S)
                assert held() < self.run_ahead_bytes
            tasks.cancel_scope.cancel()

    async def test_acknowledging_is_harmless(self, source: UpdateSource, feed: UpdateFeed) -> None:
        """
        A position may be acknowledged late and more than once, while updates go on.
        """
        async with side.listening(source) as events, anyio.create_task_group() as tasks:
            await side.next_event(events)
            tasks.start_soon(side.publish, feed, [made(name) for name in "abcd"])
            taken = [await side.next_update(events) for _ in range(2)]
            with anyio.fail_after(side.PROMPT_S):
                for event in (taken[0], taken[1], taken[1]):
                    await source.acknowledge(event.position)
            taken += [await side.next_update(events) for _ in range(2)]
            assert ["a", "b", "c", "d"] == [event.update.id for event in taken]

    async def test_ends_are_harmless(self, source: UpdateSource, feed: UpdateFeed) -> None:
        """
        An update may end out of order, fail, and be in force after all, while others go on; nothing is raised.
        """
        async with side.listening(source) as events, anyio.create_task_group() as tasks:
            await side.next_event(events)
            tasks.start_soon(side.publish, feed, [made(name) for name in "abc"])
            first, second = [await side.next_update(events) for _ in range(2)]
            source.ended(second.position, None)
            source.ended(first.position, "no answer")
            source.ended(first.position, None)
            assert "c" == (await side.next_update(events)).update.id

    # ------------------------------------------------------------------------------------------------- its answers

    async def test_data_sources_are_those_that_were_set_up(self, source: UpdateSource, feed: UpdateFeed) -> None:
        """
        The base data sources are those of the other side, whenever they are asked for.
        """
        for _ in range(2):
            with anyio.fail_after(side.PROMPT_S):
                assert feed.base_data == await source.data_sources()

    async def test_topics_are_a_list_of_names(self, source: UpdateSource) -> None:
        """
        The topics are names, none of them empty; a single one is a list, too.
        """
        assert not isinstance(source.topics, str)
        assert all(topic.strip() for topic in source.topics)

    async def test_bundle_is_whole_without_a_base(self, source: UpdateSource, feed: UpdateFeed) -> None:
        """
        Whoever has no policies yet, or some that the source does not know, is given all of them.
        """
        for base in (None, "a hash that nobody knows"):
            bundle = await side.bundle(source, base)
            if feed.policies is None:
                assert bundle is None
                assert not source.has_policies
                continue
            assert source.has_policies
            assert bundle is not None
            assert bundle.old_hash is None
            assert feed.policies == side.applied({}, bundle)
            assert {module.path for module in bundle.policy_modules} <= set(bundle.manifest)

    async def test_unchanged_policies_are_nothing_new(self, source: UpdateSource, feed: UpdateFeed) -> None:
        """
        The answer to the newest hash changes nothing.
        """
        first = await side.bundle(source, None)
        if first is None:
            return
        again = await side.bundle(source, first.hash)

        assert again is None or (again.hash == first.hash and side.applied(feed.policies, again) == feed.policies)

    async def test_changed_policies_are_another_bundle(self, source: UpdateSource, feed: UpdateFeed) -> None:
        """
        After a change the hash is another one, and the bundle makes the new policies of the old ones.
        """
        first = await side.bundle(source, None)
        if first is None or feed.policies is None:
            return
        kept = dict(list(feed.policies.items())[1:])
        changed = {**kept, "added.rego": "package added\n"}
        await feed.change_policies(changed)

        second = await side.bundle(source, first.hash)

        assert second is not None
        assert second.hash != first.hash
        assert second.old_hash in {None, first.hash}
        assert changed == side.applied(side.applied({}, first), second)

    # ------------------------------------------------------------------------------------------------------ its end

    async def test_cancelled_wait_ends_at_once(self, source: UpdateSource) -> None:
        """
        Whoever waits for an event can be cancelled at once.
        """
        async with side.listening(source) as events:
            await side.next_event(events)
            with Watch() as watch, anyio.move_on_after(QUIET_S):
                await anext(events)

        assert watch.duration_s < side.PROMPT_S / 2

    async def test_closing_leaves_nothing_behind(
        self, source_type: UpdateSourceType, settings: object, feed: UpdateFeed
    ) -> None:
        """
        A source that was left in the middle leaves no task behind, and can be opened again.
        """
        with Watch() as watch:
            for name in ("first", "second"):
                async with source_type.open(settings) as source, side.listening(source) as events:
                    assert isinstance(await side.next_event(events), Connected)
                    with anyio.move_on_after(QUIET_S):
                        await feed.publish(made(name))
            await watch.tasks_end(within_s=1)

        assert set() == watch.tasks_left

    def test_registration_is_complete(self, source_type: UpdateSourceType) -> None:
        """
        The registration has a name without spaces and a summary of one line.
        """
        assert source_type.name.strip()
        assert not any(char.isspace() for char in source_type.name)
        assert source_type.summary.strip()
        assert "\n" not in source_type.summary
