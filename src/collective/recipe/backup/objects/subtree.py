"""The objects that an object holds: all that are reached from it, and not only from elsewhere.

References that lead out of it are cut:

* those by the attributes ``__parent__``, ``aq_parent``, ``aq_base`` and ``_parent``, and weak
  ones;
* those to what it is in, up to the root;
* those to the tools of a site, which know its contents but belong to none: see OUTSIDE.

It is read level by level, each in the order of the log.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from collective.recipe.backup.model import Oid
from collective.recipe.backup.objects.current import Held, Objects, OidNumbers
from collective.recipe.backup.objects.inert import UnreadableStateError
from collective.recipe.backup.objects.references import (
    UPWARD,
    NamedReference,
    leading_down,
    references,
)

OUTSIDE = (
    "OFS.Application.",
    "Products.CMFCore.CatalogTool.",
    "Products.CMFPlone.CatalogTool.",
    "Products.CMFPlone.Portal.",
    "Products.PlonePAS.",
    "Products.PluggableAuthService.",
    "Products.ZCatalog.",
    "five.intid.",
    "five.localsitemanager.",
    "plone.app.intid.",
    "plone.intid.",
    "zope.intid.",
)
"""First words of the names of classes whose objects no part of a site ever holds."""


class Cut(NamedTuple):
    """A reference that leads out of a subtree."""

    holder: Oid  # the object in the subtree that refers
    name: str  # the attribute or the key; "": it has none
    target: Oid  # the object outside


class HeldBy(NamedTuple):
    """An object in a subtree, and which of the requested objects hold it."""

    held: Held  # the object
    owner: int  # its number among them
    is_readable: bool  # whether its state could be read; what it refers to is unknown otherwise


class Subtrees:
    """Walks what some objects hold.  *cuts* and *missing* are filled on the way."""

    def __init__(self, objects: Objects, above: Sequence[Oid] = ()) -> None:
        """Stop at *above*: the containers of the requested objects."""
        self._objects = objects
        self._above = frozenset(above)
        self.cuts: list[Cut] = []
        self.missing: list[Cut] = []

    def walk(self, starts: Sequence[Oid]) -> Iterator[HeldBy]:
        """Yield each object that is held by one of *starts*, these included, once."""
        owners = OidNumbers()
        for number, oid in enumerate(starts, 1):
            owners[oid] = number
        level = list(dict.fromkeys(starts))
        while level:
            following: list[Oid] = []
            for oid in self._objects.in_order(level):
                held = self._objects.load(oid)
                if held is None:
                    continue
                found = _references(held)
                yield HeldBy(held, owners[oid] - 1, found is not None)
                for named in found or ():
                    if self._is_held(oid, named) and not owners[named.reference.oid]:
                        owners[named.reference.oid] = owners[oid]
                        following.append(named.reference.oid)
            level = following

    def counted(self, starts: Sequence[Oid]) -> Iterator[HeldBy]:
        """Yield the same objects as ``walk`` some times as quickly, without any *cuts*.

        Most records are not unpickled: their bytes tell what they refer to.  A reference to a
        class of OUTSIDE is known by the object that it leads to.
        """
        owners = OidNumbers()
        for number, oid in enumerate(starts, 1):
            owners[oid] = number
        level, is_first = list(dict.fromkeys(starts)), True
        while level:
            following: list[Oid] = []
            for oid in self._objects.in_order(level):
                held = self._objects.load(oid)
                if held is None or (held.kind.startswith(OUTSIDE) and not is_first):
                    continue
                owner = owners[oid]
                yield HeldBy(held, owner - 1, is_readable=True)
                for target in _leading_down(held):
                    if not owners[target] and target not in self._above:
                        owners[target] = owner
                        following.append(target)
            level, is_first = following, False

    def _is_held(self, holder: Oid, named: NamedReference) -> bool:
        reference = named.reference
        cut = Cut(holder, named.name, reference.oid)
        if is_outward(named) or reference.oid in self._above:
            self.cuts.append(cut)
            return False
        if reference.oid not in self._objects:
            self.missing.append(cut)
            return False
        return True


def is_outward(named: NamedReference) -> bool:
    """Tell whether a reference always leads out of the object that has it."""
    reference = named.reference
    is_upward = named.name in UPWARD and not named.is_entry
    return is_upward or reference.is_weak or reference.kind.startswith(OUTSIDE)


def _leading_down(held: Held) -> list[Oid]:
    try:
        return leading_down(held.data)
    except UnreadableStateError:
        return []


def _references(held: Held) -> list[NamedReference] | None:
    """Return what *held* refers to, None if its state cannot be read."""
    try:
        return list(references(held.state()))
    except UnreadableStateError:
        return None
