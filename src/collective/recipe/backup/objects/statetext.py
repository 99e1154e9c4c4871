"""The state of an object as text, to be read by people and compared.  Pure.

No class is needed: an object of any but the plain types is shown as its class with its arguments
and its state.  Since strangers can store anything, a text ends at LONGEST and nesting at DEEPEST.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from collective.recipe.backup.objects.inert import Inert, ObjectState, OtherDatabase, Reference
from collective.recipe.backup.objects.references import is_tree

LONGEST = 1 << 20
"""Characters of the text of a field."""

DEEPEST = 20
"""Levels of nesting that are shown."""

_ELEMENT = 4096
"""Characters of an element of a set."""

_SETS = {
    f"{module}.{name}" for module in ("builtins", "__builtin__") for name in ("set", "frozenset")
}
"""The callables by which a pickle of ZODB makes a set."""

_DIGITS = 4000
"""Bits of a number that is written: Python refuses to write very large ones."""


def field_texts(state: ObjectState) -> dict[str, str]:
    """Return the parts of *state*: its attributes and its keys, each with its text."""
    fields: dict[str, str] = {}
    for name, value in _fields(state):
        fields.setdefault(name, value_text(value))
    return fields


def value_text(value: Any) -> str:
    """Return *value* as text."""
    return _joined(_parts(value, 0), LONGEST)


def _joined(parts: Iterator[str], longest: int) -> str:
    found, size = [], 0
    for part in parts:
        found.append(part[: longest - size])
        size += len(part)
        if size > longest:
            found.append("...")
            break
    return "".join(found)


def _fields(state: ObjectState) -> Iterator[tuple[str, Any]]:
    if is_tree(state.kind):
        yield "", state.value
        return
    values = state.value if isinstance(state.value, tuple) else (state.value,)
    for each in values:
        if not isinstance(each, dict):
            yield "", each
            continue
        for name, value in each.items():
            if name == "data" and isinstance(value, dict):
                yield from ((f"[{value_text(key)}]", entry) for key, entry in value.items())
            else:
                yield (name if isinstance(name, str) else value_text(name)), value


def _parts(value: Any, depth: int) -> Iterator[str]:
    if not isinstance(value, list | tuple | dict | set | frozenset | Inert) or isinstance(
        value, Reference | OtherDatabase
    ):
        yield _leaf(value)
    elif depth == DEEPEST:
        yield "..."
    elif isinstance(value, Inert):
        yield from _inert(value, depth + 1)
    elif isinstance(value, set | frozenset):
        yield from _set(value, depth + 1)
    else:
        yield from _container(value, depth + 1)


def _leaf(value: Any) -> str:
    if isinstance(value, Reference):
        return f"-> {value.oid.hex()} {value.kind}".rstrip()
    if isinstance(value, OtherDatabase):
        return f"-> the database {value.database}"
    if isinstance(value, int) and value.bit_length() > _DIGITS:
        return f"a number of {value.bit_length()} bits"
    if isinstance(value, type) and issubclass(value, Inert):
        return value.kind
    return repr(value)


def _container(value: Any, depth: int) -> Iterator[str]:
    begin, end = "{}"
    if isinstance(value, list | tuple):
        begin, end = "[]" if isinstance(value, list) else "()"
    yield begin
    if isinstance(value, dict):
        for key, entry in value.items():
            yield from _parts(key, depth)
            yield ": "
            yield from _parts(entry, depth)
            yield ", "
    else:
        for each in value:
            yield from _parts(each, depth)
            yield ", "
    yield end


def _set(elements: Any, depth: int) -> Iterator[str]:
    """Yield a set in an order of ours: it has none that two moments would have in common."""
    if not isinstance(elements, list | tuple | set | frozenset):
        yield from _parts(elements, depth)
        return
    texts = (_joined(_parts(each, depth), _ELEMENT) for each in elements)
    yield from ("{", *(f"{each}, " for each in sorted(texts)), "}")


def _inert(value: Inert, depth: int) -> Iterator[str]:
    if value.kind in _SETS and value.arguments:
        yield from _set(value.arguments[0], depth)
        return
    yield value.kind
    for each in (value.arguments, value.state, value.elements):
        if each:
            yield from _parts(each, depth)
