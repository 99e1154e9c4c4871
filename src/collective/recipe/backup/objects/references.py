"""The references of a state, and their names.  Pure.

A *name* is a step of a path.  These have names:

* attributes;
* the entries of a persistent mapping and of a BTree, by their keys;
* what a folder of Plone keeps in ``_tree``, as if it were the folder's own.

The nodes and buckets of a BTree have none: a path goes through them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from collective.recipe.backup.model import Oid
from collective.recipe.backup.objects.inert import (
    Inert,
    ObjectState,
    Reference,
    may_refer,
    state_and_references,
)
from collective.recipe.backup.objects.quickreferences import oids_in

UPWARD = ("__parent__", "aq_parent", "aq_base", "_parent")
"""Attributes that lead to the container of an object."""

_TREES = ("BTree", "TreeSet", "BTreePy", "TreeSetPy")
_BUCKETS = ("Bucket", "Set", "BucketPy", "SetPy")
_KEY_BITS = 64
_FOLDERS = "_tree"
"""The attribute that a folder of Plone keeps its contents in."""


class NamedReference(NamedTuple):
    """A reference, and its name."""

    reference: Reference  # the reference
    name: str = ""  # "": it has none
    is_inner: bool = False  # a path goes through it without a step
    is_entry: bool = False  # a key and no attribute


def references(state: ObjectState) -> Iterator[NamedReference]:
    """Yield what *state* refers to, in the order in which it was written."""
    value = state.value
    if is_tree(state.kind) and isinstance(value, tuple):
        yield from _of_tree(state.kind, value)
        return
    attributes = value if isinstance(value, tuple) else (value,)
    for each in attributes:
        if isinstance(each, dict):
            yield from _of_attributes(each)
        else:
            yield from (NamedReference(found) for found in _within(each))


def leading_down(data: bytes) -> list[Oid]:
    """Return what the *data* of a record refer to, but for what leads out of it, wherever that is.

    That is cheaper than ``references``, and has no names.  Raises UnreadableStateError, but where
    the bytes tell, a flaw elsewhere in them is not looked for.
    """
    if not may_refer(data):
        return []
    quick = oids_in(data)
    if quick is not None:
        return quick
    state, found = state_and_references(data)
    parts = state.value if isinstance(state.value, tuple) else (state.value,)
    upward = {
        id(each)
        for part in parts
        if isinstance(part, dict)
        for name in UPWARD
        if name in part
        for each in _within(part[name])
    }
    return [
        each.oid
        for each in found
        if isinstance(each, Reference) and not each.is_weak and id(each) not in upward
    ]


def is_tree(kind: str) -> bool:
    """Tell whether *kind* is the class of a BTree, or of a part of one."""
    return kind.startswith("BTrees.") and kind.endswith((*_TREES, *_BUCKETS))


def _of_attributes(attributes: dict[Any, Any]) -> Iterator[NamedReference]:
    for name, value in attributes.items():
        if name in ("data", "_container") and isinstance(value, dict):
            for key, entry in value.items():
                yield from (NamedReference(it, _text(key), is_entry=True) for it in _within(entry))
        else:
            is_inner = name == _FOLDERS
            yield from (NamedReference(it, _text(name), is_inner) for it in _within(value))


def _of_tree(kind: str, value: tuple[Any, ...]) -> Iterator[NamedReference]:
    """Yield what a BTree or a bucket refers to; BTrees' ``__getstate__`` says how they look.

    The next bucket is not one of them: the BTree has it as well.
    """
    if not value or not isinstance(value[0], tuple):
        return
    if kind.endswith(_BUCKETS):
        yield from _entries(value[0], is_set=kind.endswith(("Set", "SetPy")))
    elif len(value) == 1:  # of a small one, the only bucket
        bucket = value[0][0] if value[0] else ()
        flat = bucket[0] if isinstance(bucket, tuple) and bucket else ()
        yield from _entries(flat, is_set=kind.endswith(("TreeSet", "TreeSetPy")))
    else:
        for child in value[0][::2]:
            yield from (NamedReference(it, is_inner=True) for it in _within(child))


def _entries(flat: Any, *, is_set: bool) -> Iterator[NamedReference]:
    """Yield the entries of a bucket: its keys, each followed by its value unless *is_set*."""
    if not isinstance(flat, tuple):
        return
    if is_set:
        yield from (NamedReference(it) for it in _within(flat))
        return
    for key, value in zip(flat[::2], flat[1::2], strict=False):
        yield from (NamedReference(it) for it in _within(key))
        yield from (NamedReference(it, _text(key), is_entry=True) for it in _within(value))


def _text(key: Any) -> str:
    if isinstance(key, int):
        # no BTree has larger ones, and Python refuses to write very large ones
        return repr(key) if key.bit_length() <= _KEY_BITS else ""
    return key if isinstance(key, str) else ""


def _within(value: Any) -> Iterator[Reference]:
    """Yield all references in a plain value, however deep; each object of it once."""
    if isinstance(value, Reference):
        yield value
        return
    seen: set[int] = set()
    left = [value]
    while left:
        each = left.pop()
        if isinstance(each, Reference):
            yield each
            continue
        if not isinstance(each, list | tuple | dict | set | frozenset | Inert) or id(each) in seen:
            continue
        seen.add(id(each))
        parts = _parts(each)
        left.extend(reversed(parts))


def _parts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [part for pair in value.items() for part in pair]
    if isinstance(value, Inert):
        return [*value.arguments, value.state, *value.elements]
    return list(value)
