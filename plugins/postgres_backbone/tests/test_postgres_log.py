"""The log in PostgreSQL: restarts, wipes, wrong URLs."""

from contextlib import aclosing

import anyio
import pytest
from anyio import to_thread
from structlog.testing import capture_logs

from cabochon import BackboneError, ConfigurationError, LogReplacedError
from cabochon.testing.backbone_contract import data, followed, read_all
from cabochon_postgres_backbone.log import open_postgres_log
from cabochon_postgres_backbone.settings import PostgresBackboneSettings
from cabochon_postgres_backbone.testing import PostgresServer


@pytest.mark.parametrize(
    "wipe",
    [
        "TRUNCATE cabochon_log",
        "DROP TABLE cabochon_log, cabochon_record, cabochon_superseded, cabochon_document",
    ],
    ids=["truncated", "dropped"],
)
async def test_wiped_postgres_is_another_log(
    own_postgres: PostgresServer, settings: PostgresBackboneSettings, wipe: str
) -> None:
    """
    When the tables are emptied or dropped everyone is told once; the new log has another identity.
    """
    async with (
        open_postgres_log(settings, own_postgres.url) as updates,
        open_postgres_log(settings, own_postgres.url) as sibling,
    ):
        log_id = updates.log_id
        await updates.append(data("a", "b"))
        behind = updates.follow(1)
        await anext(behind)
        await to_thread.run_sync(own_postgres.execute, wipe)

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


async def test_postgres_that_lost_the_end_of_the_log_is_another_log(
    own_postgres: PostgresServer, settings: PostgresBackboneSettings
) -> None:
    """
    As after a failover to a replica that was behind: numbers are given again, so nobody may resume from old ones.
    """
    async with (
        open_postgres_log(settings, own_postgres.url) as updates,
        open_postgres_log(settings, own_postgres.url) as sibling,
    ):
        log_id = updates.log_id
        await updates.append(data("a", "lost", "lost too"))
        await updates.save_documents({"scope blue": b"{}"})
        behind = updates.follow(3)
        for statement in ("DELETE FROM cabochon_record WHERE number > 1", "UPDATE cabochon_log SET head = 1"):
            await to_thread.run_sync(own_postgres.execute, statement)
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


async def test_fleets_with_other_names_share_nothing(postgres: PostgresServer) -> None:
    """
    OPAL_BROADCAST_CHANNEL_NAME keeps them apart.
    """
    async with (
        open_postgres_log(PostgresBackboneSettings(channel="one"), postgres.url) as one,
        open_postgres_log(PostgresBackboneSettings(channel="other"), postgres.url) as other,
    ):
        await one.append(data("a"))
        await one.save_documents({"agent": b"{}"})
        assert one.log_id != other.log_id
        assert 0 == (await other.bounds()).head
        assert {} == await other.documents()


async def test_wrong_url_is_said(settings: PostgresBackboneSettings) -> None:
    """
    What can't be a URL, and a server that is not there, are one line without the password.
    """
    with pytest.raises(ConfigurationError, match=r"OPAL_BROADCAST_URI=postgres://\S* should be postgres://") as wrong:
        async with open_postgres_log(settings, "postgres://user:secret@host:5432/db?nonsense=1"):
            pass
    with pytest.raises(BackboneError, match="can't be reached") as error:
        async with open_postgres_log(settings, "postgres://user:secret@127.0.0.1:1/db"):
            pass
    assert "secret" not in str(error.value) + str(wrong.value)
    assert "\n" not in str(error.value)


async def test_password_is_checked_and_never_shown(settings: PostgresBackboneSettings) -> None:
    """
    A wrong password is said in one line; the right one is in no log.
    """
    server = PostgresServer(method="scram-sha-256")
    await to_thread.run_sync(server.start)
    try:
        url = server.url.replace("cabochon@", "cabochon:{}@")
        with pytest.raises(BackboneError, match="password authentication failed") as error:
            async with open_postgres_log(settings, url.format("close-sesame")):
                pass
        with capture_logs() as logs:
            async with open_postgres_log(settings, url.format("open-sesame")) as updates:
                await updates.append(data("a"))
    finally:
        server.remove()
    assert "sesame" not in str(error.value) + repr(logs)
    assert ["backbone.opened"] == [entry["event"] for entry in logs]


async def test_user_without_rights_uses_tables_that_are_there(
    postgres: PostgresServer, settings: PostgresBackboneSettings
) -> None:
    """
    Tables may be made by an administrator; the servers need no more than to read and write them.
    """
    async with open_postgres_log(settings, postgres.url):
        pass
    await to_thread.run_sync(
        postgres.execute,
        "CREATE USER modest; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO modest",
    )
    async with open_postgres_log(settings, postgres.url.replace("cabochon@", "modest@")) as updates:
        assert [1] == list(await updates.append(data("a")))
