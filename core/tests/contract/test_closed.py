"""The contract is closed: whoever implements a hook finds every type that it speaks of in the face."""

from __future__ import annotations

import importlib
import inspect
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, cast, get_args, get_type_hints

import click
import pydantic_settings
import pytest

import cabochon
from cabochon import contract, schemas
from cabochon.contract import hookspecs

HOOKS = [getattr(hookspecs, name) for name in hookspecs.__all__ if name.startswith("cabochon_")]
MODULES = [
    importlib.import_module(f"{contract.__name__}.{path.stem}")
    for path in sorted(Path(inspect.getfile(contract)).parent.glob("*.py"))
    if path.stem != "__init__"
]
# What the contract imports for type checkers alone. A name that is in neither the face nor here is not public.
KNOWN = {
    "BaseSettings": pydantic_settings.BaseSettings,
    "click": click,
    **{name: getattr(schemas, name) for name in schemas.__all__},
    **{name: getattr(cabochon, name) for name in cabochon.__all__},
}


def classes_in(annotation: object) -> Iterator[type]:
    """The core's own classes that an annotation is made of."""
    if inspect.isclass(annotation) and annotation.__module__.startswith("cabochon."):
        yield annotation
    parameters = isinstance(annotation, list)  # those of a `Callable` are a list
    for part in cast("list[object]", annotation) if parameters else get_args(annotation):
        yield from classes_in(part)


def annotations_of(one: Any) -> Iterator[tuple[str, object]]:  # noqa: ANN401 - a hook or a class
    """Every annotation that a hook, or a class with its public attributes and methods, shows."""
    for name, annotation in get_type_hints(one, localns=KNOWN).items():
        if not name.startswith("_"):
            yield f"{one.__qualname__}.{name}", annotation
    for name, value in list(vars(one).items()) if inspect.isclass(one) else []:
        function: Any = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if inspect.isfunction(function) and not name.startswith("_"):
            yield from annotations_of(function)


def spoken_of(*starts: object) -> dict[type, str]:
    """All classes that can be reached from these by annotations, with where each was seen first."""
    seen: dict[type, str] = {}
    todo = deque(starts)
    while todo:
        for where, annotation in annotations_of(todo.popleft()):
            for cls in classes_in(annotation):
                if cls not in seen:
                    seen[cls] = where
                    todo.append(cls)
    return seen


def test_every_type_in_a_hooks_signature_is_in_the_face() -> None:
    """
    From a hook by its registration to what is given to its objects: nothing has to be imported from elsewhere.
    """
    public = {*cabochon.__all__, *schemas.__all__}

    assert {} == {cls.__name__: where for cls, where in spoken_of(*HOOKS).items() if cls.__name__ not in public}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_type_in_a_contracts_signature_is_in_the_face(module: ModuleType) -> None:
    """
    The same for all that the contract's modules offer, whether a hook leads there or not.
    """
    public = {*cabochon.__all__, *schemas.__all__}
    offered = [cls for name in module.__all__ if inspect.isclass(cls := getattr(module, name))]

    assert set() == {cls.__name__ for cls in offered} - public
    assert {} == {cls.__name__: where for cls, where in spoken_of(*offered).items() if cls.__name__ not in public}
