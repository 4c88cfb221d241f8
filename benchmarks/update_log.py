"""Measure the durable log of a server: appends one at a time from many callers, each on disk before it is acknowledged.

    python benchmarks/update_log.py [--seconds 3] [--body 400] [--folder DIR]

What one fsync costs on the same disk is printed first: a log that made one for each append could do no more than that.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path

import anyio

from cabochon import NewRecord
from cabochon_opal_server.log.settings import SqliteLogSettings
from cabochon_opal_server.log.sqlite_log import SqliteLog, open_sqlite_log


def fsyncs(folder: Path) -> list[float]:
    """Write 4 KiB and sync them, again and again; return the seconds of each."""
    durations: list[float] = []
    file = os.open(folder / "fsync", os.O_RDWR | os.O_CREAT)
    for place in range(300):
        os.pwrite(file, b"x" * 4096, place * 4096)
        began = time.perf_counter()
        os.fdatasync(file)
        durations.append(time.perf_counter() - began)
    os.close(file)
    return durations


async def appends(log: SqliteLog, callers: int, record: NewRecord, seconds: float) -> list[float]:
    """Append from so many callers, each one record after the other; return the seconds of each append."""
    durations: list[float] = []
    ends = time.perf_counter() + seconds

    async def caller() -> None:
        while (began := time.perf_counter()) < ends:
            await log.append([record])
            durations.append(time.perf_counter() - began)

    async with anyio.create_task_group() as tasks:
        for _ in range(callers):
            tasks.start_soon(caller)
    return durations


async def catch_up(log: SqliteLog) -> tuple[int, float]:
    """Read the whole log in pages; return how many records that is, and the seconds."""
    began = time.perf_counter()
    after = count = 0
    while page := await log.read(after, limit=500):
        after = page[-1].number
        count += len(page)
    return count, time.perf_counter() - began


async def measure(folder: Path, body: int, seconds: float) -> None:
    """Print what there is to know."""
    taken = sorted(fsyncs(folder))
    print(f"fdatasync of 4 KiB: median {statistics.median(taken) * 1e3:.2f} ms, p99 {taken[-4] * 1e3:.2f} ms")
    record = NewRecord("data", ("policy_data",), b'{"id":"' + b"x" * (body - 9) + b'"}')
    path = folder / "update_log.db"
    async with open_sqlite_log(SqliteLogSettings(update_log_path=path)) as log:
        for callers in (1, 8, 64, 256):
            taken = sorted(await appends(log, callers, record, seconds))
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            print(
                f"{callers:4d} callers: {len(taken) / seconds:9,.0f} appends/s, median"
                f" {statistics.median(taken) * 1e3:.2f} ms, p99 {taken[len(taken) * 99 // 100] * 1e3:.2f} ms,"
                f" {memory} MB at most"
            )
        count, took = await catch_up(log)
        print(f"read in pages: {count / took:,.0f} records/s; file: {path.stat().st_size / 1e6:.0f} MB for {count:,}")
    began = time.perf_counter()
    async with open_sqlite_log(SqliteLogSettings(update_log_path=path)):
        print(f"opened again, checked, in {time.perf_counter() - began:.2f} s")


def main() -> None:
    """Read the command line, measure."""
    parser = argparse.ArgumentParser(description="Measure the durable log of a server.")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each number of callers")
    parser.add_argument("--body", type=int, default=400, help="bytes of a record")
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="where to write: the disk that is measured")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        anyio.run(measure, Path(folder), given.body, given.seconds)


if __name__ == "__main__":
    main()
