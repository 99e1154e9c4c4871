"""Restore points that two repositories have, since they were copied from one to the other.

The ids of chunks differ from one repository to another, and so do the bytes of nodes, which
hold them.  But a copy has the shape of what it is a copy of: number n of the roots, or of what
a node names, is the same data here and there.  So two restore points are walked through side by
side, and a node that is lost is made anew of the one there and of the ids that the data below
it have here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.repository.chunks import ChunkId, Node, decoded, encoded, is_node
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.points import Point
from collective.recipe.backup.repository.reading import ChunkReader
from collective.recipe.backup.repository.standing import standing

_Pair = tuple[ChunkId, ChunkId]
"""A chunk here, and the one there."""


class Twins:
    """Restore points that two repositories have; see ``healing.ChunkHolder``.

    *there* is asked for what is lost in *here*.
    """

    def __init__(self, here: Repository, there: Repository) -> None:
        self._here = here
        self._there = there

    def offers(self, lost: Collection[ChunkId]) -> Iterator[tuple[int, bytes]]:
        """Yield what may be chunks of *lost*; see ``healing.ChunkHolder``."""
        walk = _Walk(self._here, self._there, lost)
        theirs = {_key(point): point for point in _points(self._there)}
        for mine in _points(self._here):
            twin = theirs.get(_key(mine))
            if twin is not None and lost:
                yield from walk.offers(zip(mine.roots, twin.roots, strict=False))


def _points(repository: Repository) -> Iterable[Point]:
    repository.index.refresh()
    return standing(repository, repository.look()).readable


def _key(point: Point) -> tuple[str, str, str]:
    return point.site, point.stamp, point.tid


class _Walk:
    """Goes through restore points side by side; each chunk is looked at once."""

    def __init__(self, here: Repository, there: Repository, lost: Collection[ChunkId]) -> None:
        self._here = here
        self._there = there
        self._lost = lost
        self._mine = ChunkReader(here)
        self._theirs = ChunkReader(there)
        self._seen: set[ChunkId] = set()  # nodes here
        self._known: dict[ChunkId, ChunkId] = {}  # ids here of what was made anew, by those there

    def offers(self, roots: Iterable[_Pair]) -> Iterator[tuple[int, bytes]]:
        """Yield kind and bytes of lost chunks among those reached from *roots*."""
        waiting = list(roots)
        while waiting:
            mine, theirs = waiting.pop()
            kind = self._kind(theirs)
            if kind is None or mine in self._seen:
                continue
            try:
                if not is_node(kind):
                    if mine in self._lost:
                        yield kind, self._theirs.get(theirs)
                    continue
                self._seen.add(mine)
                node, refs = self._theirs.node(theirs), self._refs(mine)
                if refs is None:
                    refs = tuple(map(self._id_here, node.refs))
                    yield kind, encoded(node.payload, refs)
            except IntegrityError:
                continue
            if len(refs) == len(node.refs):
                waiting += zip(refs, node.refs, strict=True)

    def _refs(self, mine: ChunkId) -> tuple[ChunkId, ...] | None:
        """Return what a node here names; None: it is lost."""
        if mine in self._lost:
            return None
        try:
            return self._mine.node(mine).refs
        except IntegrityError:
            return None

    def _kind(self, theirs: ChunkId) -> int | None:
        return next((places[0].kind for _id, places in self._there.index.of([theirs])), None)

    def _id_here(self, theirs: ChunkId) -> ChunkId:
        """Return which id a chunk there has here.  Raises IntegrityError if it is lost there."""
        known = self._known.get(theirs)
        if known is None:
            kind, data = self._kind(theirs) or 0, self._theirs.get(theirs)
            if is_node(kind):
                node: Node = decoded(data)
                data = encoded(node.payload, [self._id_here(each) for each in node.refs])
            known = self._known[theirs] = self._here.keyring.chunk_id(kind, data)
        return known
