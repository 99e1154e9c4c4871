"""The index of stored chunks and their places: the catalogs of the store, kept in the cache.

Each question is answered from the cache.  If the cache fails, it is begun anew and the catalogs are
read again; the caller does not notice.

Bundles under a mark are *distrusted*: their chunks do not count as stored, and are read there only
if they have no other place. A bundle stays distrusted as long as this object lives, even if the
mark is removed meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import TypeVar

from collective.recipe.backup.errors import BackupError, IntegrityError
from collective.recipe.backup.repository.boxes import damaged, read_box
from collective.recipe.backup.repository.bundles import BundleDirectory
from collective.recipe.backup.repository.cache import Cache
from collective.recipe.backup.repository.catalogs import directories_of
from collective.recipe.backup.repository.chunks import ChunkId
from collective.recipe.backup.repository.keyring import Keyring
from collective.recipe.backup.repository.names import CATALOGS, id_in
from collective.recipe.backup.repository.orphans import read_orphans
from collective.recipe.backup.repository.places import AT_ONCE, ChunkPlace, ChunkPlaces
from collective.recipe.backup.repository.sealing import BrokenSealError, Sort
from collective.recipe.backup.stores import NoSuchObject, Store

T = TypeVar("T")

_ADOPTED = ""
"""In place of the ID of a catalog: of bundles that have none."""

_TRIES = 5
"""Times that a catalog which goes while it is read is looked for again."""


class Index:
    """The chunks of one repository."""

    def __init__(self, store: Store, keyring: Keyring, cache: Cache) -> None:
        self._store = store
        self._keyring = keyring
        self._cache = cache
        self._places = ChunkPlaces(cache)
        self._distrusted: set[bytes] = set()
        self.doubted: set[bytes] = set()  # bundles in which damage was seen; see doubts
        self._generation = -1  # of the cache when the catalogs were last read; -1: never
        self.damaged: list[str] = []  # names of the catalogs that could not be read
        self.adopted: list[BundleDirectory] = []  # in place of damaged catalogs; see adopt

    def refresh(self) -> None:
        """Read the catalogs that are new, and let go of those that are gone; one listing at least.

        Where a catalog is damaged, the bundles that no other mentions are asked themselves;
        ``damaged`` has their names afterwards.
        """
        for _try in range(_TRIES):
            self._generation = self._cache.generation
            self.adopted = []
            if self._refresh_once() and self._generation == self._cache.generation:
                if self.damaged:
                    self.adopted = self.adopt()
                return
        raise BackupError(
            "other runs keep changing the repository",
            where=self._store.location,
            hint="wait until the other run has ended, then run the command again",
        )

    def _refresh_once(self) -> bool:
        """Return whether no catalog went while they were read."""
        listed = {id_in(entry.name): entry.name for entry in self._store.list(CATALOGS)}
        listed.pop(None, None)
        known = self._cache.attempt(self._places.catalogs) or set()
        self.damaged = []
        for catalog in listed.keys() - known:
            try:
                self.learn(catalog or "", self.catalog(listed[catalog]))
            except NoSuchObject:
                return False
            except IntegrityError:
                self.damaged.append(listed[catalog])
        gone = known - listed.keys()
        if gone:
            self._cache.attempt(lambda: self._places.forget(gone))
        return True

    def catalog(self, name: str) -> list[BundleDirectory]:
        """Return what the catalog with this *name* says.

        Raises NoSuchObject and IntegrityError.
        """
        opened = read_box(self._store, self._keyring, Sort.CATALOG, name)
        try:
            return directories_of(opened)
        except BrokenSealError as error:
            raise damaged(str(error), f"{self._store.location}/{name}") from error

    def adopt(self) -> list[BundleDirectory]:
        """Take up the bundles that no catalog mentions, but for those that are distrusted.

        They count until the catalogs are read again. Return them, so that a run that writes can put
        them into a catalog.  Bundles whose directory cannot be read are left out.
        """
        known = self._cache.attempt(self._places.bundles) or set()
        found = list(read_orphans(self._store, self._keyring, known | self._distrusted, []))
        if found:
            self.learn(_ADOPTED, found)
        return found

    def learn(self, catalog: str, directories: Iterable[BundleDirectory]) -> None:
        """Take up a catalog that was just read or written."""
        self._cache.attempt(lambda: self._places.learn(catalog, directories))

    def distrust(self, bundles: Iterable[bytes]) -> None:
        """Count the chunks in *bundles* as not stored from now on."""
        self._distrusted.update(bundles)

    def doubt(self, bundles: Iterable[bytes]) -> None:
        """Take note that damage was seen in *bundles*, by their IDs."""
        self.doubted.update(bundles)

    @property
    def distrusted(self) -> frozenset[bytes]:
        """The IDs of the bundles that are distrusted."""
        return frozenset(self._distrusted)

    def known(self, chunks: Iterable[ChunkId]) -> dict[ChunkId, bytes]:
        """Return those of *chunks* that are stored, each with the ID of a bundle that has it."""
        return {
            chunk: places[0].bundle
            for chunk, places in self.of(chunks)
            if places[0].bundle not in self._distrusted
        }

    def of(self, chunks: Iterable[ChunkId]) -> Iterator[tuple[ChunkId, list[ChunkPlace]]]:
        """Yield those of *chunks* that have a place, with all their places; the best is first.

        The order of the chunks is any.
        """
        rest = iter(chunks)
        while some := list(islice(rest, AT_ONCE)):
            found = self._asked(partial(self._places.of, some)) or {}
            for chunk, places in found.items():
                places.sort(key=lambda place: (place.bundle in self._distrusted, place.bundle))
                yield chunk, places

    def bundles_of(self, chunks: Iterable[ChunkId]) -> set[bytes]:
        """Return the IDs of all bundles that have some of *chunks*, as the catalogs say."""
        return {place.bundle for _chunk, places in self.of(chunks) for place in places}

    def chunks_in(self, bundle: bytes) -> list[ChunkId]:
        """Return the chunks that the catalogs know in the bundle with this ID."""
        return self._asked(lambda: self._places.chunks_in(bundle)) or []

    def bundles(self) -> set[bytes]:
        """Return the IDs of all bundles that are in a catalog."""
        return self._asked(self._places.bundles) or set()

    def _asked(self, function: Callable[[], T]) -> T | None:
        """Return the answer of the cache, once it has followed the catalogs."""
        for _try in range(_TRIES):
            if self._generation != self._cache.generation:
                self.refresh()
            answer = self._cache.attempt(function)
            if self._generation == self._cache.generation:
                return answer
        raise BackupError(
            "the cache of the repository cannot be written on this machine",
            hint="is there room on the disk for temporary files?",
        )
