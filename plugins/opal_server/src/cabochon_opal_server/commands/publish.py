"""`cabochon publish`: publish a data update, and wait until every connected agent has it."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from typing import Any

import click
import httpx

from cabochon import CabochonError
from cabochon_opal_server.commands.answers import detail_of

__all__ = ["publish"]

_TIMEOUT_S = 30.0
_LOOK_EVERY_S = 0.1
_NAMED = 20
_DONE = ("has", "sent", "failed")


@dataclass(frozen=True, slots=True)
class _Server:
    """A server, and how it knows us."""

    url: str
    http: httpx.Client

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            answer = self.http.request(method, f"{self.url}{path}", **more)
        except (httpx.HTTPError, httpx.InvalidURL) as err:
            raise CabochonError(f"no answer of --server-url {self.url}: {str(err) or type(err).__name__}") from err
        if answer.status_code == httpx.codes.UNAUTHORIZED.value:
            raise CabochonError(
                f"--token is not let in by {self.url}: a datasource's token is needed ({detail_of(answer)})"
            )
        return answer


@click.command()
@click.option(
    "--server-url", envvar="OPAL_SERVER_URL", default="http://localhost:7002", show_default=True, help="Where to."
)
@click.option("--token", envvar="OPAL_DATASOURCE_TOKEN", help="A datasource's token, if the server wants one.")
@click.option("--path", "dst_path", default="/", show_default=True, help="Where in the engine's data.")
@click.option("--data", help="The document, as JSON.")
@click.option("--data-file", type=click.File("rb"), help="The document, in a file; - for standard input.")
@click.option("--url", "source", help="Where agents fetch the document themselves.")
@click.option(
    "--method", type=click.Choice(["PUT", "PATCH"]), default="PUT", show_default=True, help="How it is saved."
)
@click.option(
    "--topic", "topics", multiple=True, default=["policy_data"], show_default=True, help="Who gets it; several may be."
)
@click.option("--reason", default="", help="Why, for the log.")
@click.option(
    "--update-file", type=click.File("rb"), help="A whole update as JSON, in place of all that; - for standard input."
)
@click.option("--wait/--no-wait", default=False, help="Wait until every connected agent has it.")
@click.option("--timeout", type=click.FloatRange(min=0), default=30.0, show_default=True, help="Seconds to wait.")
@click.pass_context
def publish(ctx: click.Context, server_url: str, token: str | None, wait: bool, timeout: float, **given: Any) -> None:  # noqa: FBT001 - click's
    """Publish a data update.

    Without --wait it prints the update's id and number. With --wait it shows how many agents have it, and exits with 1
    and their names if one failed, or is late.

    \b
    Examples:
      cabochon publish --path /users/ann --data '{"roles": ["admin"]}' --wait
      cabochon publish --path /users --url https://data.example/users --topic users
      cabochon publish --path /list --method PATCH --data '[{"op": "add", "path": "/-", "value": 1}]'
    """  # noqa: D301 - click's mark for text that is not to be wrapped
    update = _update(**given)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    with httpx.Client(headers=headers, timeout=_TIMEOUT_S) as http:
        server = _Server(server_url.rstrip("/"), http)
        answer = server.ask("POST", "/data/config", json=update)
        if not answer.is_success:
            raise CabochonError(f"{server.url} answers {answer.status_code}: {detail_of(answer)}")
        number = answer.headers.get("x-cabochon-update-number")
        if number is None:
            click.echo("published; this server gives updates no numbers, so nobody can say who has it")
            ctx.exit(1 if wait else 0)
        click.echo(f"published {answer.headers.get('x-cabochon-update-id') or update.get('id', '')} as number {number}")
        if wait and not _awaited(server, number, timeout):
            ctx.exit(1)


def _update(
    *,
    dst_path: str,
    data: str | None,
    data_file: Any,  # noqa: ANN401 - an open file
    source: str | None,
    method: str,
    topics: tuple[str, ...],
    reason: str,
    update_file: Any,  # noqa: ANN401 - an open file
) -> dict[str, Any]:
    if update_file is not None:
        found = _json(update_file.read(), "--update-file")
        if not isinstance(found, dict):
            raise click.BadParameter("should be an object with entries", param_hint="--update-file")
        return found  # pyright: ignore[reportUnknownVariableType] - the server checks it
    if sum(one is not None for one in (data, data_file, source)) != 1:
        raise click.UsageError("give one of --data, --data-file, --url and --update-file")
    entry: dict[str, Any] = {"url": source or "", "dst_path": dst_path, "save_method": method, "topics": list(topics)}
    if data is not None:
        entry["data"] = _json(data, "--data")
    elif data_file is not None:
        entry["data"] = _json(data_file.read(), "--data-file")
    return {"entries": [entry], "reason": reason}


def _json(text: str | bytes, option: str) -> Any:  # noqa: ANN401 - any document
    try:
        return json.loads(text)
    except ValueError as err:
        raise click.BadParameter(f"is no JSON: {err}", param_hint=option) from err


def _awaited(server: _Server, number: str, timeout_s: float) -> bool:
    """Wait, and say who has it; False if one failed or is late."""
    until = time.monotonic() + timeout_s
    with click.progressbar(length=1, label="agents that have it", show_pos=True, file=sys.stderr) as bar:
        while True:
            found = _asked(server, number)
            counts = found["awaited"]
            done = sum(counts[state] for state in _DONE)
            bar.length = max(1, counts["agents"])
            bar.update(done - bar.pos)
            if done == counts["agents"] or time.monotonic() > until:
                break
            time.sleep(_LOOK_EVERY_S)
    click.echo(", ".join(f"{counts[state]} {word}" for state, word in _WORDS.items() if counts[state]) or "no agents")
    for line in found["agents"]:
        click.echo(f"  {line['agent']}: {line['state']}{': ' + line['why'] if line['why'] else ''}", err=True)
    return counts["failed"] == counts["late"] == 0


_WORDS = {"has": "have it", "sent": "were sent it and do not say more", "failed": "failed", "late": "late"}


def _asked(server: _Server, number: str) -> dict[str, Any]:
    query = {"awaited": "true", "state": "failed,late", "limit": str(_NAMED)}
    answer = server.ask("GET", f"/updates/{number}", params=query)
    if not answer.is_success:
        raise CabochonError(f"{server.url} can't say who has it: {answer.status_code} {detail_of(answer)}")
    return answer.json()
