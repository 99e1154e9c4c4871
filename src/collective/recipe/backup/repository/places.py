"""The places of chunks, as the catalogs of the store have them, in the tables of the cache.

A bundle counts as long as a catalog that was learnt, and not forgotten, mentions it.  Errors
of SQLite pass; see ``index``.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Sequence
from sqlite3 import Cursor
from typing import NamedTuple

from collective.recipe.backup.repository.bundles import BundleDirectory
from collective.recipe.backup.repository.cache import Cache
from collective.recipe.backup.repository.chunks import ChunkId

AT_ONCE = 500
"""Chunks in one query; SQLite takes no more than 999 values everywhere."""


_PLACES = (
    "SELECT chunks.id, chunks.crc, bundles.crc, bundles.id, salt, kind, form, offset, stored, size "
    "FROM chunks JOIN bundles ON bundles.number = chunks.bundle WHERE chunks.id IN ({})"
)


class ChunkPlace(NamedTuple):
    """The place of a chunk."""

    bundle: bytes  # the ID of the bundle, 32 bytes
    salt: bytes  # of the bundle
    kind: int  # LEAF or NODE
    form: int  # 0: as it is; 1: a frame of zstd
    offset: int  # in the bundle
    stored: int  # bytes, sealed
    size: int  # bytes of the chunk


class ChunkPlaces:
    """The places of all chunks of one repository."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def catalogs(self) -> set[str]:
        """Return the IDs of the catalogs that were learnt."""
        return {each for (each,) in self._cache.database.execute("SELECT id FROM catalogs")}

    def learn(self, catalog: str, directories: Iterable[BundleDirectory]) -> None:
        """Take up what the catalog with the ID *catalog* says."""
        with self._cache.changing() as cursor:
            cursor.execute("INSERT OR IGNORE INTO catalogs (id) VALUES (?)", (catalog,))
            cursor.execute("SELECT number FROM catalogs WHERE id = ?", (catalog,))
            (number,) = cursor.fetchone()
            for each in directories:
                bundle = _learn_bundle(cursor, each)
                cursor.execute("INSERT OR IGNORE INTO mentions VALUES (?, ?)", (number, bundle))

    def forget(self, catalogs: Collection[str]) -> None:
        """Let go of *catalogs* and of the bundles that no other catalog mentions."""
        with self._cache.changing() as cursor:
            cursor.executemany("DELETE FROM catalogs WHERE id = ?", [(each,) for each in catalogs])
            for statement in (
                "DELETE FROM mentions WHERE catalog NOT IN (SELECT number FROM catalogs)",
                "DELETE FROM bundles WHERE number NOT IN (SELECT bundle FROM mentions)",
                "DELETE FROM chunks WHERE bundle NOT IN (SELECT number FROM bundles)",
            ):
                cursor.execute(statement)

    def bundles(self) -> set[bytes]:
        """Return the IDs of all bundles that count."""
        return {each for (each,) in self._cache.database.execute("SELECT id FROM bundles")}

    def chunks_in(self, bundle: bytes) -> list[ChunkId]:
        """Return the chunks in the bundle with this ID; all rows are read for it."""
        query = (
            "SELECT chunks.id FROM chunks JOIN bundles ON bundles.number = chunks.bundle "
            "WHERE bundles.id = ?"
        )
        return [ChunkId(each) for (each,) in self._cache.database.execute(query, (bundle,))]

    def of(self, chunks: Sequence[ChunkId]) -> dict[ChunkId, list[ChunkPlace]]:
        """Return those of *chunks*, up to AT_ONCE, that have a place, with all their places."""
        found: dict[ChunkId, list[ChunkPlace]] = {}
        query = _PLACES.format(",".join("?" * len(chunks)))
        for chunk, crc, salt_crc, *row in self._cache.database.execute(query, chunks):
            place = ChunkPlace(*row)
            if crc == _crc(chunk, place.bundle, *place[2:]) and salt_crc == _crc(*place[:2]):
                found.setdefault(ChunkId(chunk), []).append(place)
        return found


def _learn_bundle(cursor: Cursor, directory: BundleDirectory) -> int:
    """Take up the chunks of a bundle, if it is new; return its number."""
    row = directory.bundle, directory.salt
    cursor.execute("SELECT number FROM bundles WHERE id = ?", row[:1])
    known = cursor.fetchone()
    if known:
        return int(known[0])
    cursor.execute("INSERT INTO bundles (id, salt, crc) VALUES (?, ?, ?)", (*row, _crc(*row)))
    number = cursor.lastrowid or 0
    cursor.executemany(
        "INSERT OR REPLACE INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (piece.chunk, number, *rest, _crc(piece.chunk, directory.bundle, *rest))
            for piece, offset in directory.placed()
            for rest in [(piece.kind, piece.form, offset, piece.stored, piece.size)]
        ),
    )
    return number


def _crc(*row: object) -> int:
    """Return the check of a row; values of any type, for a damaged row may have them."""
    return zlib.crc32(repr(row).encode("utf-8", "backslashreplace"))
