"""The extension of a transaction, beside user and description, read without running it.

It is a pickle that anybody may have written.  Only plain values are read.
"""

from __future__ import annotations

from typing import Any

from collective.recipe.backup.objects.inert import UnreadableStateError, state_of

_CLASS = b"N."
"""Stands for the first of the two pickles of a record."""
_PLAIN = frozenset({str, bytes, int, float, bool, type(None)})


def extension_of(data: bytes) -> dict[str, Any]:
    """Return the extension of a transaction; nothing if *data* are none."""
    if not data:
        return {}
    try:
        found = state_of(_CLASS + data).value
    except UnreadableStateError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {key: it for key, it in found.items() if type(key) is str and _is_plain(it)}


def _is_plain(value: Any) -> bool:
    if type(value) in (list, tuple):
        return all(type(each) in _PLAIN for each in value)
    return type(value) in _PLAIN
