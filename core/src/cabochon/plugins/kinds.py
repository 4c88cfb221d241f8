"""The kinds of things that plugins offer, and what makes a registration acceptable."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, cast

from pydantic_settings import BaseSettings

from cabochon.contract.backbone import BackboneType
from cabochon.contract.callback_reporter import CallbackReporterType
from cabochon.contract.command import CommandType
from cabochon.contract.fetcher import FetcherType
from cabochon.contract.http_routes import HttpRoutesType
from cabochon.contract.policy_store import PolicyStoreType
from cabochon.contract.service import ServiceType
from cabochon.contract.transaction_listener import TransactionListenerType
from cabochon.contract.update_source import UpdateSourceType
from cabochon.settings.model import PREFIX, variables_of

__all__ = [
    "BACKBONES",
    "CALLBACK_REPORTERS",
    "COMMANDS",
    "FETCHERS",
    "HTTP_ROUTES",
    "KINDS",
    "POLICY_STORES",
    "SERVICES",
    "TRANSACTION_LISTENERS",
    "UPDATE_SOURCES",
    "BadRegistrationError",
    "OfferKind",
    "R",
    "Registration",
    "accept",
    "claims",
]


class BadRegistrationError(Exception):
    """What a hook returned can't be used; caught where its plugin is known."""


class Registration(Protocol):
    """What every registration has."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    @property
    def summary(self) -> str:
        """One line about it."""
        ...

    @property
    def settings(self) -> type[BaseSettings] | None:
        """Its settings model."""
        ...


R = TypeVar("R", bound=Registration)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferKind(Generic[R]):
    """One kind of thing that plugins offer.

    Attributes:
        hook: the name of the hook that asks for it.
        type: the registration.
        word: what people call one of them.
        opener: the registration's attribute that makes the object.
    """

    hook: str
    type: type[R]
    word: str
    opener: str = "open"


POLICY_STORES = OfferKind(hook="cabochon_policy_stores", type=PolicyStoreType, word="policy store")
FETCHERS = OfferKind(hook="cabochon_fetchers", type=FetcherType, word="fetcher")
UPDATE_SOURCES = OfferKind(hook="cabochon_update_sources", type=UpdateSourceType, word="update source")
TRANSACTION_LISTENERS = OfferKind(
    hook="cabochon_transaction_listeners", type=TransactionListenerType, word="transaction listener"
)
CALLBACK_REPORTERS = OfferKind(hook="cabochon_callback_reporters", type=CallbackReporterType, word="callback reporter")
SERVICES = OfferKind(hook="cabochon_services", type=ServiceType, word="service")
HTTP_ROUTES = OfferKind(hook="cabochon_http_routes", type=HttpRoutesType, word="HTTP routes", opener="app")
COMMANDS = OfferKind(hook="cabochon_commands", type=CommandType, word="command", opener="load")
BACKBONES = OfferKind(hook="cabochon_backbones", type=BackboneType, word="backbone")

KINDS: tuple[OfferKind[Any], ...] = (
    POLICY_STORES,
    FETCHERS,
    UPDATE_SOURCES,
    TRANSACTION_LISTENERS,
    CALLBACK_REPORTERS,
    SERVICES,
    HTTP_ROUTES,
    COMMANDS,
    BACKBONES,
)


def claims(kind: OfferKind[Any], registration: Registration) -> set[tuple[str, str]]:
    """Return everything that only one plugin may have, as (what it is, the name that is compared)."""
    found = {(kind.word, registration.name.casefold())}
    if isinstance(registration, FetcherType):
        found |= {(kind.word, alias.casefold()) for alias in registration.aliases}
    if isinstance(registration, FetcherType | CallbackReporterType | BackboneType):
        found |= {(f"{kind.word} scheme", scheme.casefold()) for scheme in registration.schemes}
    if isinstance(registration, HttpRoutesType):
        found.add(("mount path", registration.mount_path.rstrip("/") or "/"))
    return found


# ------------------------------------------------------------------------------------------- what makes it acceptable

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")


def accept(kind: OfferKind[R], item: object) -> R:
    """Return `item` if it is a sound registration of this kind.

    Raises:
        BadRegistrationError: it is not; the message names the attribute and what it should be.
    """
    if not isinstance(item, kind.type):
        raise BadRegistrationError(f"gave {_what(item)} instead of {kind.type.__name__}")
    where = f"{kind.type.__name__}(name={item.name!r})"
    _require(_is_text(item.name, _NAME), f"{where}: name must be letters, digits and _ . + -, with no space")
    _require(_is_text(item.summary), f"{where}: summary must be a line of text")
    _require(callable(getattr(item, kind.opener)), f"{where}: {kind.opener} must be callable")
    for attribute, pattern in (("schemes", _SCHEME), ("aliases", _NAME), ("stores", _NAME)):
        _require(
            _is_tuple_of_text(getattr(item, attribute, ()), pattern),
            f"{where}: {attribute} must be a tuple of names, such as ('http', 'https')",
        )
    if isinstance(item, PolicyStoreType):
        _require(item.sandbox is None or callable(item.sandbox), f"{where}: sandbox must be callable, or None")
    if isinstance(item, HttpRoutesType):
        _require(_is_text(item.mount_path, re.compile(r"/.*")), f"{where}: mount_path must start with '/'")
        _require(item.public in {True, False}, f"{where}: public must be True or False")
    if isinstance(item, ServiceType):
        _require(item.phase in {"before_store", "after_store"}, f"{where}: phase must be before_store or after_store")
    _accept_settings(where, item.settings)
    return item


def _accept_settings(where: str, settings: object) -> None:
    if settings is None:
        return
    if not (isinstance(settings, type) and issubclass(settings, BaseSettings)):
        raise BadRegistrationError(f"{where}: settings must be a class derived from cabochon.Settings, or None")
    for field, variables in variables_of(settings).items():
        # One prefix for all, so that a slip of the pen in any variable is found and said.
        _require(
            bool(variables) and all(variable.startswith(PREFIX) for variable in variables),
            f"{where}: field {field!r} of {settings.__name__} must have a validation_alias that starts with {PREFIX}",
        )


def _require(condition: bool, message: str) -> None:  # noqa: FBT001 - reads like the assert that it stands for
    if not condition:
        raise BadRegistrationError(message)


def _is_text(value: object, pattern: re.Pattern[str] = re.compile(r".*\S.*")) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_tuple_of_text(value: object, pattern: re.Pattern[str]) -> bool:
    return isinstance(value, tuple) and all(_is_text(item, pattern) for item in cast("Iterable[object]", value))


def _what(item: object) -> str:
    return "None" if item is None else f"{type(item).__name__} {item!r:.60}" if not callable(item) else _called(item)


def _called(item: Callable[..., object]) -> str:
    return f"the {'class' if isinstance(item, type) else 'function'} {getattr(item, '__name__', item)!s}"
