"""`cabochon server generate-secret` and `obtain-token`, as the peer's commands of these names."""

from __future__ import annotations

import json
import secrets
from typing import Any

import click
import httpx

from cabochon import CabochonError
from cabochon_opal_server.commands.answers import detail_of

__all__ = ["generate_secret", "obtain_token"]

_UNITS = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86_400}
_TIMEOUT_S = 30.0


@click.command("generate-secret")
@click.option("--size", type=click.IntRange(min=16), default=32, show_default=True, help="Size in bytes.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["urlsafe", "hex"]),
    default="urlsafe",
    show_default=True,
    help="How to write it.",
)
def generate_secret(size: int, form: str) -> None:
    """Print a secret that nobody can guess, for OPAL_AUTH_MASTER_TOKEN or a webhook.

    \b
    Example:
      export OPAL_AUTH_MASTER_TOKEN=$(cabochon server generate-secret)
    """  # noqa: D301 - click's mark for text that is not to be wrapped
    click.echo(secrets.token_hex(size) if form == "hex" else secrets.token_urlsafe(size))


@click.command("obtain-token")
@click.argument("master_token", envvar="OPAL_MASTER_TOKEN")
@click.option("--server-url", default="http://localhost:7002", show_default=True, help="Where the server is.")
@click.option(
    "--type",
    "peer_type",
    type=click.Choice(["client", "datasource", "listener"]),
    default="client",
    show_default=True,
    help="Who the token is for.",
)
@click.option(
    "--ttl",
    type=(click.FloatRange(min=0, min_open=True), click.Choice(list(_UNITS))),
    default=(365, "days"),
    show_default=True,
    help="How long it is good for.",
)
@click.option("--claims", default="{}", help='More claims as JSON, such as \'{"permitted_topics": ["users"]}\'.')
@click.option("--just-the-token/--no-just-the-token", default=True, show_default=True, help="Print nothing else.")
def obtain_token(
    master_token: str, server_url: str, peer_type: str, ttl: tuple[float, str], claims: str, *, just_the_token: bool
) -> None:
    """Get a token of a running server, with its master token (or OPAL_MASTER_TOKEN in the environment).

    \b
    Examples:
      cabochon server obtain-token "$OPAL_AUTH_MASTER_TOKEN"
      cabochon server obtain-token "$OPAL_AUTH_MASTER_TOKEN" --type datasource --ttl 30 days
    """  # noqa: D301 - click's mark for text that is not to be wrapped
    try:
        given: Any = json.loads(claims)
    except ValueError as err:
        raise click.BadParameter(f"is no JSON: {err}", param_hint="--claims") from err
    body = {"type": peer_type, "ttl": ttl[0] * _UNITS[ttl[1]], "claims": given}
    url = f"{server_url.rstrip('/')}/token"
    try:
        answer = httpx.post(url, json=body, headers={"Authorization": f"Bearer {master_token}"}, timeout=_TIMEOUT_S)
    except (httpx.HTTPError, httpx.InvalidURL) as err:
        raise CabochonError(f"no answer of --server-url {server_url}: {str(err) or type(err).__name__}") from err
    if not answer.is_success:
        raise CabochonError(f"--server-url {server_url} answers {answer.status_code}: {detail_of(answer)}")
    made = answer.json()
    click.echo(made["token"] if just_the_token else json.dumps(made, indent=2))
