"""The HTTP routes of policies: bundles for agents, webhooks of git services."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import msgspec
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cabochon.documents.json_values import JsonError, guarded
from cabochon.urls import masked_url
from cabochon_opal_server.policy.policies import NotLoadedError, Policies, UnknownFolderError
from cabochon_opal_server.policy.settings import PolicySettings
from cabochon_opal_server.policy.webhook import early_fault, read_push, secret_fault
from cabochon_opal_server.web.answers import json_answer, operation
from cabochon_opal_server.web.bodies import Bodies

__all__ = ["openapi", "routes"]

log = structlog.get_logger()

# GitHub's limit for the body of a webhook.
_MOST_FOLDERS = 1000
_SMALL_WEBHOOK = 1024 * 1024
_LARGEST_WEBHOOK = 25 * 1024 * 1024


def routes(settings: PolicySettings, policies: Policies | None, permit: Callable[[Request], None]) -> list[Route]:
    """Make the routes.

    Args:
        settings: those of policies.
        policies: what is served; None if there are none.
        permit: raises HTTPException unless the request's token may be used.
    """
    # Nobody knows whose they are before they were read.
    hooks = Bodies(2 * settings.largest_webhook, free=_SMALL_WEBHOOK)

    async def policy(request: Request) -> Response:
        permit(request)
        if policies is None:
            raise HTTPException(503, "policy repo was not found")
        folders = request.query_params.getlist("path")
        if len(folders) > _MOST_FOLDERS:
            raise HTTPException(422, f"there are more than {_MOST_FOLDERS} folders")
        try:
            made = await policies.bundle(folders, request.query_params.get("base_hash"))
        except NotLoadedError as err:
            raise HTTPException(503, "policy repo is not ready") from err
        except UnknownFolderError as err:
            raise HTTPException(404, f"requested path {err.args[0]} was not found in the policy repo!") from err
        return Response(made, media_type="application/json")

    async def webhook(request: Request) -> Response:
        if settings.source_type == "API":
            permit(request)
            return json_answer(_bundle_hook(settings, policies))
        return json_answer(await _git_hook(request, settings, policies, hooks))

    return [Route("/policy", policy, methods=["GET"]), Route("/webhook", webhook, methods=["POST"])]


def _bundle_hook(settings: PolicySettings, policies: Policies | None) -> dict[str, Any]:
    if policies is not None:
        policies.look()
    url = None if settings.bundle_url is None else masked_url(settings.bundle_url)
    return {"status": "ok", "event": "webhook_trigger", "repo_url": url}


async def _hook_body(request: Request, settings: PolicySettings, hooks: Bodies) -> bytes:
    """Read a webhook's body, if what its headers say of the secret may be right."""
    secret = None if settings.webhook_secret is None else settings.webhook_secret.get_secret_value()
    params = settings.webhook_params
    fault = early_fault(params, secret, request.headers)
    if fault is None:
        body = await hooks.read(request, settings.largest_webhook)
        fault = secret_fault(params, secret, request.headers, body)
        if fault is None:
            return body
    log.warning("webhook.refused", why=fault)
    raise HTTPException(401, fault)


async def _git_hook(
    request: Request, settings: PolicySettings, policies: Policies | None, hooks: Bodies
) -> dict[str, Any] | None:
    body = await _hook_body(request, settings, hooks)
    params = settings.webhook_params
    content = _object(body)
    push = read_push(content)
    if not push.urls and not push.names:
        raise HTTPException(400, "repo url or full name not found in payload!")
    if settings.webhook_enforces_branch and push.branch != settings.branch:
        log.warning("webhook.ignored", why="another branch", branch=push.branch, ours=settings.branch)
        return None
    if params.event_header_name is not None:
        event: object = request.headers.get(params.event_header_name, "ping")
    else:
        event = content.get(params.event_request_key or "", "ping")
    about_us = settings.repo_url is not None and (push.is_about(settings.repo_url) or not params.match_sender_url)
    if policies is None or not about_us:
        log.warning("webhook.ignored", why="another repository", urls=sorted(push.urls)[:5], names=sorted(push.names))
        return {"status": "ignored", "event": event}
    log.info("webhook.received", repository=policies.place, hook_event=event)
    if event == params.push_event_value:
        policies.look()
    return {"status": "ok", "event": event, "repo_url": policies.place}


def _object(body: bytes) -> dict[str, Any]:
    try:
        content: object = guarded(msgspec.json.decode, body)
    except JsonError as err:
        raise HTTPException(400, f"the body is no JSON: {err}") from err
    if not isinstance(content, dict):
        raise HTTPException(400, "the body is no JSON object")
    return cast("dict[str, Any]", content)


def openapi() -> dict[str, Any]:
    """Describe the routes, as OpenAPI 3.1 `paths`."""
    bundle = operation(
        "Policy Bundles",
        "get_policy",
        "Get the policies: all of them, or what changed since base_hash",
        answers={"404": "There is no such folder.", "503": "The repository was not read yet."},
    )
    bundle["parameters"] = [
        {
            "name": "path",
            "in": "query",
            "description": "Only what is below these folders",
            "schema": {"type": "array", "items": {"type": "string"}},
        },
        {
            "name": "base_hash",
            "in": "query",
            "description": "The hash of the bundle that is there already",
            "schema": {"type": "string"},
        },
    ]
    hook = operation(
        "Github Webhook",
        "trigger_webhook",
        "Look for new commits now",
        body={"type": "object"},
        protected=False,
        answers={"400": "The body does not say which repository.", "401": "The secret is wrong."},
    )
    return {"/policy": {"get": bundle}, "/webhook": {"post": hook}}
