"""The HTTP routes of data: publish an update, ask for the base data sources, report."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import structlog
from msgspec.structs import replace
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from cabochon import BackboneError, NewRecord
from cabochon.schemas import DataSourceConfig, DataUpdate, DataUpdateReport, ServerDataSourceConfig
from cabochon.urls import masked_url
from cabochon_opal_server.data.publishing import InvalidUpdateError, prepared, record_of
from cabochon_opal_server.data.settings import DataSettings
from cabochon_opal_server.pubsub.topics import expanded
from cabochon_opal_server.web.answers import json_answer, operation, unprocessable
from cabochon_opal_server.web.bodies import body_as

__all__ = ["DataParts", "openapi", "routes", "sources_endpoint"]

log = structlog.get_logger()

_OK = b'{"status":"ok"}'
_REST_OF_A_REPORT = 1024 * 1024
_SHOWN = 20
_LONGEST_SHOWN = 300
NUMBER_HEADER = "x-cabochon-update-number"
ID_HEADER = "x-cabochon-update-id"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataParts:
    """What the routes need of the rest.

    Attributes:
        base_data: what clients load when they connect.
        publish: puts a record into the log and returns its number.
        permit: raises HTTPException unless the request's token may be used here at all.
        visible: the same, and tells which topics the token may follow; None for all.
        permit_publishing: raises HTTPException unless the request's token may publish to these topics.
        reported: told of each report.
    """

    base_data: ServerDataSourceConfig
    publish: Callable[[NewRecord], Awaitable[int]]
    permit: Callable[[Request], None]
    visible: Callable[[Request], Callable[[str], bool] | None]
    permit_publishing: Callable[[Request, tuple[str, ...]], None]
    reported: Callable[[Request, DataUpdateReport], None]


def routes(settings: DataSettings, parts: DataParts) -> list[Route]:
    """Make the routes."""
    return [
        Route(settings.config_route, _publisher(settings, parts), methods=["POST"], name="publish"),
        Route(settings.config_route, sources_endpoint(parts), methods=["GET"], name="data_sources"),
        Route(settings.all_data_route, _all_data, methods=["GET"], name="all_data"),
        Route(settings.report_route, _reports(settings, parts), methods=["POST"], name="callback_report"),
    ]


def _publisher(settings: DataSettings, parts: DataParts) -> Callable[[Request], Awaitable[Response]]:
    async def publish(request: Request) -> Response:
        parts.permit(request)
        update = await body_as(DataUpdate, request, largest=settings.largest_update)
        # Before the topics above are added: a token is limited in what its holder names.
        parts.permit_publishing(request, tuple(topic for entry in update.entries for topic in entry.topics))
        try:
            update = prepared(update, settings.update_limits)
        except InvalidUpdateError as err:
            raise unprocessable(str(err), "type_error", *err.location) from err
        record = record_of(update)
        try:
            number = await parts.publish(record)
        except BackboneError as err:
            log.error("data_update.not_published", update_id=update.id, error=str(err))  # noqa: TRY400 - an expected failure
            raise HTTPException(503, "the update log is away: the update was not published, try again") from err
        log.info(
            "data_update.published",
            update_id=update.id,
            number=number,
            topics=sorted(record.topics)[:_SHOWN],
            reason=None if update.reason is None else update.reason[:_LONGEST_SHOWN],
            entries=[f"{entry.save_method} {entry.dst_path or '/'}"[:_LONGEST_SHOWN] for entry in update.entries[:10]],
        )
        headers = {ID_HEADER: _header(update.id), NUMBER_HEADER: str(number)}
        return Response(_OK, media_type="application/json", headers=headers)

    return publish


def _header(value: str | None) -> str:
    """Make an id fit for a header: one that is not can be asked for by its number."""
    return value if value is not None and value.isascii() and value.isprintable() else ""


def sources_endpoint(parts: DataParts) -> Callable[[Request], Awaitable[Response]]:
    """Make the endpoint that says what agents load when they come."""

    async def data_sources(request: Request) -> Response:
        sees = parts.visible(request)
        if parts.base_data.config is not None:
            config = parts.base_data.config if sees is None else _seen(parts.base_data.config, sees)
            log.info("data_sources.served", entries=len(config.entries))
            return json_answer(config)
        url = parts.base_data.external_source_url or ""
        log.info("data_sources.redirected", url=masked_url(url))
        return RedirectResponse(_with_token(url, request.headers.get("authorization", "")), 307)

    return data_sources


def _seen(config: DataSourceConfig, sees: Callable[[str], bool]) -> DataSourceConfig:
    """Leave out what is for other topics: credentials stand in its configuration."""
    return replace(config, entries=tuple(one for one in config.entries if any(map(sees, expanded(one.topics)))))


def _with_token(url: str, authorization: str) -> str:
    """Add the caller's own token to a URL, as the peer does: the service there has no other way to know it."""
    token = authorization.partition(" ")[2].strip()
    if not token:
        return url
    parts = urlsplit(url)
    query = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name != "token"]
    return urlunsplit(parts._replace(query=urlencode([*query, ("token", token)])))


async def _all_data(_request: Request) -> Response:
    log.warning("all_data.served", why="OPAL_DATA_CONFIG_SOURCES is not set: clients get empty base data")
    return json_answer({})


def _reports(settings: DataSettings, parts: DataParts) -> Callable[[Request], Awaitable[Response]]:
    async def callback_report(request: Request) -> Response:
        parts.permit(request)
        # OPAL's clients send the entries back with the data that came in them.
        report = await body_as(DataUpdateReport, request, largest=settings.largest_update + _REST_OF_A_REPORT)
        log.info(
            "report.received",
            update_id=report.update_id,
            policy_hash=report.policy_hash,
            entries=len(report.reports),
            failed=[one.entry.dst_path for one in report.reports if not (one.fetched and one.saved)][:10],
        )
        parts.reported(request, report)
        return json_answer({})

    return callback_report


def openapi(settings: DataSettings) -> dict[str, Any]:
    """Describe the routes, as OpenAPI 3.1 `paths`."""
    update, report = ({"$ref": f"#/components/schemas/{name}"} for name in ("DataUpdate", "DataUpdateReport"))
    return {
        settings.config_route: {
            "post": operation("Data Updates", "publish_data_update", "Publish a data update", body=update),
            "get": operation("Data Updates", "get_data_sources", "List the base data sources"),
        },
        settings.all_data_route: {
            "get": operation("Data Updates", "get_all_data", "Give the empty base data", protected=False)
        },
        settings.report_route: {
            "post": operation("Data Updates", "report_update", "Report how an update went", body=report)
        },
    }
