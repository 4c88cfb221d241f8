"""Keeps the healthcheck policy in OPA: the state as a base document, and the modules that read it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from importlib import resources
from typing import TYPE_CHECKING

import anyio
import structlog

from cabochon import TransactionListener, TransactionListenerType
from cabochon.documents import json_values
from cabochon.documents.path import DocumentPath
from cabochon.errors import ConfigurationError
from cabochon.transactions.changes import Change, SetData, SetPolicy
from cabochon_opa.health.examples import example_states
from cabochon_opa.health.settings import HealthSettings
from cabochon_opa.health.template import HealthTemplate

if TYPE_CHECKING:
    from cabochon.transactions.log import TransactionLog
    from cabochon.transactions.records import TransactionRecord

__all__ = ["HEALTH_PATH", "OPAL_POLICY", "PROBES_POLICY", "OpaHealthListener", "health_listener_type"]

log = structlog.get_logger()

HEALTH_PATH = DocumentPath(("system", "cabochon", "health"))
"""Where the state is, as a base document."""

OPAL_POLICY = "engine/healthcheck/opal.rego"
"""The id of the module that shows it. It is the peer's, whose own module in the same OPA is so replaced."""

PROBES_POLICY = "engine/healthcheck/health.rego"
"""The id of the module behind OPA's /health/ready and /health/live."""

_VARIABLE = "OPAL_OPA_HEALTH_CHECK_POLICY_PATH"


class OpaHealthListener(TransactionListener):
    """Write the state, and the modules that show it, in the same commit as the data that it describes.

    Args:
        template: renders `package system.opal`.
        probes: the text of `package system.health`, None to leave that package alone.
    """

    def __init__(self, template: HealthTemplate, probes: str | None) -> None:
        self._template = template
        self._probes = () if probes is None else (SetPolicy(PROBES_POLICY, probes),)
        self._said: tuple[bool, bool] | None = None
        self.owned_paths = (HEALTH_PATH,)
        self.owned_policies = (OPAL_POLICY, *(policy.id for policy in self._probes))

    def committing(self, records: Sequence[TransactionRecord], log: TransactionLog) -> Sequence[Change]:  # noqa: ARG002 # the log has it all
        """Return the writes of both modules and of the state; the store skips modules that are in force already.

        A module whose text depends on the state is not part of OPA's atomic patch. If it says that OPA is ready it goes
        after the data, else before it: never is an OPA called ready before it is.
        """
        state = log.as_document()
        data = SetData(HEALTH_PATH, json_values.encode(state))
        policy = SetPolicy(OPAL_POLICY, self._template.render(state))
        if self._template.static or not log.ready:
            return (policy, *self._probes, data)
        return (*self._probes, data, policy)

    async def ended(self, record: TransactionRecord, log: TransactionLog) -> None:
        """Say so in the log, in the words that the peer's users look for."""
        says = (log.ready, log.healthy)
        news, self._said = says != self._said, says
        _tell(record, ready=log.ready, healthy=log.healthy, news=news)


def _tell(record: TransactionRecord, *, ready: bool, healthy: bool, news: bool) -> None:
    """Log both lines: at INFO, in OPAL's words too, if there is news; else at DEBUG, which builds no text."""
    done = {"actions": record.actions, "success": record.success, "error": record.error}
    if not news:
        log.debug("health_check.transaction", transaction_id=record.id, **done)
        log.debug("health_check.persisted", ready=ready, healthy=healthy)
        return
    processed = {"id": record.id, **done, "actions": list(record.actions)}
    log.info(
        "health_check.transaction",
        transaction_id=record.id,
        **done,
        message=f"processing store transaction: {processed}",
    )
    log.info(
        "health_check.persisted",
        ready=ready,
        healthy=healthy,
        message=f"persisting health check policy: ready={str(ready).lower()}, healthy={str(healthy).lower()}",
    )


@asynccontextmanager
async def _open(settings: HealthSettings) -> AsyncGenerator[TransactionListener]:
    """Open the listener; one that does nothing and owns nothing, unless the settings enable it."""
    if not settings.enabled:
        yield TransactionListener()
        return
    probes = _template(_shipped("health.rego.j2"), "health.rego.j2", settings).render({})
    yield OpaHealthListener(await _opal_template(settings), probes if settings.probes_enabled else None)


async def _opal_template(settings: HealthSettings) -> HealthTemplate:
    path = settings.template_path
    if path is None:
        return _template(_shipped("opal.rego.j2"), "opal.rego.j2", settings)
    try:
        source = await anyio.Path(path).read_text("utf-8")
    except (OSError, ValueError) as err:
        why = err.strerror if isinstance(err, OSError) else "it is not text in UTF-8"
        raise ConfigurationError(f"{_VARIABLE}: {path}: can't be read: {why}") from err
    try:
        return _template(source, path, settings)
    except ConfigurationError as err:
        raise ConfigurationError(f"{_VARIABLE}: {err}") from err


def _shipped(name: str) -> str:
    return resources.files(__package__ or "").joinpath(name).read_text("utf-8")


def _template(source: str, name: str, settings: HealthSettings) -> HealthTemplate:
    constants = {"require_agent_alive": settings.require_agent_alive}
    return HealthTemplate(source, name=name, constants=constants, examples=example_states())


def health_listener_type() -> TransactionListenerType:
    """Offer `opa-health`; opening it raises `ConfigurationError` if the operator's template is of no use."""
    return TransactionListenerType(
        name="opa-health",
        summary="Show ready, healthy and the rest in OPA, at /v1/data/system/opal",
        open=_open,
        stores=("OPA",),
        settings=HealthSettings,
    )
