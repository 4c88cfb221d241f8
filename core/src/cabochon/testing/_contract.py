"""What every contract kit has in common: promises in words, and no quiet way out of one."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ClassVar, cast

import pytest

__all__ = ["Contract"]


class Contract:
    """Base of the kits: a kit is a subclass with one test for each promise, a plugin's test class subclasses the kit.

    The docstring of a test is the promise. When the test fails, whatever the exception, pytest's report ends with
    "Broken promise: " and that sentence.

    A plugin's test class provides the kit's fixtures and may add tests. It can't drop or replace one of the kit's: a
    promise that is knowingly not kept is overridden with `@pytest.mark.xfail(strict=True, reason="why")`, calls
    `super()`, and so shows up in every run, and fails once the promise is kept after all.

    Async tests and fixtures run under anyio, on each backend that is installed; override the fixture `anyio_backend`
    where a library knows but one of them.
    """

    pytestmark: ClassVar[list[pytest.MarkDecorator]] = [pytest.mark.anyio]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Attach each test's promise to its failures, and refuse what replaces a test of the kit."""
        super().__init_subclass__(**kwargs)
        for name, test in list(vars(cls).items()):
            if name.startswith("test") and inspect.isfunction(test):
                setattr(cls, name, _naming_its_promise(test, _promise_of(cls, name)))
        for name in dir(cls):
            if name.startswith("test") and _replaced(cls, name) and not _known_to_fail(getattr(cls, name)):
                raise TypeError(
                    f"{cls.__qualname__} replaces {name}, a promise of the contract: {_promise_of(cls, name)!r}. Keep"
                    ' the test, or mark its replacement @pytest.mark.xfail(strict=True, reason="why") and call super()'
                )


def _definitions(cls: type, name: str) -> list[Any]:
    """The attributes `name` along the inheritance, nearest first."""
    return [vars(base)[name] for base in cls.__mro__ if name in vars(base)]


def _promise_of(cls: type, name: str) -> str:
    """The first sentence that documents the test, here or in the kit."""
    documented = [doc for test in _definitions(cls, name) if inspect.isfunction(test) and (doc := inspect.getdoc(test))]
    return " ".join(documented[0].split("\n\n")[0].split()) if documented else name.replace("_", " ")


def _replaced(cls: type, name: str) -> bool:
    """Whether a kit defines the test and `cls` would run another one."""
    kits = [base for base in cls.__mro__[1:] if issubclass(base, Contract) and name in vars(base)]
    return bool(kits) and getattr(cls, name) is not vars(kits[-1])[name]


def _known_to_fail(test: object) -> bool:
    """Whether the test is marked as a promise that is not kept, with the reason."""
    marks = cast("list[pytest.Mark]", getattr(test, "pytestmark", []))
    return any(
        mark.name == "xfail" and mark.kwargs.get("strict") is True and bool(mark.kwargs.get("reason")) for mark in marks
    )


@contextmanager
def _named(promise: str) -> Generator[None]:
    """Let whatever is raised inside end with the promise that it breaks."""
    __tracebackhide__ = True
    try:
        yield
    except BaseException as err:
        note = f"Broken promise: {promise}"
        if note not in getattr(err, "__notes__", ()):
            err.add_note(note)
        raise


def _naming_its_promise(test: Callable[..., Any], promise: str) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(test):
        awaited = cast("Callable[..., Awaitable[None]]", test)

        @wraps(test)
        async def named_async(*args: Any, **kwargs: Any) -> None:
            __tracebackhide__ = True
            with _named(promise):
                await awaited(*args, **kwargs)

        return named_async

    @wraps(test)
    def named(*args: Any, **kwargs: Any) -> None:
        __tracebackhide__ = True
        with _named(promise):
            test(*args, **kwargs)

    return named
