"""What OpenFGA may answer, and what that means: from a server that says what it is told to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from cabochon.backoff import Backoff
from cabochon.errors import StateLostError, StoreRejectedError, StoreUnavailableError
from cabochon.kit.http.engine import RequestUnansweredError, open_engine_http
from cabochon.testing.http_server import Answer, ScriptedHttpServer
from cabochon_openfga.api import ConditionConflictError, NoModelError, OpenFgaApi
from cabochon_openfga.settings import OpenFgaStoreSettings
from cabochon_openfga.tuples import TupleKey, wire_tuple

STORE = "01HVMMBCMGZNT3SED4Z17ECXCA"
WRITE = f"/stores/{STORE}/write"
FINE = Answer(json={})
LATER = Answer(status=429, json={"code": "rate_limit_exceeded", "message": "slow down"})
RACE = Answer(status=409, json={"code": "Aborted", "message": "transactional write failed due to conflict"})
OTHERWISE = Answer(status=409, json={"code": "Aborted", "message": "already exists with a different condition: ..."})
GONE = Answer(status=404, json={"code": "store_id_not_found", "message": "Store ID not found"})
NO_MODEL = Answer(status=400, json={"code": "latest_authorization_model_not_found", "message": "No models"})
WRONG = Answer(status=400, json={"code": "validation_error", "message": "Invalid tuple"})


@pytest.fixture
def server() -> Iterator[ScriptedHttpServer]:
    with ScriptedHttpServer() as server:
        yield server


@pytest.fixture
async def api(server: ScriptedHttpServer) -> AsyncIterator[OpenFgaApi]:
    async with open_engine_http(OpenFgaStoreSettings(), "OpenFGA", server.url) as http:
        yield OpenFgaApi(http, Backoff(first_s=0.001, longest_s=0.002))


async def write(api: OpenFgaApi) -> None:
    await api.write(STORE, writes=[wire_tuple(TupleKey("document:plan", "owner", "user:ann"))], deletes=[])


@pytest.mark.parametrize("answer", [LATER, RACE], ids=["429", "409"])
async def test_what_is_put_off_is_asked_again(api: OpenFgaApi, server: ScriptedHttpServer, answer: Answer) -> None:
    """Two first writes at once, or too many requests: a moment later it goes through."""
    server.route(WRITE, answer, answer, FINE)
    await write(api)

    assert 3 == len(server.requests)


@pytest.mark.parametrize("answer", [LATER, RACE], ids=["429", "409"])
async def test_what_is_put_off_again_and_again_is_not_available(
    api: OpenFgaApi, server: ScriptedHttpServer, answer: Answer
) -> None:
    """Nothing landed; the core goes on trying."""
    server.route(WRITE, answer)

    with pytest.raises(StoreUnavailableError, match="puts us off"):
        await write(api)


@pytest.mark.parametrize(
    ("answer", "error", "reason"),
    [
        (GONE, StateLostError, "does not have our store"),
        (OTHERWISE, ConditionConflictError, "different condition"),
        (NO_MODEL, NoModelError, "no authorization model yet"),
        (WRONG, StoreRejectedError, "OpenFGA: Invalid tuple"),
        (Answer(status=400, body="<html>"), StoreRejectedError, "<html>"),
        (Answer(status=500, body="{}"), RequestUnansweredError, "answered POST"),
        (Answer(disconnect=True), RequestUnansweredError, "has not answered"),
        (Answer(body="<html>"), RequestUnansweredError, "what nobody understands"),
    ],
    ids=["gone", "condition", "no-model", "wrong", "no-json", "500", "cut", "fine-but-no-json"],
)
async def test_answers_are_told_apart(
    api: OpenFgaApi, server: ScriptedHttpServer, answer: Answer, error: type[Exception], reason: str
) -> None:
    """Refused, away, emptied, or nobody knows."""
    server.route(WRITE, answer)

    with pytest.raises(error, match=reason) as caught:
        await write(api)
    assert caught.type is error


async def test_health_that_is_not_serving_is_none(api: OpenFgaApi, server: ScriptedHttpServer) -> None:
    """As OpenFGA says while its database is away."""
    server.route("/healthz", Answer(status=404))

    with pytest.raises(StoreUnavailableError, match="/healthz with 404"):
        await api.health()
