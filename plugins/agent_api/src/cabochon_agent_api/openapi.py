"""The description of the API, as an OpenAPI 3.1 document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

import cabochon
from cabochon import HostedRoutes
from cabochon.schemas import CallbackEntry
from cabochon_agent_api.system_opal import SYSTEM_OPAL

__all__ = ["description"]

_Document = dict[str, Any]


def description(hosted: Iterable[HostedRoutes], *, system_opal: bool = False) -> _Document:
    """Describe the agent's own routes and those of plugins, sorted by path.

    Args:
        hosted: the plugins' routes.
        system_opal: whether the health document is served here.
    """
    _, schemas = msgspec.json.schema_components([CallbackEntry], ref_template="#/components/schemas/{name}")
    paths = _health() | _triggers() | _callbacks() | _connectivity() | (_system_opal() if system_opal else {})
    for routes in hosted:
        paths |= {routes.mount_path + path: dict(item) for path, item in (routes.openapi or {}).items()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Cabochon agent",
            "description": "Health, triggers and update callbacks of an agent that keeps a policy engine in sync.",
            "version": cabochon.__version__,
        },
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": schemas,
            "securitySchemes": {"listener": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _operation(tag: str, name: str, summary: str, **more: Any) -> _Document:
    return {
        "summary": summary,
        "operationId": name,
        "tags": [tag],
        "responses": {"200": _answer("Done.")},
        **more,
    }


def _answer(meaning: str, schema: Mapping[str, Any] | None = None) -> _Document:
    return {"description": meaning, "content": {"application/json": {"schema": dict(schema or {"type": "object"})}}}


def _guarded(**answers: Any) -> _Document:
    responses = {status.removeprefix("_"): answer for status, answer in answers.items()}
    return {
        "security": [{"listener": []}],
        "responses": {**responses, "401": _answer("A token of a listener is needed.")},
    }


def _health() -> _Document:
    healthy = {
        "responses": {
            "200": _answer("Ready, and the latest policies and data are in force; or offline, if offline mode is on."),
            "503": _answer("Not so."),
        }
    }
    ready = {"responses": {"200": _answer("Everything was loaded at least once."), "503": _answer("Not yet.")}}
    paths = {"/": "root", "/healthcheck": "healthcheck", "/healthy": "healthy"}
    return {
        **{
            path: {"get": _operation("Health", name, "Is the agent healthy?", **healthy)}
            for path, name in paths.items()
        },
        "/ready": {"get": _operation("Health", "ready", "Is the engine ready for queries?", **ready)},
    }


def _system_opal() -> _Document:
    document = _answer('`{"result": ...}`, or `{}` for a member that there is not.')
    names = {SYSTEM_OPAL: "system_opal", f"{SYSTEM_OPAL}/{{member}}": "system_opal_member"}
    member = {"name": "member", "in": "path", "required": True, "schema": {"type": "string"}}
    return {
        path: {
            **({"parameters": [member]} if path != SYSTEM_OPAL else {}),
            **{
                method: _operation(
                    "Health",
                    f"{method}_{name}",
                    "Ready, healthy and all that goes with it",
                    responses={"200": document},
                )
                for method in ("get", "post")
            },
        }
        for path, name in names.items()
    }


def _triggers() -> _Document:
    answers = _guarded(_200=_answer("It will be."), _503=_answer("It can't be now; the answer says why."))
    policies = _operation("Policy Updater", "trigger_policy_update", "Load all policies again", **answers)
    data = _operation("Data Updater", "trigger_data_update", "Load the base data again", **answers)
    return {"/policy-updater/trigger": {"post": policies}, "/data-updater/trigger": {"post": data}}


def _callbacks() -> _Document:
    entry = {"$ref": "#/components/schemas/CallbackEntry"}
    one, many = _answer("The callback.", entry), _answer("All callbacks.", {"type": "array", "items": entry})
    missing = _answer("There is none with this key.")
    key = {"name": "key", "in": "path", "required": True, "schema": {"type": "string"}}
    body = {"required": True, "content": {"application/json": {"schema": entry}}}
    wrong = _answer("The body is no callback.")

    def operation(name: str, summary: str, **more: Any) -> _Document:
        return _operation("Callbacks", name, summary, **more)

    return {
        "/callbacks": {
            "get": operation("list_callbacks", "List the update callbacks", **_guarded(_200=many)),
            "post": operation(
                "register_callback", "Register an update callback", requestBody=body, **_guarded(_200=one, _422=wrong)
            ),
        },
        "/callbacks/{key}": {
            "parameters": [key],
            "get": operation("get_callback", "Show an update callback", **_guarded(_200=one, _404=missing)),
            "delete": operation(
                "remove_callback",
                "Remove an update callback",
                **_guarded(_204={"description": "It is gone."}, _404=missing),
            ),
        },
    }


def _connectivity() -> _Document:
    done, not_offline = _answer("The outcome."), _answer("Offline mode is not enabled.")

    def operation(name: str, summary: str, **more: Any) -> _Document:
        return _operation("OPAL Server Connectivity", name, summary, **more)

    switched = _guarded(_200=done, _400=not_offline)
    path = "/opal-server/connectivity"
    return {
        path: {"get": operation("connectivity", "Does the agent follow its server?", **_guarded(_200=done))},
        f"{path}/disable": {"post": operation("disable_connectivity", "Leave the server", **switched)},
        f"{path}/enable": {"post": operation("enable_connectivity", "Follow the server again", **switched)},
    }
