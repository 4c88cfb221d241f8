"""The model in OpenFGA: made of the policies, posted only when it differs from the one that is there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

import anyio
import msgspec
import structlog

from cabochon.contract.powers import PolicyProblem
from cabochon.errors import StoreRejectedError
from cabochon.transactions.changes import PolicyChange, policies_after
from cabochon_openfga.api import OpenFgaApi
from cabochon_openfga.model.compiler import BadModelError, ModelCompiler
from cabochon_openfga.model.normal_form import normal_form

__all__ = ["ModelInForce"]

log = structlog.get_logger()


class ModelInForce:
    """Keeps the modules, and writes the model that they make; one write at a time.

    A model has no update and no delete in OpenFGA: each one posted is the newest, and the same one posted again has
    another id, so that whoever pins the id would be moved for nothing.

    Args:
        api: asks OpenFGA.
        store_id: gives the id of our store.
        compiler: makes the model of the policies.
    """

    def __init__(self, api: OpenFgaApi, store_id: Callable[[], Awaitable[str]], compiler: ModelCompiler) -> None:
        self._api = api
        self._store_id = store_id
        self._compiler = compiler
        self._policies: Mapping[str, str] = {}
        self._one_at_a_time = anyio.Lock()

    async def sources(self) -> Mapping[str, str]:
        """Return what the model in force is made of, by id, or OpenFGA's JSON of it if these sources make another one.

        Raises:
            StoreUnavailableError: OpenFGA does not answer.
        """
        latest = await self._api.latest_model(await self._store_id())
        if latest is None:
            return {}
        if self._policies and normal_form(latest.model) == normal_form(await self._compiler.compile(self._policies)):
            return dict(self._policies)
        return {f"{latest.id}.json": msgspec.json.encode(latest.model).decode()}

    async def write(self, changes: Sequence[PolicyChange]) -> str | None:
        """Put the model in force that the policies make after these changes, and return its id.

        Without any policies the last model stays in force, for OpenFGA can't be without one again.

        Raises:
            StoreRejectedError: there is no model in the policies, or it is not good; the old one stays in force.
            StoreUnavailableError: OpenFGA does not answer.
        """
        async with self._one_at_a_time:
            policies = policies_after(self._policies, changes)
            if not policies:
                log.warning("openfga.model_kept", reason="there are no policies any more, and a store has a model")
                self._policies = policies
                return None
            try:
                model = await self._compiler.compile(policies)
            except BadModelError as err:
                raise StoreRejectedError(str(err), path=err.problems[0].id) from err
            store_id = await self._store_id()
            latest = await self._api.latest_model(store_id)
            if latest is not None and normal_form(latest.model) == normal_form(model):
                model_id = latest.id
            else:
                model_id = await self._api.write_model(store_id, model)
                log.info("openfga.model_written", model_id=model_id, files=len(policies))
            self._policies = policies
            return model_id

    async def validate(self, policies: Mapping[str, str]) -> Sequence[PolicyProblem]:
        """Return what is wrong with a set of policies, as far as that can be known before it is written."""
        if not policies:
            return []
        try:
            await self._compiler.compile(policies)
        except BadModelError as err:
            return err.problems
        return []
