"""Append to the log in a file, from several tasks, for ever; write each number once it is acknowledged."""

import sys
from pathlib import Path

import anyio

from cabochon import NewRecord
from cabochon_opal_server.log.settings import SqliteLogSettings
from cabochon_opal_server.log.sqlite_log import open_sqlite_log


async def main() -> None:
    settings = SqliteLogSettings(update_log_path=Path(sys.argv[1]))
    async with open_sqlite_log(settings) as log, anyio.create_task_group() as tasks:

        async def append(task: int) -> None:
            turn = 0
            while True:
                body = f"{task}-{turn}"
                (number,) = await log.append([NewRecord("data", ("t",), body.encode())])
                sys.stdout.write(f"appended {number} {body}\n")
                sys.stdout.flush()
                turn += 1

        for task in range(8):
            tasks.start_soon(append, task)


anyio.run(main)
