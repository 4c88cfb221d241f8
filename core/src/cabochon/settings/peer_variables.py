"""The environment variables of OPAL 0.9.6: who reads each here, or why nobody does.

The catalogue is `opal_variables.json` beside this module: names, OPAL's defaults and who reads them are written by
docs/environment.py, the reasons by hand. It is read when a variable is set that nothing reads, and not before.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources

import msgspec

__all__ = ["PeerVariable", "peer_variables", "why_unread"]

SERVER = "opal_server"


class PeerVariable(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A variable as OPAL declares it.

    Attributes:
        declared: the package of OPAL's that declares it: `opal_client`, `opal_common`, `opal_server`, ...
        default: OPAL's default as one would set it, "" for none.
        by: the distributions of ours that read it.
        reason: why none does.
    """

    declared: str
    default: str = ""
    by: tuple[str, ...] = ()
    reason: str = ""


@cache
def peer_variables() -> Mapping[str, PeerVariable]:
    """Return every variable of OPAL's by its name."""
    text = resources.files("cabochon.settings").joinpath("opal_variables.json").read_bytes()
    return msgspec.json.decode(text, type=dict[str, PeerVariable])


def why_unread(name: str) -> str:
    """Say why nothing that is loaded reads a variable of OPAL's; "" if OPAL has none of this name."""
    variable = peer_variables().get(name)
    if variable is None:
        return ""
    if variable.by:
        return f"what reads it is not loaded: {' or '.join(variable.by)}, see `cabochon plugins`"
    return variable.reason
