"""Settings as every part of Cabochon owns them: one frozen model each, read from the environment in one place.

A model's fields carry the whole name of their variable as alias, with the prefix `OPAL_` that all share. Building a
model by hand, as tests do, looks at nothing but what it is given; only `load_settings` reads the environment.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from datetime import timedelta
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import AliasChoices, BaseModel, BeforeValidator, SecretBytes, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from cabochon.errors import ConfigurationError
from cabochon.urls import masked_url

__all__ = [
    "MASK",
    "PREFIX",
    "CommaList",
    "Masked",
    "NotBlank",
    "Seconds",
    "Settings",
    "is_secret",
    "load_settings",
    "masked_urls",
    "variables_of",
]

PREFIX = "OPAL_"
MASK = "********"
"""Stands for a secret wherever settings are shown."""

_LONGEST_SHOWN = 80

T = TypeVar("T", bound=BaseSettings)


class Settings(BaseSettings):
    """The settings of one part: frozen, every field with a `validation_alias`, a `description` and a default.

    An empty variable counts as not set, unless the field is `NotBlank`. A field whose type is a list, a mapping or a
    model is written as JSON. Use `Seconds` for time, `CommaList` for plain lists of names, `SecretStr` (or `Masked`
    beside another type) for what must not be shown.

    Example:
        >>> class AcmeSettings(Settings):
        ...     acme_timeout: Seconds = Field(
        ...         default=timedelta(seconds=5), validation_alias="OPAL_ACME_TIMEOUT", description="Seconds to wait."
        ...     )
        >>> load_settings(AcmeSettings, {"OPAL_ACME_TIMEOUT": "0.5"}).acme_timeout
        datetime.timedelta(microseconds=500000)
    """

    model_config = SettingsConfigDict(
        frozen=True,
        populate_by_name=True,
        extra="ignore",
        validate_default=True,
        # Types such as `timedelta` and structs of the wire models are values here, never JSON schemas.
        arbitrary_types_allowed=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic-settings'
        init_settings: PydanticBaseSettingsSource,
        *_sources: PydanticBaseSettingsSource,
        **_named_sources: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take nothing but what is passed in: the environment is `load_settings`'s to read."""
        return (init_settings,)


class Masked:
    """In a field's `Annotated` metadata: its value is a secret, or may hold one."""


def _seconds(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return value
    try:
        seconds = float(value)
        if math.isfinite(seconds):
            return timedelta(seconds=seconds)
    except (ValueError, OverflowError):
        pass
    raise ValueError("should be a number of seconds")


def _comma_list(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError as err:
            raise ValueError(f"should be names separated by commas, or a JSON list ({err})") from err
    return [name.strip() for name in value.split(",") if name.strip()]


def _not_blank(value: object) -> object:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if isinstance(text, str) and not text.strip():
        raise ValueError("is set and blank, which would leave open what it guards: give it a value, or do not set it")
    return value


NotBlank = BeforeValidator(_not_blank)
"""In a field's `Annotated` metadata: without its value everyone would be let in, so that a variable which is set and
empty or blank, as compose files make one of a variable that is not set, is an error."""

Seconds = Annotated[timedelta, BeforeValidator(_seconds)]
"""Time: a number of seconds in the environment, a `timedelta` in Python."""

CommaList = Annotated[tuple[str, ...], BeforeValidator(_comma_list)]
"""Plain names: `a,b` or `["a", "b"]` in the environment, a tuple in Python."""


def variables_of(model: type[BaseSettings]) -> dict[str, tuple[str, ...]]:
    """Return the variables of each field by the field's name; the first is the one to document, others are older."""
    prefix = model.model_config.get("env_prefix", "")
    return {name: _variables(name, field, prefix) for name, field in model.model_fields.items()}


def _variables(name: str, field: FieldInfo, prefix: str) -> tuple[str, ...]:
    match field.validation_alias or field.alias:
        case str(alias):
            return (alias,)
        case AliasChoices(choices=choices):
            return tuple(choice for choice in choices if isinstance(choice, str))
        case _:
            return ((prefix + name).upper(),)


def is_secret(field: FieldInfo) -> bool:
    """Tell whether the field's value must not be shown."""
    return _is_marked(field) or _holds_secret(field.annotation, frozenset())


def _is_marked(field: FieldInfo) -> bool:
    return any(isinstance(mark, Masked) or mark is Masked for mark in field.metadata)


def _holds_secret(annotation: object, seen: frozenset[object]) -> bool:
    """Look for secret types in a type, in what it is made of, and in the models inside it."""
    if any(_holds_secret(member, seen) for member in get_args(annotation)):
        return True
    kind = get_origin(annotation) or annotation
    if not isinstance(kind, type) or kind in seen:
        return False
    if issubclass(kind, BaseModel):
        inside = kind.model_fields.values()
        return any(_is_marked(field) or _holds_secret(field.annotation, seen | {kind}) for field in inside)
    return issubclass(kind, SecretStr | SecretBytes)


def load_settings(model: type[T], environ: Mapping[str, str] | None = None) -> T:
    """Read a model's variables and check them.

    Args:
        model: a `Settings` model, or any model of pydantic-settings whose fields have aliases.
        environ: the variables; those of this process if None.

    Raises:
        ConfigurationError: with one line for each wrong variable: its name, its value and what would be right.
    """
    environ = os.environ if environ is None else environ
    given: dict[str, Any] = {}
    for name, variables in variables_of(model).items():
        field = model.model_fields[name]
        blank_counts = NotBlank in field.metadata
        variable = next((one for one in variables if environ.get(one) or (blank_counts and one in environ)), None)
        if variable is not None:
            given[variable] = _decoded(field, environ[variable])
    try:
        return model(**given)
    except ValidationError as err:
        lines = sorted({_explain(model, details, environ) for details in err.errors(include_url=False)})
        raise ConfigurationError("\n".join(lines)) from None
    except SettingsError as err:
        raise ConfigurationError(f"{model.__name__}: {err}") from None


def _decoded(field: FieldInfo, raw: str) -> object:
    """Decode what is written as JSON; what is not JSON stays text, for validation to judge."""
    own_reading = any(isinstance(mark, BeforeValidator) for mark in field.metadata)
    if own_reading or not raw.lstrip().startswith(("{", "[")) or not _is_structured(field.annotation):
        return raw
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return raw


def _is_structured(annotation: object) -> bool:
    """Tell whether a type, or a member of a union, has an inside: only such values are written as JSON."""
    origin = get_origin(annotation)
    if origin is Annotated or origin is Union or isinstance(annotation, UnionType):
        return any(_is_structured(member) for member in get_args(annotation))
    kind = origin or annotation
    return isinstance(kind, type) and issubclass(kind, BaseModel | Mapping | list | tuple | set | frozenset)


# ---------------------------------------------------------------------------------------------- what would be right

_EXPECTED = {
    "bool_parsing": "should be true or false",
    "int_parsing": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_parsing": "should be a number",
    "time_delta_parsing": "should be a number of seconds",
    "tuple_type": "should be a list",
    "list_type": "should be a JSON list",
    "dict_type": "should be a JSON object",
    "mapping_type": "should be a JSON object",
    "model_type": "should be a JSON object",
    "model_attributes_type": "should be a JSON object",
    "missing": "must be set",
}


def _explain(model: type[BaseSettings], details: ErrorDetails, environ: Mapping[str, str]) -> str:
    """Write one line: variable, value, what would be right."""
    text = re.sub(r"\s+", " ", _EXPECTED.get(details["type"]) or _sentence(details["msg"]))
    if not details["loc"]:
        return f"{', '.join(names[0] for names in variables_of(model).values())}: {text}"
    first, *inside = details["loc"]
    field_name, variable = _owner(model, str(first))
    if inside:
        text = f"{'.'.join(str(part) for part in inside)} {text}"
    field = model.model_fields.get(field_name)
    if details["type"] == "missing" and not inside and field is not None:
        return f"{variable} {text}: {field.description or 'it has no default'}"
    raw = environ.get(variable) or str(details["input"])
    shown = MASK if (field is None or is_secret(field)) and raw.strip() else repr(_shortened(masked_urls(raw)))
    return f"{variable}={shown} {text}"


def _owner(model: type[BaseSettings], location: str) -> tuple[str, str]:
    """Find the field and the variable that pydantic means by the first part of an error's location."""
    for name, variables in variables_of(model).items():
        if location == name:
            return name, variables[0]
        if location in variables:
            return name, location
    return "", location


def _sentence(message: str) -> str:
    text = message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return text.replace("Input should", "should", 1)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."


def masked_urls(text: str) -> str:
    """Mask what may be a secret in the URLs inside a text."""
    return re.sub(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\"']+", lambda url: masked_url(url[0]), text)
