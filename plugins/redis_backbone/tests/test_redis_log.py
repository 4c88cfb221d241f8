"""The log in Redis: restarts, wipes, wrong URLs."""

import contextlib
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from anyio import to_thread
from anyio.abc import SocketAttribute, SocketStream
from redis.asyncio import Redis
from structlog.testing import capture_logs

from cabochon import BackboneError, ConfigurationError, LogReplacedError
from cabochon.testing.backbone_contract import data, followed, read_all
from cabochon_redis_backbone.open_log import open_redis_log
from cabochon_redis_backbone.settings import RedisBackboneSettings
from cabochon_redis_backbone.testing import RedisServer


async def test_lost_answer_is_not_tried_again(redis: RedisServer, settings: RedisBackboneSettings) -> None:
    """
    Where Redis took an append and its answer was lost, the publisher hears so, and nothing is written twice.
    """
    lose = False

    async def pass_on(client: SocketStream) -> None:
        nonlocal lose
        async with client, await anyio.connect_tcp("127.0.0.1", redis.port) as server:
            with contextlib.suppress(anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
                while True:
                    await server.send(await client.receive())
                    answer = await server.receive()
                    if lose:
                        lose = False
                        return
                    await client.send(answer)

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as relay, anyio.create_task_group() as tasks:
        tasks.start_soon(relay.serve, pass_on)
        port = relay.extra(SocketAttribute.local_port)  # noqa: S610 - not Django's
        async with open_redis_log(settings, f"redis://127.0.0.1:{port}/0") as updates:
            await updates.append(data("a"))
            lose = True
            with pytest.raises(BackboneError, match="can't be reached"):
                await updates.append(data("b"))
            await updates.append(data("c"))
            assert [b"a", b"b", b"c"] == [record.body for record in await read_all(updates)]
        tasks.cancel_scope.cancel()


async def test_wiped_redis_is_another_log(own_redis: RedisServer, settings: RedisBackboneSettings) -> None:
    """
    After FLUSHALL everyone is told once, and the new log has another identity and begins with 1.
    """
    async with (
        open_redis_log(settings, own_redis.url) as updates,
        open_redis_log(settings, own_redis.url) as sibling,
    ):
        log_id = updates.log_id
        await updates.append(data("a", "b"))
        behind = updates.follow(1)
        await anext(behind)
        with anyio.fail_after(5):
            stream = await anyio.connect_tcp("127.0.0.1", own_redis.port)
            async with stream:
                await stream.send(b"FLUSHALL\r\n")
                assert b"+OK\r\n" == await stream.receive()

        with pytest.raises(LogReplacedError, match="was wiped"):
            await updates.append(data("c"))
        assert log_id != updates.log_id
        with pytest.raises(LogReplacedError), anyio.fail_after(20):
            async with aclosing(behind):
                await anext(behind)
        assert [1] == list(await updates.append(data("c")))
        with pytest.raises(LogReplacedError):
            await sibling.read(0, limit=1)
        assert updates.log_id == sibling.log_id
        assert [b"c"] == [record.body for record in await read_all(sibling)]


async def test_redis_that_lost_the_end_of_the_log_is_another_log(
    own_redis: RedisServer, settings: RedisBackboneSettings
) -> None:
    """
    As after a failover to a replica that was behind: numbers are given again, so nobody may resume from old ones.
    """
    async with (
        open_redis_log(settings, own_redis.url) as updates,
        open_redis_log(settings, own_redis.url) as sibling,
    ):
        log_id = updates.log_id
        await updates.append(data("a"))
        await updates.save_documents({"scope blue": b"{}"})
        older = await _dumped(own_redis)
        await updates.append(data("lost", "lost too"))
        behind = updates.follow(3)
        await _restored(own_redis, older)
        await sibling.append(data("b"))

        with pytest.raises(LogReplacedError, match="lost its end"), anyio.fail_after(20):
            async with aclosing(behind):
                await anext(behind)
        assert log_id != updates.log_id
        with pytest.raises(LogReplacedError):
            await sibling.append(data("c"))
        assert updates.log_id == sibling.log_id
        assert (2, 2) == ((await updates.bounds()).floor, (await updates.bounds()).head)
        assert [3] == list(await sibling.append(data("c")))
        assert [3] == [record.number for record in await followed(updates, 2, 3)]
        assert {"scope blue": b"{}"} == await updates.documents()


async def _dumped(server: RedisServer) -> dict[Any, Any]:
    async with Redis(host="127.0.0.1", port=server.port) as client:
        # Its signatures have no types.
        untyped = cast("Any", client)
        return {key: await untyped.dump(key) for key in await untyped.keys()}


async def _restored(server: RedisServer, older: dict[Any, Any]) -> None:
    async with Redis(host="127.0.0.1", port=server.port) as client:
        untyped = cast("Any", client)
        await untyped.flushall()
        for key, dump in older.items():
            await untyped.restore(key, 0, dump)


async def test_fleets_with_other_names_share_nothing(redis: RedisServer) -> None:
    """
    OPAL_BROADCAST_CHANNEL_NAME keeps them apart.
    """
    async with (
        open_redis_log(RedisBackboneSettings(channel="one"), redis.url) as one,
        open_redis_log(RedisBackboneSettings(channel="other"), redis.url) as other,
    ):
        await one.append(data("a"))
        await one.save_documents({"agent": b"{}"})
        assert one.log_id != other.log_id
        assert 0 == (await other.bounds()).head
        assert {} == await other.documents()


async def test_wrong_url_is_said(settings: RedisBackboneSettings) -> None:
    """
    What can't be a URL, and a server that is not there, are one line without the password.
    """
    with pytest.raises(ConfigurationError, match=r"OPAL_BROADCAST_URI=redis://\*\*\* should be redis://"):
        async with open_redis_log(settings, "redis://user:secret@host:port/0"):
            pass
    with pytest.raises(BackboneError, match="can't be reached") as error:
        async with open_redis_log(settings, "redis://user:secret@127.0.0.1:1/0"):
            pass
    assert "secret" not in str(error.value)


async def test_password_is_checked_and_never_shown(tmp_path: Path, settings: RedisBackboneSettings) -> None:
    """
    A wrong password stops the start with one line; the right one is in no log.
    """
    server = RedisServer(tmp_path, "--requirepass", "open-sesame")
    await to_thread.run_sync(server.start)
    try:
        url = server.url.replace("redis://", "redis://:{}@")
        with pytest.raises(ConfigurationError, match="does not take the user or the password") as error:
            async with open_redis_log(settings, url.format("close-sesame")):
                pass
        with capture_logs() as logs:
            async with open_redis_log(settings, url.format("open-sesame")) as updates:
                await updates.append(data("a"))
    finally:
        server.stop()
    assert "sesame" not in str(error.value) + repr(logs)
    assert ["backbone.opened"] == [entry["event"] for entry in logs]
