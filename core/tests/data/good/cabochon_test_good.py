"""A plugin with nothing wrong: one fetcher, and commands of every fate."""

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import click
from pydantic import Field, SecretStr

from cabochon import CommandType, Fetcher, FetcherType, Settings, hookimpl


class GoodSettings(Settings):
    good_token: SecretStr = Field(
        default=SecretStr(""), validation_alias="OPAL_GOOD_TOKEN", description="Token for the good source."
    )


class GoodFetcher(Fetcher):
    async def fetch(self, url: str, config: Mapping[str, Any]) -> bytes:
        return b"{}"


@asynccontextmanager
async def open_fetcher(_settings: object) -> AsyncGenerator[Fetcher]:
    yield GoodFetcher()


@hookimpl
def cabochon_fetchers() -> Iterable[FetcherType]:
    yield FetcherType(
        name="Good",
        summary="Nothing wrong with it",
        open=open_fetcher,
        schemes=("good",),
        aliases=("GoodProvider",),
        settings=GoodSettings,
    )


def load_greeting() -> click.Command:
    @click.command
    def greet() -> int:
        click.echo("Hello!")
        return 3

    return greet


def load_broken() -> click.Command:
    raise RuntimeError("half of it is missing")


def load_interrupted() -> click.Command:
    @click.command
    def interrupted() -> None:
        raise KeyboardInterrupt

    return interrupted


@hookimpl
def cabochon_commands() -> Iterable[CommandType]:
    return [
        CommandType(name="greet", summary="Say hello", load=load_greeting),
        CommandType(name="broken", summary="Fail to load", load=load_broken),
        CommandType(name="interrupted", summary="Be interrupted", load=load_interrupted),
    ]
