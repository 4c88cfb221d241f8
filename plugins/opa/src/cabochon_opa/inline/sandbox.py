"""An OPA to try things out with: inline, on free ports of this machine, in nobody's way."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from contextlib import ExitStack

from cabochon import load_settings
from cabochon_opa.inline.binary import find_opa
from cabochon_opa.inline.settings import InlineOpaSettings

__all__ = ["sandbox"]

_HEALTHCHECK = "OPAL_OPA_HEALTH_CHECK_POLICY_ENABLED"


def sandbox(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return what to set for an OPA of one's own, with the healthcheck policy in it unless that is switched off.

    Whoever sets `OPAL_INLINE_OPA_ENABLED=False` means an OPA that runs already: then nothing is to be set.

    Args:
        environ: the variables of the operator.

    Raises:
        ConfigurationError: there is no OPA to run, and the one line says how to get it; or a variable is wrong.
    """
    settings = load_settings(InlineOpaSettings, environ)
    if not settings.inline_enabled:
        return {}
    find_opa(settings.exec_path)
    opa, bundles = _free_addresses(2)
    return {
        "OPAL_POLICY_STORE_URL": f"http://{opa}",
        "OPAL_POLICY_STORE_AUTH_TYPE": "none",
        "OPAL_INLINE_OPA_CONFIG": json.dumps({"addr": opa}),
        "OPAL_OPA_BUNDLE_SERVICE_ADDR": bundles,
        _HEALTHCHECK: environ.get(_HEALTHCHECK, "true"),
    }


def _free_addresses(count: int) -> list[str]:
    """Return addresses of 127.0.0.1 that nobody listens at, each another one."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{probe.getsockname()[1]}" for probe in probes]
