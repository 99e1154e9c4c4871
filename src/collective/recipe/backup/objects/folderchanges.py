"""Counts objects that were added, changed and removed, by folder; the changes of one object."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.objects.comparison import Comparison, is_below
from collective.recipe.backup.objects.current import Held
from collective.recipe.backup.objects.graph import HELD, Graph
from collective.recipe.backup.objects.graphpaths import GraphPaths
from collective.recipe.backup.objects.statetext import field_texts

ADDED, CHANGED, REMOVED = 0, 1, 2


class FolderChanges(NamedTuple):
    """The numbers of changes at a path and below."""

    path: str  # of the folder
    counts: list[int]  # objects added, changed and removed, in this order
    users: set[bytes]  # who added and changed last what is there, and who removed


@dataclass(frozen=True, kw_only=True)
class Field:
    """A part of the state of an object, as text."""

    name: str  # of the attribute or entry
    before: str | None  # None: it was not there
    after: str | None  # None: it is no longer there


def folders(comparison: Comparison, below: str, depth: int) -> list[FolderChanges]:
    """Return the changes of *below* and of each folder up to *depth* steps below it.

    Objects that only the tools of a site hold are left out.
    """
    found = _Folders(below, depth)
    before, after = comparison.before, comparison.after
    paths_before, paths_after = GraphPaths(before), GraphPaths(after)
    for number in after.held():
        is_new = before.reach(number) != HELD
        if is_new or before.tid(number) != after.tid(number):
            how = ADDED if is_new else CHANGED
            found.add(paths_after.path(number), how, _user(after, number))
    for number in before.held():
        if after.reach(number) != HELD:
            found.add(paths_before.path(number), REMOVED)
    for loss in comparison.losses(below):
        if loss.gone.departure is not None:
            found.tell(loss.gone.path, loss.gone.departure.user)
    return [found.by_path[path] for path in sorted(found.by_path)]


class _Folders:
    def __init__(self, below: str, depth: int) -> None:
        self.by_path: dict[str, FolderChanges] = {}
        self._below = below.rstrip("/")
        self._depth = depth

    def add(self, path: str, how: int, user: bytes = b"") -> None:
        for folder in self._of(path):
            folder.counts[how] += 1
            if user:
                folder.users.add(user)

    def tell(self, path: str, user: bytes) -> None:
        for folder in self._of(path):
            folder.users.add(user)

    def _of(self, path: str) -> Iterator[FolderChanges]:
        """Yield the folders that *path* counts for."""
        if not is_below(path, self._below or "/"):
            return
        at = self._below
        steps = path[len(at) :].strip("/").split("/", self._depth)[: self._depth]
        for step in ("", *filter(None, steps)):
            at = f"{at}/{step}" if step else at
            name = at or "/"
            if name not in self.by_path:
                self.by_path[name] = FolderChanges(name, [0, 0, 0], set())
            yield self.by_path[name]


def _user(graph: Graph, number: int) -> bytes:
    held = graph.load(number)
    return b"" if held is None else graph.objects.user(held)


def changed_fields(before: Held | None, after: Held | None) -> list[Field]:
    """Return what differs between two states of an object; None: it is not there.

    Raises UnreadableStateError.
    """
    old, new = (field_texts(each.state()) if each else {} for each in (before, after))
    return [
        Field(name=name, before=old.get(name), after=new.get(name))
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]
