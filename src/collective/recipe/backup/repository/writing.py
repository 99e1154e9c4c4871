"""Writing a restore point: ticket, bundles, catalog, a look at the marks, the restore point.

The order is what makes it safe to die anywhere.  *At any time a restore point names only what
is durable.*

::

    1. put a ticket, which says that a run is under way
    2. read the listings: marks, then catalogs.  Bundles under a mark count as missing; bundles
       of runs that died are found and used
    3. put new chunks into bundles; each bundle is durable before a catalog mentions it
    4. read the marks again; start over if one names a bundle that this run relies on, or if the
       ticket of this run has ended
    5. put the restore point, and then remove the tickets

Every chunk that a node names must be stored, or queued for a bundle, before the node itself is.
A stored node does not prove that the chunks below it are there: they may be unneeded, and about to
be removed.
So a run names a node only if it added it itself, with all below it, or if the node belongs to a
restore point that is there (``build_on``): what those need stays until the run has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import TypeVar

from collective.recipe.backup import times
from collective.recipe.backup.errors import BackupError, IntegrityError, RequestsSpent
from collective.recipe.backup.repository.bundles import BundleDirectory
from collective.recipe.backup.repository.catalogs import MOST_BYTES, MOST_PIECES, seal_catalog
from collective.recipe.backup.repository.chunks import LARGEST, NODE, ChunkId, encoded, is_node
from collective.recipe.backup.repository.controls import DAMAGED, Control, Mark
from collective.recipe.backup.repository.names import id_in
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.pipeline import Durable, Pipeline, Raw
from collective.recipe.backup.repository.points import Draft, Point, seal_point
from collective.recipe.backup.repository.puts import put
from collective.recipe.backup.repository.reaching import is_whole
from collective.recipe.backup.repository.tickets import LIFETIME, Pass, StartOver
from collective.recipe.backup.stores import NoSuchObject, StoredObject

T = TypeVar("T")

_TRIES = 4
_MOST_ASKED = 256
_MOST_BYTES_ASKED = 1 << 20
"""Chunks, and bytes of them, after which the index is asked which are stored already."""


class UnstoredError(ValueError):
    """A node or a restore point names chunks that are not stored, or may be gone soon."""

    def __init__(self, chunks: Sequence[ChunkId]) -> None:
        super().__init__(f"{len(chunks)} chunks are not stored, or not with what is below them")
        self.chunks = tuple(chunks)


class ChunkWriter:
    """The chunks that one run stores.  All methods are for one thread."""

    def __init__(
        self, repository: Repository, purpose: str, site: str = "", lifetime: timedelta = LIFETIME
    ) -> None:
        self._repository = repository
        self._site = site
        tag = repository.keyring.site_tag(site) if site else ""
        self._pass = Pass(repository, purpose, tag, lifetime)
        self._marks: dict[str, Mark] = {}
        self._relied: set[bytes] = set()  # bundles that this run relies on
        self._pending: set[ChunkId] = set()  # chunks of this run that are in no catalog yet
        self._added: set[ChunkId] = set()  # nodes of this run
        self._bases: set[str] = set()  # names of the restore points that it builds on
        self._asked: dict[ChunkId, Raw] = {}
        self._asked_size = 0
        self._uncataloged: list[BundleDirectory] = []
        self._uncataloged_size = [0, 0]  # bytes of these bundles, and their chunks
        self.added = 0  # bytes of bundles that were stored
        self._look(tag)
        self._pipeline = Pipeline(repository.store, repository.keyring, self._durable)

    def __enter__(self) -> ChunkWriter:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        try:
            if isinstance(error, RequestsSpent):
                self._pipeline.settle_begun()
                if error.allow_end is not None:
                    error.allow_end()
                self._pipeline.tell()
                self._catalog()
        finally:
            self._pipeline.close()
        is_known = isinstance(error, RequestsSpent) and not self._pipeline.is_unsure
        if error is None or is_known:
            self._pass.end()
        # else the ticket says to the next run that there may be bundles without a catalog

    def _look(self, tag: str) -> None:
        """Read the listings; only now, because only now the ticket is there."""
        control = self._repository.look()
        self._listed = {entry.name for entry in control.points}
        self._heed(control)
        self._repository.index.refresh()
        self._uncataloged = list(self._repository.index.adopted)
        if self._may_have_orphans(control, tag):
            self.adopt()

    def adopt(self) -> None:
        """Use the bundles that no catalog mentions, and put them into one."""
        self._uncataloged += self._repository.index.adopt()

    def _heed(self, control: Control) -> list[Mark]:
        """Distrust the bundles under the marks of a listing; return the marks that are new."""
        new = []
        for entry in control.marks:
            if entry.name in self._marks:
                continue
            try:
                mark = self._repository.controls.mark(entry)
            except NoSuchObject:  # gone since, with all that it was about
                continue
            self._marks[entry.name] = mark
            self._repository.index.distrust(mark.bundles)
            new.append(mark)
        return new

    def _may_have_orphans(self, control: Control, tag: str) -> bool:
        """Tell whether a run has died, of this site or of any, that may have left bundles."""
        cache = self._repository.cache
        settled = set((cache.get("settled") or b"").decode("ascii", "replace").split())
        over, may = set(), False
        for entry in control.tickets:
            if entry.name in self._pass.names:
                continue
            try:
                ticket = self._repository.controls.ticket(entry)
            except NoSuchObject:
                continue
            except IntegrityError:  # the run that put it may have died
                may = True
                continue
            is_over = ticket.until <= self._pass.begun
            if is_over:
                over.add(entry.name)
            may = may or (entry.name not in settled and (is_over or ticket.site == tag))
        if over != settled:
            cache.set("settled", " ".join(sorted(over)).encode("ascii"))
        return may

    @property
    def begun(self) -> datetime:
        """Time of the first ticket of this run, by the clock of the store."""
        return self._pass.begun

    @property
    def tickets(self) -> Sequence[str]:
        """The names of the tickets of this run, the first one first."""
        return self._pass.names

    @property
    def must_look_again(self) -> bool:
        """Whether bundles are damaged.

        Then chunks of earlier restore points may be lost. A run should not reuse a node together
        with all that is below it: it should ask ``known`` for each chunk.
        """
        return any(mark.reason == DAMAGED for mark in self._marks.values())

    def build_on(self, point: Point) -> bool:
        """Say that this run names nodes that belong to *point*, without adding them again.

        Return False, and allow it not, if *point* was gone when this run began.
        """
        if point.name not in self._listed:
            return False
        self._bases.add(point.name)
        return True

    def known(self, chunks: Iterable[ChunkId]) -> set[ChunkId]:
        """Return those of *chunks* that need not be stored again; of a node, only itself."""
        wanted = set(chunks)
        mine = {each for each in wanted if each in self._pending or each in self._asked}
        stored = self._repository.index.known(wanted - mine)
        self._relied.update(stored.values())
        return mine | stored.keys()

    def add(self, kind: int, data: bytes) -> ChunkId:
        """Store a leaf of this *kind*, unless it is stored; return its id.

        Raises ValueError for one that is too large.
        """
        return self._add(kind, data)

    def add_node(self, payload: bytes, refs: Sequence[ChunkId], kind: int = NODE) -> ChunkId:
        """Store a node that names the chunks *refs*, unless it is stored; return its id.

        Raises UnstoredError if this run must not name one of those (see above), and ValueError
        if the node is too large.
        """
        self._must_be_stored(refs)
        chunk = self._add(kind, encoded(payload, refs))
        self._added.add(chunk)
        return chunk

    def store_again(self, kind: int, chunk: ChunkId, data: bytes) -> None:
        """Store a chunk into a new bundle, also if it is stored elsewhere."""
        if chunk not in self._pending:
            self._may_go_on()
            self._pending.add(chunk)
            self._pipeline.add(kind, chunk, data)

    def _add(self, kind: int, data: bytes) -> ChunkId:
        if len(data) > LARGEST:
            raise ValueError(f"{len(data)} bytes are too many for a chunk")
        chunk = self._repository.keyring.chunk_id(kind, data)
        if chunk not in self._pending and chunk not in self._asked:
            self._asked[chunk] = kind, chunk, data
            self._asked_size += len(data)
            if len(self._asked) >= _MOST_ASKED or self._asked_size >= _MOST_BYTES_ASKED:
                self._send()
        return chunk

    def _send(self) -> None:
        """Store those of the chunks that were asked for which are not stored yet."""
        self._may_go_on()
        asked, self._asked, self._asked_size = self._asked, {}, 0
        stored = self._repository.index.known(asked)
        self._relied.update(stored.values())
        for chunk, raw in asked.items():
            if chunk not in stored:
                self._pending.add(chunk)
                self._pipeline.add(*raw)

    def _may_go_on(self) -> None:
        """Raise StartOver if this run's time is over, and Interrupted if its thread should end."""
        times.end_if_asked()
        self._pass.check_sometimes()

    def _must_be_stored(self, chunks: Sequence[ChunkId]) -> None:
        """Raise UnstoredError for chunks that this run must not name."""
        rest = {each for each in chunks if each not in self._pending and each not in self._asked}
        named: set[ChunkId] = set()
        distrusted = self._repository.index.distrusted
        for chunk, (place, *_others) in self._repository.index.of(rest):
            vouched = chunk in self._added or self._bases or not is_node(place.kind)
            if vouched and place.bundle not in distrusted:
                named.add(chunk)
                self._relied.add(place.bundle)
        missing = rest - named
        if missing:
            raise UnstoredError(sorted(missing))

    def _durable(self, durable: Durable) -> None:
        """Take note of a bundle that is in the store."""
        self.added += durable.size
        self._uncataloged.append(durable.directory)
        self._uncataloged_size[0] += durable.size
        self._uncataloged_size[1] += len(durable.directory.pieces)
        if self._uncataloged_size[0] >= MOST_BYTES or self._uncataloged_size[1] >= MOST_PIECES:
            self._catalog()
        self._pass.at(durable.stored)

    def _catalog(self) -> None:
        """Put catalogs of the bundles that have none."""
        while self._uncataloged:
            some: list[BundleDirectory] = []
            size = 0
            while len(some) < len(self._uncataloged) and size < MOST_PIECES:
                some.append(self._uncataloged[-1 - len(some)])
                size += len(some[-1].pieces)
            sealed = seal_catalog(self._repository.keyring, some)
            # until it is there these have none: there may be no request left for it
            put(self._repository.store, sealed.name, sealed.data)
            del self._uncataloged[-len(some) :]
            self._repository.index.learn(id_in(sealed.name) or "", some)
            for each in some:
                self._relied.add(each.bundle)
                self._pending.difference_update(piece.chunk for piece in each.pieces)
        self._uncataloged_size = [0, 0]

    def store_all(self) -> None:
        """Make all that was added durable, and known to others."""
        self._send()
        self._pipeline.flush()
        self._catalog()

    def check(self) -> Control:
        """Look at the marks and at the clock of the store again; return the listing.

        Raises StartOver if this run cannot rely any more on what it relied on.
        """
        self._pass.check()
        control = self._repository.look()
        for mark in self._heed(control):
            if mark.bundles & self._relied:
                raise StartOver
        return control

    def finish(self, draft: Draft) -> Point:
        """Make the restore point; return it once it is durable.

        Raises StartOver, and UnstoredError if one of its roots is not stored.
        """
        self._must_be_stored(draft.roots)
        self.store_all()
        before = self._repository.points.newest(self.check(), self._site)
        chain = {
            "counter": before.counter + 1 if before else 1,
            "predecessor": before.id if before else None,
            "ticket": self._pass.id,
            "until": self._pass.until.isoformat(),
        }
        repository = self._repository
        sealed = seal_point(repository.keyring, self._site, draft, chain)
        stored = put(repository.store, sealed.name, sealed.data)
        repository.cache.keep(sealed.name, sealed.data)
        entry = StoredObject(sealed.name, len(sealed.data), stored)
        point = repository.points.point(entry)
        if point.is_late and not is_whole(repository, point):
            raise StartOver
        return point


def write(
    repository: Repository,
    site: str,
    build: Callable[[ChunkWriter], Draft],
    lifetime: timedelta = LIFETIME,
) -> Point:
    """Make a restore point of *site* from the chunks that *build* stores; return it."""
    return storing(repository, site, lambda writer: writer.finish(build(writer)), lifetime)


def storing(
    repository: Repository,
    site: str,
    work: Callable[[ChunkWriter], T],
    lifetime: timedelta = LIFETIME,
) -> T:
    """Return what *work* does with a writer for a restore point of *site*.

    It is called again, with another one, where the run must start over.
    """
    for _try in range(_TRIES):
        try:
            with ChunkWriter(repository, "backup", site, lifetime) as writer:
                return work(writer)
        except StartOver as why:
            repository.tell(
                f"{str(why) or 'the repository changed under this run'}: it starts over"
            )
    raise BackupError(
        "other runs changed the repository again and again during this one",
        where=repository.store.location,
        hint="do runs of collect, or a clock that leaps, get in its way?  Run the command again",
    )
