"""From settings to an open store: which parts there are, and who owns whom."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from cabochon.errors import ConfigurationError
from cabochon.kit.http.engine import open_engine_http
from cabochon.kit.http.store_connection import http_url
from cabochon_openfga.api import OpenFgaApi
from cabochon_openfga.chosen_store import ChosenStore
from cabochon_openfga.model.compiler import ModelCompiler
from cabochon_openfga.model.fga import FgaCli
from cabochon_openfga.model.in_force import ModelInForce
from cabochon_openfga.settings import OpenFgaStoreSettings
from cabochon_openfga.store import OpenFgaPolicyStore

__all__ = ["open_openfga_store"]


@asynccontextmanager
async def open_openfga_store(settings: OpenFgaStoreSettings) -> AsyncGenerator[OpenFgaPolicyStore]:
    """Open a store; OpenFGA need not be up yet.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    try:
        url = http_url(settings.policy_store_url, "should be http://host:port or https://host:port")
    except ValueError as err:
        raise ConfigurationError(f"OPAL_POLICY_STORE_URL={settings.policy_store_url!r}: {err}") from err
    more = {"audience": settings.oauth_audience, "scope": settings.oauth_scope}
    hint = " and OpenFGA's --authn-method"
    oauth = {name: value for name, value in more.items() if value}
    async with open_engine_http(settings, "OpenFGA", url, not_let_in=hint, oauth=oauth) as http:
        api = OpenFgaApi(http)
        chosen = ChosenStore(api, settings)
        model = ModelInForce(api, chosen.id, ModelCompiler(FgaCli(settings.cli_path), settings.model))
        store = OpenFgaPolicyStore(api, chosen, model, prune=settings.prune)
        async with store.opened():
            yield store
