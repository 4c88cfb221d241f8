"""Every setting on one page, and the variables that nobody reads."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from typing import Literal, cast

import msgspec
import structlog
from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from cabochon.errors import ConfigurationError
from cabochon.settings.model import MASK, PREFIX, is_secret, load_settings, masked_urls, variables_of
from cabochon.settings.peer_variables import why_unread

__all__ = ["SettingRow", "UnknownVariable", "setting_rows", "unknown_variables", "warn_of_unknown_variables"]

log = structlog.get_logger()

# Kubernetes sets these in every container for each service, so a service called `opal-server` makes `OPAL_SERVER_...`.
_SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT(_\w+)?)$|_PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$")
_SERVICE_ADDRESS = re.compile(r"^(tcp|udp|sctp)://|^[\d.]+$|^\d+$|^(tcp|udp|sctp)$")

_HIDDEN_MEMBER = re.compile(r"header|^data$|body|cookie|auth|token|secret|password|key|credential", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingRow:
    """One setting as `cabochon config` shows it, secrets masked.

    Attributes:
        variables: the environment variable, then older names for it.
        value: what is in force.
        default: what is in force when the variable is not set.
        source: where the value comes from.
        owner: "core" or the plugin that reads it.
        meaning: what it is for, and its unit.
        problem: why the value is refused, "" if it is fine.
        masked: whether it was given and may hold a secret, so that `value` may not be all of it.
    """

    variables: tuple[str, ...]
    value: str
    default: str
    source: Literal["environment", "default"]
    owner: str
    meaning: str
    problem: str = ""
    masked: bool = False

    @property
    def variable(self) -> str:
        """The environment variable to use."""
        return self.variables[0]


@dataclass(frozen=True, slots=True)
class UnknownVariable:
    """A variable with our prefix that no model reads.

    Attributes:
        name: the variable.
        nearest: the known one that it resembles, if any.
        why: why nobody reads it, if it is OPAL's; else "".
    """

    name: str
    nearest: str | None = None
    why: str = ""

    def __str__(self) -> str:
        """Say it in one line."""
        meant = f"; did you mean {self.nearest}?" if self.nearest else ""
        return f"{self.name} is set, but {self.why or f'nothing that is installed reads it{meant}'}"


def setting_rows(models: Iterable[tuple[str, type[BaseSettings]]], environ: Mapping[str, str]) -> list[SettingRow]:
    """List the settings of all `(owner, model)`, sorted by variable and owner. A wrong value is shown, not raised.

    A variable that several models of one owner share has one row.
    """
    rows: dict[tuple[str, str], SettingRow] = {}
    for owner, model in models:
        for row in _rows(owner, model, environ):
            key = (row.variable, row.owner)
            if key not in rows or row.problem:
                rows[key] = row
    return [rows[key] for key in sorted(rows)]


def _rows(owner: str, model: type[BaseSettings], environ: Mapping[str, str]) -> Iterable[SettingRow]:
    problems: list[str] = []
    settings: BaseSettings | None = None
    try:
        settings = load_settings(model, environ)
    except ConfigurationError as err:
        problems = str(err).splitlines()
    for name, variables in variables_of(model).items():
        field = model.model_fields[name]
        default = "" if field.is_required() else _shown(field.get_default(call_default_factory=True), field)
        used = next((variable for variable in variables if environ.get(variable)), None)
        if used is None:
            value = default
        elif settings is None:
            value = MASK if is_secret(field) else masked_urls(environ[used])
        else:
            value = _shown(getattr(settings, name), field, given=True)
        yield SettingRow(
            variables=variables,
            value=value,
            default=default,
            source="default" if used is None else "environment",
            owner=owner,
            meaning=field.description or "",
            problem="; ".join(line for line in problems if re.match(rf"{used or variables[0]}\b", line)),
            masked=used is not None and (is_secret(field) or masked_urls(environ[used]) != environ[used]),
        )


def _shown(value: object, field: FieldInfo, *, given: bool = False) -> str:
    plain = _plain(value)
    if given and is_secret(field):
        # A given text is the secret itself; in a given document only some members are.
        return MASK if isinstance(plain, str) else json.dumps(_hidden(plain))
    return masked_urls(plain if isinstance(plain, str) else "" if plain is None else json.dumps(plain, default=str))


def _plain(value: object) -> object:
    match value:  # to what JSON can say
        case SecretStr() | SecretBytes():
            plain = MASK if value.get_secret_value() else ""
        case timedelta():
            seconds = value.total_seconds()
            plain = int(seconds) if seconds.is_integer() else seconds
        case BaseModel():
            plain = {name: _plain(getattr(value, name)) for name in type(value).model_fields}
        case msgspec.Struct():
            plain = _plain(msgspec.to_builtins(value))
        case list() | tuple() | set() | frozenset():
            plain = [_plain(item) for item in cast("Iterable[object]", value)]
        case Mapping():
            members = cast("Mapping[object, object]", value)
            plain = {str(key): _plain(member) for key, member in members.items()}
        case _:
            plain = value
    return plain


def _hidden(value: object) -> object:
    """Mask what may be a secret inside a document: headers, bodies, passwords and queries in URLs."""
    match value:
        case dict():
            members = cast("dict[str, object]", value)
            return {key: MASK if _HIDDEN_MEMBER.search(key) else _hidden(member) for key, member in members.items()}
        case list():
            return [_hidden(item) for item in cast("list[object]", value)]
        case str():
            return masked_urls(value)
        case _:
            return value


def unknown_variables(environ: Mapping[str, str], known: Iterable[str]) -> list[UnknownVariable]:
    """Find the variables with our prefix that nobody reads, sorted: why, if OPAL has them, else whom they resemble."""
    names = set(known)
    return [
        _unknown(name, names)
        for name, value in sorted(environ.items())
        if name.startswith(PREFIX) and name not in names and not _is_service_link(name, value)
    ]


def _unknown(name: str, known: Collection[str]) -> UnknownVariable:
    why = why_unread(name)
    if why:
        return UnknownVariable(name, why=why)
    return UnknownVariable(name, next(iter(get_close_matches(name, sorted(known), n=1, cutoff=0.8)), None))


def _is_service_link(name: str, value: str) -> bool:
    return bool(_SERVICE_LINK.search(name)) and bool(_SERVICE_ADDRESS.search(value))


def warn_of_unknown_variables(environ: Mapping[str, str], models: Iterable[type[BaseSettings]]) -> None:
    """Log a warning for each variable with our prefix that no installed part reads.

    Those that OPAL has are there on purpose, and the reason is given; most others are slips of the pen.
    """
    known = [name for model in models for names in variables_of(model).values() for name in names]
    for unknown in unknown_variables(environ, known):
        if unknown.why:
            log.warning("setting.unsupported", variable=unknown.name, why=unknown.why)
        else:
            log.warning("setting.unknown", variable=unknown.name, did_you_mean=unknown.nearest)
