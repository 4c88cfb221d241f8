"""Runs inside the peer's own environment: parses, writes and describes its wire models, one JSON line for each request.

`{"do": "parse", "model": NAME, "raw": JSON}` answers with what the peer writes after reading `raw`, as its server
publishes it (by alias). `{"do": "describe", "model": NAME}` answers with the model's schema, defaults and which members
may be null. `{"do": "hash", "raw": JSON}` and `{"do": "key", "url": URL, "config": {...}}` answer with what the peer's
client computes for a report and for a callback. An error answers `{"error": MESSAGE}`.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any

MODULES = [
    "opal_common.fetcher.events",
    "opal_common.fetcher.providers.http_fetch_provider",
    "opal_common.schemas.data",
    "opal_common.schemas.policy",
    "opal_common.schemas.store",
]


def find(name: str) -> Any:  # noqa: ANN401 - the peer's classes are known to nobody here
    for module in MODULES:
        model = getattr(importlib.import_module(module), name, None)
        if model is not None:
            return model
    raise LookupError(name)


def parse(request: dict[str, Any]) -> str:
    return find(request["model"]).parse_raw(request["raw"]).json(by_alias=True)


def plain(value: Any) -> Any:  # noqa: ANN401 - a model or an enumeration of the peer's
    return value.dict() if hasattr(value, "dict") else value.value


def describe(request: dict[str, Any]) -> dict[str, Any]:
    model = find(request["model"])
    schema: dict[str, Any] = model.schema(ref_template="{model}")
    models = {request["model"]: model, **{name: find(name) for name in schema.get("definitions", {})}}
    return {
        "schema": schema,
        "nullable": {
            name: [field.alias for field in model.__fields__.values() if field.allow_none]
            for name, model in models.items()
            if hasattr(model, "__fields__")
        },
        "fields": {
            field.alias: {
                "required": bool(field.required),
                "nullable": bool(field.allow_none),
                "default": json.loads(json.dumps(field.get_default(), default=plain)),
            }
            for field in model.__fields__.values()
        },
    }


def data_hash(request: dict[str, Any]) -> str:
    updater: Any = importlib.import_module("opal_client.data.updater").DataUpdater
    return updater.calc_hash(json.loads(request["raw"]))


def callback_key(request: dict[str, Any]) -> str:
    register: Any = importlib.import_module("opal_client.callbacks.register").CallbacksRegister
    config = find("HttpFetcherConfig").parse_obj(request["config"])
    return register.calc_hash(None, request["url"], config)


ANSWERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "parse": parse,
    "describe": describe,
    "hash": data_hash,
    "key": callback_key,
}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # Whatever the peer prints while it is imported is no answer.
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"ok": ANSWERS[request["do"]](request)}
        except Exception as err:  # noqa: BLE001 - told to the test, which knows what it asked for
            answer = {"error": f"{type(err).__name__}: {err}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
