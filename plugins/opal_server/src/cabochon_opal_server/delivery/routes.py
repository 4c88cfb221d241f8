"""The HTTP routes of delivery: what became of an update, and which agents there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cabochon import BackboneError
from cabochon_opal_server.delivery.agent_state import AgentState, Standing, State, standing
from cabochon_opal_server.delivery.finding import Finder, Found
from cabochon_opal_server.delivery.register import Register
from cabochon_opal_server.delivery.reports import Reports
from cabochon_opal_server.delivery.tracker import Known, Tracker
from cabochon_opal_server.web.answers import json_answer, operation

__all__ = ["DeliveryParts", "openapi", "routes"]

_USUAL_LIMIT = 1_000
_HIGHEST_LIMIT = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryParts:
    """What the routes need.

    Attributes:
        permit: raises HTTPException unless the request's token may be used here.
    """

    tracker: Tracker
    register: Register
    reports: Reports
    finder: Finder
    permit: Callable[[Request], None]


class _Line(NamedTuple):
    """An agent that an update was meant for."""

    agent: AgentState
    standing: Standing
    awaited: bool


def routes(parts: DeliveryParts) -> list[Route]:
    """Make the routes."""
    return [
        Route("/updates/{id:path}", _updates(parts), methods=["GET"], name="update"),
        Route("/agents", _agents(parts), methods=["GET"], name="agents"),
    ]


def _updates(parts: DeliveryParts) -> Callable[[Request], Awaitable[Response]]:
    async def update(request: Request) -> Response:
        parts.permit(request)
        limit = _limit(request)
        states = _states(request)
        only_awaited = request.query_params.get("awaited", "").lower() in {"1", "true"}
        try:
            found = await parts.finder.find(request.path_params["id"])
        except BackboneError as err:
            raise HTTPException(503, "the update log is away, try again") from err
        if found is None:
            raise HTTPException(404, _NOT_FOUND)
        await parts.register.refresh()
        lines = _lines(found, parts.tracker.agents())
        shown = [line for line in lines if line.standing.state in states and (line.awaited or not only_awaited)]
        answer = _described(found, lines)
        answer["reports"] = parts.reports.of(found.id) if found.id is not None else []
        answer["agents"] = [_line_described(line) for line in shown[:limit]]
        answer["more"] = max(0, len(shown) - limit)
        return json_answer(answer)

    return update


_NOT_FOUND = (
    "no data update with this id or number is in the update log: it may be older than OPAL_UPDATE_LOG_MAX_AGE, "
    "superseded (ask by its number then), or a change of policies (see policy_hash in GET /agents)"
)


def _lines(found: Found, agents: Collection[Known]) -> list[_Line]:
    """List the agents that the update was meant for, by name."""
    lines: list[_Line] = []
    topics = frozenset(found.topics)
    for agent, told in agents:
        if topics.isdisjoint(agent.topics):
            continue
        state = standing(agent, found.number, told=told, superseded_by=found.superseded_by)
        gone_at = agent.disconnected_at
        awaited = gone_at is None or (found.published_at is not None and gone_at >= found.published_at)
        lines.append(_Line(agent, state, awaited))
    return sorted(lines, key=lambda line: line.agent.name)


def _described(found: Found, lines: Collection[_Line]) -> dict[str, Any]:
    return {
        "id": found.id,
        "number": found.number,
        "published_at": found.published_at,
        "topics": found.topics,
        "superseded_by": found.superseded_by,
        "counts": _counts(lines),
        "awaited": _counts([line for line in lines if line.awaited]),
    }


def _counts(lines: Collection[_Line]) -> Mapping[str, int]:
    found = Counter(line.standing.state for line in lines)
    return {"agents": len(lines), **{state.value: found[state] for state in State}}


def _line_described(line: _Line) -> dict[str, Any]:
    return {
        "agent": line.agent.name,
        "kind": line.agent.kind,
        "state": line.standing.state.value,
        "why": line.standing.why,
        "ended": line.agent.ended,
        "connected": line.agent.disconnected_at is None,
        "awaited": line.awaited,
        "server": line.agent.server,
    }


def _agents(parts: DeliveryParts) -> Callable[[Request], Awaitable[Response]]:
    async def agents(request: Request) -> Response:
        parts.permit(request)
        limit = _limit(request)
        await parts.register.refresh()
        known = parts.tracker.agents()
        connected = sum(one.agent.disconnected_at is None for one in known)
        return json_answer(
            {
                "counts": {"agents": len(known), "connected": connected},
                "agents": [_agent_described(one.agent, parts.tracker) for one in known[:limit]],
                "more": max(0, len(known) - limit),
            }
        )

    return agents


def _agent_described(agent: AgentState, tracker: Tracker) -> dict[str, Any]:
    tells = agent.kind == "cabochon"
    return {
        "agent": agent.name,
        "kind": agent.kind,
        "version": agent.version or None,
        "server": agent.server,
        "connected": agent.disconnected_at is None,
        "connected_at": agent.connected_at,
        "disconnected_at": agent.disconnected_at,
        "last_seen": agent.last_seen,
        "topics": agent.topics,
        "policy_hash": agent.policy_hash,
        "began": agent.began,
        "ended": agent.ended if tells else None,
        "lag": tracker.recent.lag(agent) if tells else None,
        "failed": {str(number): why for number, why in sorted(agent.failed.items())},
        "ready": agent.ready,
        "healthy": agent.healthy,
    }


def _limit(request: Request) -> int:
    given = request.query_params.get("limit", str(_USUAL_LIMIT))
    if not (given.isascii() and given.isdecimal() and len(given) <= len(str(_HIGHEST_LIMIT))):
        raise HTTPException(422, f"limit should be a number from 0 to {_HIGHEST_LIMIT}")
    return min(int(given), _HIGHEST_LIMIT)


def _states(request: Request) -> frozenset[State]:
    given = request.query_params.get("state")
    if not given:
        return frozenset(State)
    try:
        return frozenset(State(name.strip()) for name in given.split(","))
    except ValueError as err:
        raise HTTPException(422, f"state should be some of {', '.join(State)}, separated by commas") from err


def openapi() -> dict[str, Any]:
    """Describe the routes, as OpenAPI 3.1 `paths`."""
    update = operation(
        "Delivery", "get_update", "Say who has an update", answers={"404": "The log has no such update."}
    )
    agents = operation("Delivery", "get_agents", "List the agents, those that are connected first")
    update["parameters"] = [
        {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}},
        _query("state", "string", "Only agents in these states, separated by commas: has, late, failed, sent."),
        _query("awaited", "boolean", "Only agents that are connected, or were when it was published."),
        _query("limit", "integer", "List so many agents at most."),
    ]
    agents["parameters"] = [_query("limit", "integer", "List so many agents at most.")]
    return {"/updates/{id}": {"get": update}, "/agents": {"get": agents}}


def _query(name: str, kind: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": {"type": kind}, "description": description}
