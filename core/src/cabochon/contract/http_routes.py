"""What a plugin may add to the agent's one HTTP face."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cabochon.contract.agent_context import AgentContext, AsgiApp

if TYPE_CHECKING:
    from pydantic_settings import BaseSettings

__all__ = ["HttpRoutesType"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRoutesType:
    """Offer routes on the agent's one HTTP face.

    Attributes:
        name: unique, compared without case.
        summary: one line for `cabochon plugins`.
        mount_path: where the routes hang, such as `/callbacks`; unique.
        app: takes an instance of `settings` (or None) and the context, gives an ASGI application.
        stores: names of the stores they go with, compared without case; empty for all.
        settings: the routes' settings model.
        public: anyone may ask, such as for a health document; otherwise whoever serves HTTP lets in only those who show
            a token of a listener, as soon as tokens are in use.
        openapi: what the routes are, for the description of the API: Path Item Objects of OpenAPI 3.1 by the path below
            `mount_path`, such as `{"/config": {"get": {"summary": "..."}}}`.
    """

    name: str
    summary: str
    mount_path: str
    app: Callable[[Any, AgentContext], AsgiApp]
    stores: tuple[str, ...] = ()
    settings: type[BaseSettings] | None = None
    public: bool = False
    openapi: Mapping[str, Mapping[str, Any]] | None = None
