"""The chunks of restore points: all that are reached from their roots, over nodes.

Only nodes are read, and each of them once, however many restore points share it.  The ids of
chunks that were reached are in a temporary file, so that memory does not grow with them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice

from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.repository.chunks import ChunkId, decoded, is_node
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.orphans import listed_bundles
from collective.recipe.backup.repository.places import AT_ONCE, ChunkPlace
from collective.recipe.backup.repository.points import Point
from collective.recipe.backup.repository.reading import ChunkReader

_NODES_AT_ONCE = 64

See = Callable[[ChunkId, Sequence[ChunkPlace]], None]
"""Called once with each chunk that is reached and has a place, with all its places."""


class Reached:
    """A set of ids, in a temporary file without a name; each may have a bundle."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        for line in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -8000"):
            self._database.execute(f"PRAGMA {line}").fetchall()
        self._database.execute("CREATE TABLE ids (id BLOB PRIMARY KEY, bundle BLOB) WITHOUT ROWID")
        self._database.execute("BEGIN")

    def add(self, chunks: Iterable[ChunkId]) -> list[ChunkId]:
        """Add *chunks*; return those that are new, each once."""
        new = []
        rest = iter(dict.fromkeys(chunks))
        while some := list(islice(rest, AT_ONCE)):
            marks = ",".join("?" * len(some))
            query = f"SELECT id FROM ids WHERE id IN ({marks})"  # noqa: S608  question marks
            there = {each for (each,) in self._database.execute(query, some)}
            fresh = [each for each in some if each not in there]
            self._database.executemany(
                "INSERT INTO ids (id) VALUES (?)", [(each,) for each in fresh]
            )
            new += fresh
        return new

    def choose(self, chunk: ChunkId, bundle: bytes) -> None:
        """Say that *chunk*, which was added, is needed in the bundle with this ID."""
        self._database.execute("UPDATE ids SET bundle = ? WHERE id = ?", (bundle, chunk))

    def chosen_in(self, bundle: bytes) -> list[ChunkId]:
        """Return the chunks that are needed in the bundle with this ID."""
        self._database.execute("CREATE INDEX IF NOT EXISTS of_bundle ON ids (bundle)")
        query = "SELECT id FROM ids WHERE bundle = ?"
        return [ChunkId(each) for (each,) in self._database.execute(query, (bundle,))]

    def close(self) -> None:
        """Let the file go."""
        with suppress(sqlite3.Error):
            self._database.close()


@dataclass
class Gaps:
    """The chunks that could not be reached."""

    missing: list[ChunkId] = field(default_factory=list)  # chunks without a place
    damaged: dict[ChunkId, IntegrityError] = field(default_factory=dict)  # nodes; below unknown

    def __bool__(self) -> bool:
        return bool(self.missing or self.damaged)


def reach(repository: Repository, roots: Iterable[ChunkId], reached: Reached, see: See) -> Gaps:
    """Add to *reached* all that is reached from *roots*; return what could not be.

    Nodes that *reached* has already are not read again.
    """
    gaps = Gaps()
    nodes = _placed(repository, reached.add(roots), gaps, see)
    reader = ChunkReader(repository)
    while nodes:
        some, nodes = nodes[-_NODES_AT_ONCE:], nodes[:-_NODES_AT_ONCE]
        for chunk, data in reader.whichever(some):
            if isinstance(data, IntegrityError):
                gaps.damaged[chunk] = data
                continue
            try:
                refs = decoded(data).refs
            except ValueError as error:
                gaps.damaged[chunk] = IntegrityError(f"a node is damaged: {error}")
                continue
            nodes += _placed(repository, reached.add(refs), gaps, see)
    return gaps


def _placed(
    repository: Repository, chunks: Sequence[ChunkId], gaps: Gaps, see: See
) -> list[ChunkId]:
    """Let *see* see *chunks*; return the nodes among them."""
    nodes = []
    placed = set()
    for chunk, places in repository.index.of(chunks):
        placed.add(chunk)
        see(chunk, places)
        if is_node(places[0].kind):
            nodes.append(chunk)
    gaps.missing += [each for each in chunks if each not in placed]
    return nodes


def is_whole(repository: Repository, point: Point, *, again: bool = False) -> bool:
    """Tell whether all that *point* needs lies in bundles that are there.

    That is asked for a restore point that came to be when its ticket was over.  Once it is
    known to be whole, that is remembered, because what a restore point needs does not go; one
    that was removed meanwhile has to be looked at *again*.
    """
    key = f"whole {point.id}"
    if not again and repository.cache.get(key):
        return True
    repository.index.refresh()
    there = {bundle for bundle, _entry in listed_bundles(repository.store)}
    lacking: list[ChunkId] = []

    def see(chunk: ChunkId, places: Sequence[ChunkPlace]) -> None:
        if not any(place.bundle in there for place in places):
            lacking.append(chunk)

    reached = Reached()
    try:
        gaps = reach(repository, point.roots, reached, see)
    finally:
        reached.close()
    if gaps or lacking:
        return False
    repository.cache.set(key, b"1")
    return True
