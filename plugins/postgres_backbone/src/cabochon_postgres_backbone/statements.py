"""What PostgreSQL is told.

`cabochon_log` has a row for each log: its identity, head, floor and size; the row is locked by whoever appends until
the commit, so numbers are given in the order of commits, without a hole. The other tables have the log's identity in
their key: after a wipe nothing of the earlier log is seen again.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "APPEND",
    "BOUNDS",
    "COMPACT",
    "CREATE",
    "FORGET_DOCUMENTS",
    "IDENTIFY",
    "LOCK",
    "READ",
    "READ_DOCUMENTS",
    "RENEW",
    "SAVE_DOCUMENTS",
    "SUPERSEDED",
    "TRIM",
]

CREATE: Final = """
CREATE TABLE IF NOT EXISTS cabochon_log (
    channel text PRIMARY KEY, log_id text NOT NULL UNIQUE, head bigint NOT NULL DEFAULT 0,
    floor bigint NOT NULL DEFAULT 0, bytes bigint NOT NULL DEFAULT 0, appended_us bigint NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS cabochon_record (
    log_id text, number bigint, appended_us bigint NOT NULL, kind text NOT NULL, topics text NOT NULL,
    size bigint NOT NULL, body bytea NOT NULL, PRIMARY KEY (log_id, number));
CREATE TABLE IF NOT EXISTS cabochon_superseded (
    log_id text, number bigint, by_number bigint NOT NULL, PRIMARY KEY (log_id, number));
CREATE TABLE IF NOT EXISTS cabochon_document (
    log_id text, name text, document bytea NOT NULL, PRIMARY KEY (log_id, name));
"""
IDENTIFY: Final = """
WITH made AS (
    INSERT INTO cabochon_log (channel, log_id) VALUES (%(channel)s, %(log_id)s) ON CONFLICT (channel) DO NOTHING
    RETURNING log_id)
SELECT log_id FROM made UNION ALL SELECT log_id FROM cabochon_log WHERE channel = %(channel)s
"""
"""Make the log of a channel unless there is one; return its identity."""

LOCK: Final = "SELECT head, bytes FROM cabochon_log WHERE log_id = %(log_id)s FOR UPDATE"

APPEND: Final = """
WITH log AS (
    UPDATE cabochon_log
    SET head = head + %(count)s, bytes = bytes + %(bytes)s,
        appended_us = greatest(appended_us, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
    WHERE log_id = %(log_id)s RETURNING head, appended_us),
added AS (
    INSERT INTO cabochon_record
    SELECT %(log_id)s, head - %(count)s + place, appended_us, kind, topics, size, body
    FROM log, unnest(%(kinds)s::text[], %(topics)s::text[], %(sizes)s::bigint[], %(bodies)b::bytea[])
        WITH ORDINALITY AS given (kind, topics, size, body, place))
SELECT head, pg_notify(%(notified)s, '') IS NULL FROM log
"""
"""Append records, and wake who follows; return the last number."""

BOUNDS: Final = "SELECT floor, head FROM cabochon_log WHERE log_id = %(log_id)s"

READ: Final = """
SELECT floor, page.number, kind, topics, body, page.appended_us
FROM cabochon_log LEFT JOIN LATERAL (
    SELECT * FROM (
        SELECT *, sum(size) OVER (ORDER BY number) - size AS before FROM (
            SELECT * FROM cabochon_record WHERE cabochon_record.log_id = cabochon_log.log_id AND number > %(after)s
            ORDER BY number LIMIT %(limit)s) AS next) AS measured
    WHERE before < %(bytes)s) AS page ON true
WHERE cabochon_log.log_id = %(log_id)s ORDER BY page.number
"""
"""Return the floor beside each of up to so many records after a number, about so many bytes and at least one."""

RENEW: Final = """
WITH renewed AS (
    UPDATE cabochon_log SET log_id = %(renewed)s, floor = head, bytes = 0
    WHERE log_id = %(log_id)s AND head < %(after)s RETURNING log_id),
forgotten AS (DELETE FROM cabochon_record USING renewed WHERE cabochon_record.log_id = %(log_id)s),
passed AS (DELETE FROM cabochon_superseded USING renewed WHERE cabochon_superseded.log_id = %(log_id)s),
kept AS (UPDATE cabochon_document SET log_id = renewed.log_id FROM renewed
    WHERE cabochon_document.log_id = %(log_id)s)
SELECT head, (SELECT count(*) FROM renewed) FROM cabochon_log WHERE log_id = %(log_id)s
"""
"""Give the log another identity if it ends before a number that was given already: the database went back to an older
state.

Numbers after the end are given a second time, so nobody can resume from one of the old identity, and its records serve
nobody; say how many logs that were, no row if it is not there.
"""

COMPACT: Final = """
WITH gone AS (
    DELETE FROM cabochon_record USING unnest(%(numbers)s::bigint[], %(by)s::bigint[]) AS given (number, by_number)
    WHERE log_id = %(log_id)s AND cabochon_record.number = given.number
        AND given.number < given.by_number AND given.by_number <= %(head)s
    RETURNING given.number, given.by_number, size),
noted AS (INSERT INTO cabochon_superseded SELECT %(log_id)s, number, by_number FROM gone)
UPDATE cabochon_log SET bytes = bytes - (SELECT coalesce(sum(size), 0) FROM gone) WHERE log_id = %(log_id)s
"""

SUPERSEDED: Final = """
SELECT number, by_number FROM cabochon_superseded WHERE log_id = %(log_id)s AND number = ANY(%(numbers)s)
"""

TRIM: Final = """
WITH old AS (
    SELECT number, appended_us, sum(size) OVER (ORDER BY number) - size AS before FROM (
        SELECT number, appended_us, size FROM cabochon_record WHERE log_id = %(log_id)s
        ORDER BY number LIMIT %(bite)s) AS oldest),
cut AS (
    SELECT max(number) AS number FROM old
    WHERE appended_us < (extract(epoch FROM clock_timestamp()) * 1000000)::bigint - %(age_us)s::bigint
        OR %(used)s - before > %(max_bytes)s::bigint),
gone AS (DELETE FROM cabochon_record USING cut WHERE log_id = %(log_id)s AND cabochon_record.number <= cut.number
    RETURNING size),
forgotten AS (DELETE FROM cabochon_superseded USING cut
    WHERE log_id = %(log_id)s AND cabochon_superseded.number <= cut.number)
UPDATE cabochon_log SET floor = cut.number, bytes = bytes - (SELECT coalesce(sum(size), 0) FROM gone)
FROM cut WHERE log_id = %(log_id)s AND cut.number IS NOT NULL RETURNING floor
"""
"""Remove some of the oldest records beyond an age or a size, NULL for none; return nothing if there was none."""

SAVE_DOCUMENTS: Final = """
INSERT INTO cabochon_document SELECT %(log_id)s, name, document
FROM unnest(%(names)s::text[], %(documents)b::bytea[]) AS given (name, document)
ON CONFLICT (log_id, name) DO UPDATE SET document = excluded.document
"""
READ_DOCUMENTS: Final = "SELECT name, document FROM cabochon_document WHERE log_id = %(log_id)s"
FORGET_DOCUMENTS: Final = "DELETE FROM cabochon_document WHERE log_id = %(log_id)s AND name = ANY(%(names)s)"
