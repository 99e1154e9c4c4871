"""From a path to an object, and the names of its children.

A path begins at what the root calls ``Application``, as that of a Zope site does, or else at the
root itself.  An object may also be named by its oid, 16 hex digits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from collective.recipe.backup.errors import UsageError
from collective.recipe.backup.model import Oid
from collective.recipe.backup.objects.current import Held, Objects
from collective.recipe.backup.objects.inert import ObjectState, UnreadableStateError
from collective.recipe.backup.objects.references import UPWARD, NamedReference, references

ROOT = Oid(bytes(8))
APPLICATION = "Application"
_OID = re.compile(r"(?:0x)?([0-9a-fA-F]{16})")


class Location(NamedTuple):
    """An object that a path leads to."""

    path: str  # the path, with slashes
    held: Held  # the object
    above: tuple[Oid, ...]  # what it is in, the root first; inner nodes of BTrees included


class Child(NamedTuple):
    """A reference of an object under a name."""

    name: str  # the next step of a path
    oid: Oid  # of the object with this name
    through: tuple[Oid, ...]  # the BTree and its nodes that lead there
    is_entry: bool  # a key and no attribute


_WHERE_IT_WAS = (
    "was it deleted?  log --path PATH, without --live, names a restore point that has it: give its "
    "stamp as the moment"
)


def is_oid(word: str) -> bool:
    """Tell whether *word* names an object by its oid."""
    return _OID.fullmatch(word) is not None


def place_of(objects: Objects, path: str) -> Location:
    """Return what *path* means.  Raises UsageError that names the step that leads nowhere."""
    named = _OID.fullmatch(path)
    if named:
        held = objects.load(Oid(bytes.fromhex(named[1])))
        if held is None:
            raise UsageError(
                f"there is no object {named[1]} at that moment",
                hint=_WHERE_IT_WAS,
            )
        return Location(named[1], held, ())
    place = _begin(objects)
    for step in filter(None, path.split("/")):
        found = next((it for it in children(objects, place.held) if it.name == step), None)
        held = None if found is None else objects.load(found.oid)
        if found is None or held is None:
            raise UsageError(
                f"there is no {step!r} in {place.path or '/'} at that moment",
                hint=f"objects with a shorter path lists what there is; {_WHERE_IT_WAS}",
            )
        above = (*place.above, place.held.oid, *found.through)
        place = Location(f"{place.path}/{step}", held, above)
    return place


def _begin(objects: Objects) -> Location:
    root = objects.load(ROOT)
    if root is None:
        raise UsageError("the site had no object at all at that moment")
    for child in children(objects, root):
        held = objects.load(child.oid) if child.name == APPLICATION else None
        if held is not None:
            return Location("", held, (ROOT,))
    return Location("", root, ())


def children(objects: Objects, held: Held) -> Iterator[Child]:
    """Yield what *held* has: the entries first, and then the attributes.

    Each name comes once. A state that cannot be read has no children.
    """
    seen: set[str] = set()
    attributes = []
    for child in _children(objects, held):
        if not child.is_entry:
            attributes.append(child)
        elif child.name not in seen:
            seen.add(child.name)
            yield child
    for child in attributes:
        if child.name not in seen and child.name not in UPWARD:
            seen.add(child.name)
            yield child


def steps_from(held: Held) -> dict[Oid, Child]:
    """Return by which name *held* itself leads to each object, unless it leads up.

    A path goes through those without a name: nodes of a BTree, for example.
    """
    found: dict[Oid, Child] = {}
    try:
        state = held.state()
    except UnreadableStateError:
        return found
    ids = _ids(state)
    for named in references(state):
        oid, child = named.reference.oid, _child(named, ids, ())
        if named.reference.is_weak or (child.name in UPWARD and not child.is_entry):
            continue
        if named.is_inner:
            child = child._replace(name="")
        if oid not in found or (child.is_entry and not found[oid].is_entry):
            found[oid] = child
    return found


def _children(objects: Objects, held: Held) -> Iterator[Child]:
    left: list[tuple[Held, tuple[Oid, ...]]] = [(held, ())]
    passed = {held.oid}
    while left:
        node, through = left.pop()
        try:
            state = node.state()
        except UnreadableStateError:
            continue
        ids = _ids(state)
        inner = []
        for named in references(state):
            oid = named.reference.oid
            if named.is_inner and oid not in passed:
                passed.add(oid)
                found = objects.load(oid)
                inner += [(found, (*through, oid))] if found else []
            if named.name:
                yield _child(named, ids, through)
        left.extend(reversed(inner))


def _child(named: NamedReference, ids: frozenset[str], through: tuple[Oid, ...]) -> Child:
    is_entry = named.is_entry or named.name in ids
    return Child(named.name, named.reference.oid, through, is_entry)


def _ids(state: ObjectState) -> frozenset[str]:
    """Return the names of the attributes that are the contents of a folder of Zope."""
    listed = state.value.get("_objects") if isinstance(state.value, dict) else None
    if not isinstance(listed, tuple):
        return frozenset()
    ids = (each.get("id") for each in listed if isinstance(each, dict))
    return frozenset(each for each in ids if isinstance(each, str))
