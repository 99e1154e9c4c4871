"""The range of one get: chunks that lie beside each other in a bundle, in the order asked for.

A range is bounded twice: by the bytes that come over the line, and by what becomes of them
in memory.  Zeros of many megabytes are stored in a few bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.repository.chunks import ChunkId
from collective.recipe.backup.repository.index import Index
from collective.recipe.backup.repository.places import ChunkPlace

STORED = 4 << 20
"""Bytes of one get, if that is enough for one chunk."""

PLAIN = 6 << 20
"""Bytes that its chunks take in memory, if that is enough for one."""

EACH = 1 << 10
"""Bytes in memory of what is known of a chunk and of its file, besides its own bytes."""

LOOKED_UP = 64
"""Chunks whose places are looked up at a time; so many more are asked for than are read."""

Wanted = tuple[ChunkId, ChunkPlace]

NOWHERE = ChunkPlace(b"", b"", 0, 0, 0, 0, 0)
"""The place of a chunk that has none: it cannot be read."""


@dataclass(frozen=True)
class ChunkRange:
    """Neighbours in a bundle, read by one get."""

    wanted: tuple[Wanted, ...]  # in the order in which they lie there
    size: int  # bytes of memory that the chunks take

    @property
    def begin(self) -> int:
        """Its first byte in the bundle."""
        return self.wanted[0][1].offset

    @property
    def end(self) -> int:
        """The byte after its last one in the bundle."""
        last = self.wanted[-1][1]
        return last.offset + last.stored


def range_of(group: Sequence[Wanted]) -> ChunkRange:
    """Return the range of some neighbours."""
    return ChunkRange(tuple(group), sum(place.size + EACH for _chunk, place in group))


def ranges_of(chunks: Iterable[ChunkId], index: Index, gap: int) -> Iterator[ChunkRange]:
    """Yield ranges that have *chunks* in their order; see Promises for the *gap*.

    Places are looked up only a little ahead.  Chunks that have none are at NOWHERE.
    """
    rest = iter(chunks)
    group: list[Wanted] = []
    size = 0
    while some := list(islice(rest, LOOKED_UP)):
        places = dict(index.of(set(some)))
        for chunk in some:
            place = places.get(chunk, [NOWHERE])[0]
            taken = place.size + EACH
            if group and not (_follows(group, place, gap) and size + taken <= PLAIN):
                yield ChunkRange(tuple(group), size)
                group, size = [], 0
            group.append((chunk, place))
            size += taken
    if group:
        yield ChunkRange(tuple(group), size)


def _follows(group: Sequence[Wanted], place: ChunkPlace, gap: int) -> bool:
    """Tell whether *place* can be read by the get that reads a *group*."""
    last = group[-1][1]
    between = place.offset - last.offset - last.stored
    size = place.offset + place.stored - group[0][1].offset
    return place.bundle == last.bundle and 0 <= between <= gap and size <= STORED
