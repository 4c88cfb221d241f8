"""Which OPA answers: the id that it gives itself when it starts, and its version."""

from __future__ import annotations

import msgspec

from cabochon.errors import StoreUnavailableError
from cabochon_opa.client import OpaClient

__all__ = ["EngineLabels", "engine_labels"]


class EngineLabels(msgspec.Struct, frozen=True):
    """What `GET /v1/config` says of the process: `id` is new with each start, `version` such as 1.22.2."""

    id: str = ""
    version: str = ""


class _Config(msgspec.Struct):
    labels: EngineLabels = EngineLabels()


class _Answer(msgspec.Struct):
    result: _Config


async def engine_labels(client: OpaClient) -> EngineLabels:
    """Ask OPA who it is.

    Raises:
        StoreUnavailableError: it does not answer, or not as OPA does.
    """
    answer = await client.ask("GET", "/v1/config")
    try:
        return msgspec.json.decode(answer.body, type=_Answer).result.labels
    except msgspec.DecodeError as err:
        msg = (
            f"GET /v1/config was answered with {answer.status} and no labels:"
            " OPAL_POLICY_STORE_URL must be the address of an OPA, without /v1"
        )
        raise StoreUnavailableError(msg) from err
