"""The text of the healthcheck policy: a jinja2 template, judged when it is loaded and not when it is needed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

from jinja2 import Environment, StrictUndefined, Template, TemplateSyntaxError, Undefined, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from cabochon.documents import json_values
from cabochon.errors import ConfigurationError

__all__ = ["HealthTemplate"]

_GLOBALS = ("dict", "namespace", "range")
_LOADING = (nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport)


class _Rego(str):
    """Text that stands in the policy as it is."""

    __slots__ = ()


def _rego(value: object) -> object:
    """Write a value as Rego, of which JSON is a part; so no value can become a rule."""
    if isinstance(value, Undefined | _Rego):
        return value
    return _Rego(json_values.encode(value).decode())


def _environment() -> Environment:
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, finalize=_rego, keep_trailing_newline=True, trim_blocks=False
    )
    # The same state must give the same text: nothing random is left in.
    environment.globals = {name: environment.globals[name] for name in _GLOBALS}
    del environment.filters["random"]
    environment.filters.update({"json": _rego, "rego": _rego, "safe": _Rego, "tojson": _rego})
    return environment


class _Rejection(Exception):  # noqa: N818 - never leaves this module
    """Why a template is of no use, and in which line, 0 if unknown."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


class HealthTemplate:
    """A template that was found good: every name in it is known, and it renders for each of the examples.

    Whatever it prints is written as a Rego value; `| safe` prints text as it is.

    Args:
        source: the template's text.
        name: how errors call it: its file.
        constants: variables that never change.
        examples: states to try it with, all with the same keys: these are its other variables.

    Attributes:
        static: it asks for nothing of the state, so that its text is always the same.

    Raises:
        ConfigurationError: `name:line: why`.
    """

    def __init__(
        self, source: str, *, name: str, constants: Mapping[str, object], examples: Iterable[Mapping[str, Any]]
    ) -> None:
        self._name = name
        self._constants = dict(constants)
        examples = list(examples)
        try:
            variables = frozenset[str]().union(*examples)
            _check_dialect(source, variables)
            self._template, asked = _compiled(source, name, variables | constants.keys())
            self.static = asked.isdisjoint(variables)
            texts = [self._try(example) for example in examples]
        except _Rejection as err:
            raise ConfigurationError(f"{name}:{err.line}: {err}" if err.line else f"{name}: {err}") from err
        self._text = texts[0] if self.static else None

    def render(self, state: Mapping[str, Any]) -> str:
        """Return the policy for a state; quick if `static`.

        Raises:
            Exception: whatever the template runs into with this state.
        """
        if self._text is not None:
            return self._text
        return self._template.render(self._constants, **state)

    def _try(self, example: Mapping[str, Any]) -> str:
        try:
            return self._template.render(self._constants, **example)
        except Exception as err:  # a template may raise anything, as any program
            raise _Rejection(_line_of(err, self._name), f"{type(err).__name__}: {err}") from err


def _check_dialect(source: str, variables: Iterable[str]) -> None:
    """Refuse a template for the peer, which fills in `{ready}`: to jinja2 that would be a set of Rego's."""
    pattern = re.compile(r"(?<![{%#])\{(" + "|".join(sorted(variables)) + r")\}(?!\})")
    for number, line in enumerate(source.splitlines(), start=1):
        found = pattern.search(line)
        if found:
            name = found[1]
            raise _Rejection(
                number,
                f"{{{name}}} is how OPAL's template has it; here it is {{{{ {name} }}}}, and Rego's own braces are"
                f" written once, not twice (for a set of Rego's: {{ {name} }})",
            )


def _compiled(source: str, name: str, known: Iterable[str]) -> tuple[Template, set[str]]:
    """Return the template and the names that it asks for."""
    environment = _environment()
    try:
        tree = environment.parse(source, name, name)
        code = environment.compile(source, name, name)
        asked = meta.find_undeclared_variables(tree)
    except TemplateSyntaxError as err:
        raise _Rejection(err.lineno, err.message or "syntax error") from err
    loading = next(tree.find_all(_LOADING), None)
    if loading is not None:
        raise _Rejection(loading.lineno, f"{type(loading).__name__.lower()}: a template can't load another one")
    unknown = asked.difference(known, _GLOBALS)
    for node in tree.find_all(nodes.Name):
        if node.name in unknown:
            raise _Rejection(node.lineno, f"{node.name!r} is undefined; there are {', '.join(sorted(known))}")
    return Template.from_code(environment, cast("Any", code), environment.make_globals(None)), asked


def _line_of(err: BaseException, name: str) -> int:
    line, trace = 0, err.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == name:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
