"""For each chunk that was copied, its id in the other repository, as the cache remembers it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import islice

from collective.recipe.backup.repository.cache import Cache
from collective.recipe.backup.repository.chunks import ChunkId
from collective.recipe.backup.repository.places import AT_ONCE

_MOST = 5_000
"""Pairs that memory holds, 250 bytes each."""


class CopiedChunks:
    """The pairs for one target, whose repository has the id *target*."""

    def __init__(self, cache: Cache, target: bytes) -> None:
        self._cache = cache
        self._target = target
        self._new: dict[ChunkId, ChunkId] = {}

    def add(self, source: ChunkId, copy: ChunkId) -> None:
        """Note a pair."""
        self._new[source] = copy
        if len(self._new) >= _MOST:
            self.remember()

    def remember(self) -> None:
        """Write the noted ids to the cache."""
        rows = [(self._target, source, copy) for source, copy in self._new.items()]
        self._new = {}

        def write() -> None:
            with self._cache.changing() as cursor:
                cursor.executemany("INSERT OR REPLACE INTO copies VALUES (?, ?, ?)", rows)

        self._cache.attempt(write)

    def known(self, chunks: Iterable[ChunkId]) -> dict[ChunkId, ChunkId]:
        """Return those of *chunks* of the source that have a copy, with it."""
        found: dict[ChunkId, ChunkId] = {}
        rest = iter(chunks)
        while some := list(islice(rest, AT_ONCE)):
            found.update({each: self._new[each] for each in some if each in self._new})
            found.update(self._cache.attempt(partial(self._asked, some)) or {})
        return found

    def _asked(self, chunks: Sequence[ChunkId]) -> dict[ChunkId, ChunkId]:
        marks = ",".join("?" * len(chunks))
        query = f"SELECT source, id FROM copies WHERE target = ? AND source IN ({marks})"  # noqa: S608
        rows = self._cache.database.execute(query, (self._target, *chunks))
        return {ChunkId(source): ChunkId(copy) for source, copy in rows}
