"""In which order policies go into OPA one by one, so that each of them compiles at its moment.

OPA refuses a module that calls a function which is not there yet; a rule that is not there is merely undefined. What a
module refers to is read off its text, cheaply and without judging the syntax: too many references cost an odd place in
the order, a missed one costs a second try.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Outline", "in_order", "outline", "users_of"]

_Path = tuple[str, ...]

_NAME = r"[^\W\d]\w*"
_IGNORED = re.compile(
    r"""
    (?P<key> \[ \s* " (?P<word> [^\W\d]\w* ) " \s* \] )   # data.lib["f"] is data.lib.f
  | (?P<template> \$ (?: " (?: \\. | [^"\\] )* " | ` [^`]* ` ) )  # has references in it: its text stays
  | " (?: \\. | [^"\\\n] )* "
  | ` [^`]* `
  | \# [^\n]*
    """,
    re.VERBOSE,
)
_PACKAGE = re.compile(rf"^\s*package\s+({_NAME}(?:\.{_NAME})*)", re.MULTILINE)
_IMPORT = re.compile(rf"^\s*import\s+data((?:\.{_NAME})+)(?:\s+as\s+({_NAME}))?", re.MULTILINE)
_REFERENCE = re.compile(rf"(?<![\w.]){_NAME}(?:\.{_NAME})*")
_HEAD = re.compile(rf"^(?:default\s+)?({_NAME}(?:\.{_NAME})*)\s*\(", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Outline:
    """What a module is called and what it mentions.

    Attributes:
        package: its package below `data`, () if it has none that could be read.
        functions: full paths of the functions that it seems to define.
        references: paths below `data` that it mentions, in full or through an import.
        names: full paths of what its other words would be in its own package, most of them nothing.
    """

    package: _Path
    functions: frozenset[_Path]
    references: frozenset[_Path]
    names: frozenset[_Path]


def outline(source: str) -> Outline:
    """Read the outline of a module, of Rego v0 or v1; a text that is none gives an empty or a wrong one."""
    text = _IGNORED.sub(_keep, source.removeprefix("\ufeff"))
    package_match = _PACKAGE.search(text)
    package: _Path = tuple(package_match[1].split(".")) if package_match else ()
    aliases: dict[str, _Path] = {}
    for path_text, alias in _IMPORT.findall(text):
        path = tuple(path_text[1:].split("."))
        aliases[alias or path[-1]] = path
    references: set[_Path] = set()
    names: set[_Path] = set()
    for found in set(_REFERENCE.findall(text)):
        first, *rest = found.split(".")
        if first == "data":
            references.add(tuple(rest))
        elif first in aliases:
            references.add((*aliases[first], *rest))
        else:
            names.add((*package, first, *rest))
    functions = frozenset((*package, *head.split(".")) for head in _HEAD.findall(text))
    return Outline(package, functions, frozenset(references), frozenset(names))


def _keep(match: re.Match[str]) -> str:
    if match["word"]:
        return f".{match['word']}"
    return (match["template"] or " ").strip('$"`') or " "


def _needs(outlines: Mapping[str, Outline]) -> dict[str, list[str]]:
    """For each id the ids of the modules that it refers to: another package, or a function of its own package."""
    by_package: dict[_Path, list[str]] = defaultdict(list)
    by_function: dict[_Path, list[str]] = defaultdict(list)
    for id_, module in outlines.items():
        by_package[module.package].append(id_)
        for function in module.functions:
            by_function[function].append(id_)
    return {id_: list(_needs_of(id_, module, by_package, by_function)) for id_, module in outlines.items()}


def _needs_of(
    id_: str, module: Outline, by_package: Mapping[_Path, list[str]], by_function: Mapping[_Path, list[str]]
) -> Iterator[str]:
    needed: dict[str, None] = {}
    for path in module.references | module.names:
        needed.update(dict.fromkeys(by_function.get(path, ())))
    for path in module.references:
        for length in range(1, len(path)):
            package = path[:length]
            if package != module.package:
                needed.update(dict.fromkeys(by_package.get(package, ())))
    needed.pop(id_, None)
    yield from needed


def in_order(sources: Mapping[str, str]) -> list[str]:
    """Return the ids of `sources`, each after those it refers to, else in the order given.

    Modules that refer to each other in a circle have no right order: the one that comes first stays behind the others
    of its circle.
    """
    needs = _needs({id_: outline(source) for id_, source in sources.items()})
    place = {id_: number for number, id_ in enumerate(sources)}
    placed: dict[str, None] = {}
    entered: set[str] = set()
    for start in sources:
        if start in entered:
            continue
        entered.add(start)
        # An own stack: a chain of modules may be longer than Python's.
        open_: list[tuple[str, Iterator[str]]] = [(start, iter(sorted(needs[start], key=place.__getitem__)))]
        while open_:
            id_, rest = open_[-1]
            following = next((needed for needed in rest if needed not in entered), None)
            if following is None:
                placed[id_] = None
                open_.pop()
            else:
                entered.add(following)
                open_.append((following, iter(sorted(needs[following], key=place.__getitem__))))
    return list(placed)


def users_of(sources: Mapping[str, str], ids: Collection[str]) -> Sequence[str]:
    """Return those of `ids` that are in `sources`, and all that refer to them, also through others: users first."""
    needs = _needs({id_: outline(source) for id_, source in sources.items()})
    users: dict[str, list[str]] = defaultdict(list)
    for id_, needed in needs.items():
        for used in needed:
            users[used].append(id_)
    found = {id_ for id_ in ids if id_ in sources}
    ahead = list(found)
    while ahead:
        for user in users[ahead.pop()]:
            if user not in found:
                found.add(user)
                ahead.append(user)
    return [id_ for id_ in reversed(in_order(sources)) if id_ in found]
