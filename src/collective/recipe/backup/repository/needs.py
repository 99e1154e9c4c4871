"""Sorts the chunks of each bundle: needed by a restore point, or not.

A chunk that lies in several bundles is needed in one of them: in one that is trusted rather
than in one under a mark, and in a newer one rather than in an older one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from collective.recipe.backup.repository.chunks import ChunkId
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.orphans import listed_bundles
from collective.recipe.backup.repository.places import ChunkPlace
from collective.recipe.backup.repository.points import Point
from collective.recipe.backup.repository.reaching import Gaps, Reached, reach
from collective.recipe.backup.stores import StoredObject


@dataclass
class Bundles:
    """The bundles of the store, and how much of each is needed."""

    entries: dict[bytes, StoredObject]  # by ID
    needed: dict[bytes, int] = field(default_factory=dict)  # bytes, sealed, by ID
    chunks: int = 0  # that are needed
    gaps: Gaps = field(default_factory=Gaps)  # chunks that could not be reached
    homeless: list[ChunkId] = field(default_factory=list)  # needed, and only where no bundle is

    @property
    def stored(self) -> int:
        """Bytes of all bundles."""
        return sum(entry.size for entry in self.entries.values())

    @property
    def used(self) -> int:
        """Bytes of them that are needed."""
        return sum(self.needed.values())


def needed_bundles(
    repository: Repository,
    points: Iterable[Point],
    reached: Reached,
    worse: frozenset[bytes] = frozenset(),
) -> Bundles:
    """Return what *points* need; *reached* gets all of it, each chunk with the best bundle.

    A place in one of the bundles *worse*, by ID, counts only where there is no other.
    """
    bundles = Bundles(dict(listed_bundles(repository.store)))

    def see(chunk: ChunkId, places: Sequence[ChunkPlace]) -> None:
        there = [place for place in places if place.bundle in bundles.entries]
        bundles.chunks += 1
        if not there:
            bundles.homeless.append(chunk)
            return
        best = max(there, key=lambda place: _rank(bundles, place, worse))
        bundles.needed[best.bundle] = bundles.needed.get(best.bundle, 0) + best.stored
        reached.choose(chunk, best.bundle)

    for point in points:
        gaps = reach(repository, point.roots, reached, see)
        bundles.gaps.missing += gaps.missing
        bundles.gaps.damaged |= gaps.damaged
    return bundles


def _rank(
    bundles: Bundles, place: ChunkPlace, worse: frozenset[bytes]
) -> tuple[bool, object, bytes]:
    stored = bundles.entries[place.bundle].stored
    return place.bundle not in worse, stored, place.bundle


def concerned(
    repository: Repository, points: Iterable[Point], chunks: Iterable[ChunkId]
) -> dict[str, list[ChunkId]]:
    """Return the names of those of *points* that need some of *chunks*, with those.

    A chunk below a node that cannot be read is not found.
    """
    wanted = set(chunks)
    found: dict[str, list[ChunkId]] = {}
    for point in points:
        hit: list[ChunkId] = []

        def see(chunk: ChunkId, _places: Sequence[ChunkPlace], hit: list[ChunkId] = hit) -> None:
            if chunk in wanted:
                hit.append(chunk)

        reached = Reached()
        try:
            gaps = reach(repository, point.roots, reached, see)
        finally:
            reached.close()
        hit += [each for each in gaps.missing if each in wanted]
        if hit:
            found[point.name] = hit
    return found
