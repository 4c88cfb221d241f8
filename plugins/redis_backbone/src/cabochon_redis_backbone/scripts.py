"""What happens inside Redis, each script in one piece.

The keys of a log are `{name}:log`, a stream whose ids are `<number>-0`; `{name}:about`, a hash with `log_id`, `head`,
`floor`, `bytes` and `appended_us`; `{name}:superseded`, a sorted set of `<number>:<by>` by number; and
`{name}:documents`, a hash. An entry of the stream has `k` (kind), `t` (topics as JSON), `b` (body) and `a`
(microseconds since 1970).

Each script but the first is given the identity of the log that its caller knows, and answers `REPLACED` where Redis
holds another one or none.
"""

from __future__ import annotations

from typing import Final

__all__ = ["APPEND", "BOUNDS", "COMPACT", "IDENTIFY", "READ", "RENEW", "SUPERSEDED", "TRIM"]

_SAME_LOG = """
if redis.call('HGET', KEYS[2], 'log_id') ~= ARGV[1] then return redis.error_reply('REPLACED') end
local function about(name) return tonumber(redis.call('HGET', KEYS[2], name)) end
local function size_of(fields) return #fields[2] + #fields[4] + #fields[6] end
"""

IDENTIFY: Final = """
if redis.call('HSETNX', KEYS[2], 'log_id', ARGV[1]) == 1 then
    redis.call('DEL', KEYS[1], KEYS[3], KEYS[4])
    redis.call('HSET', KEYS[2], 'head', 0, 'floor', 0, 'bytes', 0, 'appended_us', 0)
end
return redis.call('HGET', KEYS[2], 'log_id')
"""
"""Make a log with the identity that is given, unless there is one; return the identity."""

APPEND: Final = (
    _SAME_LOG
    + """
local time = redis.call('TIME')
local now = math.max(time[1] * 1000000 + time[2], about('appended_us'))
local stamp = string.format('%.0f', now)
local head, bytes = about('head'), 0
for i = 2, #ARGV, 3 do
    head = head + 1
    redis.call('XADD', KEYS[1], string.format('%.0f-0', head),
               'k', ARGV[i], 't', ARGV[i + 1], 'b', ARGV[i + 2], 'a', stamp)
    bytes = bytes + #ARGV[i] + #ARGV[i + 1] + #ARGV[i + 2]
end
redis.call('HSET', KEYS[2], 'head', string.format('%.0f', head), 'appended_us', stamp)
redis.call('HINCRBY', KEYS[2], 'bytes', bytes)
return head
"""
)
"""Append records (kind, topics, body, ...); return the last number."""

BOUNDS: Final = _SAME_LOG + "return {about('floor'), about('head')}"
"""Return the floor and the head."""

READ: Final = (
    _SAME_LOG
    + """
local after, limit, bytes = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local found = {}
while #found < limit and bytes > 0 do
    local page = redis.call('XRANGE', KEYS[1], string.format('%.0f-0', after + 1), '+',
                            'COUNT', math.min(50, limit - #found))
    if #page == 0 then break end
    for _, entry in ipairs(page) do
        if bytes <= 0 then break end
        bytes = bytes - size_of(entry[2])
        found[#found + 1] = entry
        after = tonumber(string.match(entry[1], '^%d+'))
    end
end
return {about('floor'), found}
"""
)
"""Return the floor, and up to so many entries after a number, about so many bytes and at least one."""

RENEW: Final = (
    _SAME_LOG
    + """
local head = about('head')
if head >= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[2], 'log_id', ARGV[3], 'floor', string.format('%.0f', head))
return 1
"""
)
"""Give the log another identity if it ends before a number that was given already: Redis went back to an older state.

Numbers after the end are given a second time, so nobody can resume from one of the old identity; say whether it did.
"""

COMPACT: Final = (
    _SAME_LOG
    + """
local head, bytes = about('head'), 0
for i = 2, #ARGV, 2 do
    local id = ARGV[i] .. '-0'
    local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
    if entry and tonumber(ARGV[i]) < tonumber(ARGV[i + 1]) and tonumber(ARGV[i + 1]) <= head then
        redis.call('XDEL', KEYS[1], id)
        redis.call('ZADD', KEYS[3], ARGV[i], ARGV[i] .. ':' .. ARGV[i + 1])
        bytes = bytes + size_of(entry[2])
    end
end
redis.call('HINCRBY', KEYS[2], 'bytes', 0 - bytes)
"""
)
"""Remove entries (number, what supersedes it, ...)."""

SUPERSEDED: Final = (
    _SAME_LOG
    + """
local found = {}
for i = 2, #ARGV do
    for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], ARGV[i], ARGV[i])) do found[#found + 1] = member end
end
return found
"""
)
"""Return which of these numbers were compacted, each as `<number>:<by>`."""

TRIM: Final = (
    _SAME_LOG
    + """
local before, most, bite = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local bytes, floor = about('bytes'), nil
if before then
    local time = redis.call('TIME')
    before = time[1] * 1000000 + time[2] - before
end
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', bite)) do
    if not ((before and tonumber(entry[2][8]) < before) or (most and bytes > most)) then break end
    bytes = bytes - size_of(entry[2])
    floor = string.match(entry[1], '^%d+')
end
if not floor then return 0 end
redis.call('XTRIM', KEYS[1], 'MINID', string.format('%.0f-0', tonumber(floor) + 1))
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', floor)
redis.call('HSET', KEYS[2], 'floor', floor, 'bytes', string.format('%.0f', bytes))
return 1
"""
)
"""Remove some of the oldest entries beyond an age in microseconds or a size ('': none); say whether it removed any."""
