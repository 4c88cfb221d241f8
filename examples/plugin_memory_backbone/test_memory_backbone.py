"""The log in memory gives numbers, and whoever follows it gets what was there and what comes."""

import cabochon_memory_backbone

from cabochon import NewRecord, Plugins


async def test_what_is_published_is_followed() -> None:
    """
    It is chosen by its scheme, numbers what is appended, and misses nothing in between.
    """
    plugins = Plugins.of(("memory-backbone", cabochon_memory_backbone))
    offered = plugins.backbone_for("memory://")

    async with offered.registration.open(None, "memory://") as log:
        assert [1, 2] == list(await log.append([NewRecord("data", ("a",), b"1"), NewRecord("data", ("a",), b"2")]))
        following = log.follow(1)
        assert [b"2"] == [record.body for record in await anext(following)]
        assert [3] == list(await log.append([NewRecord("data", ("a",), b"3")]))
        assert [b"3"] == [record.body for record in await anext(following)]
        await following.aclose()
        assert 3 == (await log.bounds()).head
