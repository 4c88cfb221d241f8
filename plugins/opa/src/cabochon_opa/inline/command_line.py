"""The command line of inline OPA, from the settings: pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from cabochon_opa.bundle.opa_config import bundle_config
from cabochon_opa.inline.settings import InlineOpaSettings, OpaServerOptions

__all__ = ["opa_arguments"]

_ON_THEIR_OWN = frozenset({"files", "log_level", "v0_compatible"})


def opa_arguments(settings: InlineOpaSettings) -> list[str]:
    """Return what follows `opa` on its command line.

    Everything is as the peer has it, and besides: OPA neither asks for newer versions nor reports its own; its log is
    JSON; and with `OPAL_OPA_POLICY_DELIVERY=bundle` it is told to load policies from us, whatever else its
    configuration file says.

    Raises:
        ConfigurationError: `OPAL_OPA_BUNDLE_SERVICE_ADDR` is no address.
    """
    options = settings.inline_options
    arguments = ["run", "--server", "--skip-version-check", "--log-format=json"]
    if settings.v0_compatible or options.v0_compatible:
        arguments.append("--v0-compatible")
    arguments += [f"{option}={value}" for option, value in _given(options)]
    # Of the two lines that OPA writes at `info` for each request it answers, the log format `none` would show neither.
    silent = settings.inline_log_format == "none" and "log_level" not in options.model_fields_set
    arguments.append(f"--log-level={'error' if silent else options.log_level}")
    if settings.policy_delivery == "bundle":
        pairs = _flattened(bundle_config(settings.bundle_service_addr))
        arguments += [f"--set={'.'.join(path)}={value}" for path, value in pairs]
    return [*arguments, *(options.files or ())]


def _given(options: OpaServerOptions) -> Iterator[tuple[str, object]]:
    for field, declared in OpaServerOptions.model_fields.items():
        value = getattr(options, field)
        if value is not None and field not in _ON_THEIR_OWN:
            yield str(declared.alias), value


def _flattened(config: Mapping[str, object], above: Sequence[str] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _flattened(cast("Mapping[str, object]", value), (*above, name))
        else:
            yield (*above, name), value
