"""Which of OpenFGA's stores is ours: by id, by name, or made on request."""

from __future__ import annotations

import anyio
import structlog

from cabochon.errors import StoreUnavailableError
from cabochon_openfga.api import OpenFgaApi
from cabochon_openfga.settings import OpenFgaStoreSettings

__all__ = ["ChosenStore"]

log = structlog.get_logger()


class ChosenStore:
    """Finds our store, and finds it again when OpenFGA has lost it.

    Args:
        api: asks OpenFGA.
        settings: which store it is.
    """

    def __init__(self, api: OpenFgaApi, settings: OpenFgaStoreSettings) -> None:
        self._api = api
        self._settings = settings
        self._known: str | None = None
        self._one_at_a_time = anyio.Lock()

    async def id(self) -> str:
        """Return its id; asked for only if it is not known.

        Raises:
            StoreUnavailableError: there is no such store, or several; the message says which setting chooses.
        """
        async with self._one_at_a_time:
            if self._known is None:
                self._known = await self._found()
            return self._known

    async def confirmed(self) -> str:
        """Return its id, after asking whether it is still there; another one if it had to be found anew.

        Raises:
            StoreUnavailableError: as `id`.
        """
        async with self._one_at_a_time:
            if self._known is not None and await self._api.store(self._known) is None:
                self._known = None
            if self._known is None:
                self._known = await self._found()
            return self._known

    async def _found(self) -> str:
        wanted = self._settings.store_id
        if wanted is not None:
            if await self._api.store(wanted) is None:
                raise StoreUnavailableError(f"OpenFGA has no store {wanted}; see OPAL_OPENFGA_STORE_ID")
            return wanted
        name = self._settings.store_name
        named = await self._api.stores_named(name)
        if len(named) > 1:
            ids = ", ".join(store.id for store in named)
            raise StoreUnavailableError(
                f"OpenFGA has {len(named)} stores named {name!r}; choose one with OPAL_OPENFGA_STORE_ID: {ids}"
            )
        if named:
            return named[0].id
        if not self._settings.create_store:
            raise StoreUnavailableError(
                f"OpenFGA has no store named {name!r}; make it, or set OPAL_OPENFGA_STORE_CREATE=True"
            )
        made = await self._api.create_store(name)
        log.info("openfga.store_created", store_id=made.id, name=name)
        return made.id
