"""The blobs of a restore point: pages that are shared, and the files of those that are new.

The log names the blobs.  Blobs in the part of the log that an earlier restore point has are in the
pages of that one, and their files are not touched.  After that part, blobs of the pages that the
log still names stay; new ones are read.

A page of which a pack has left more than nine tenths, by bytes, stays as it is, with bits that
say which blobs are left: so a pack costs few bytes.  Otherwise it is written anew, so that the
bytes of the others can go once no restore point needs them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import groupby
from operator import attrgetter

from collective.recipe.backup.blobs.copied import NAMED
from collective.recipe.backup.destinations.repository.blobpages import (
    BLOBS_OF_A_PAGE,
    PIECE,
    BlobFile,
    BlobList,
    BlobPage,
    PagedBlob,
    page_of,
    written_page,
)
from collective.recipe.backup.destinations.repository.earlierblobs import EarlierBlobs
from collective.recipe.backup.destinations.repository.kinds import (
    BLOB_LIST,
    BLOB_PAGE,
)
from collective.recipe.backup.destinations.repository.logchunks import UnusableError
from collective.recipe.backup.destinations.repository.logs import EarlierLog, NewLog
from collective.recipe.backup.destinations.repository.newfiles import (
    BlobSource,
    NewFiles,
    put_node,
)
from collective.recipe.backup.destinations.repository.pointblobs import blob_list, blobs_of
from collective.recipe.backup.destinations.repository.sinks import ChunkSink
from collective.recipe.backup.errors import ConfigurationError, IntegrityError
from collective.recipe.backup.filestorage.blobrecords import blobs
from collective.recipe.backup.filestorage.log import MAGIC_SIZE, Log
from collective.recipe.backup.filestorage.segments import Linked
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.model import BlobId
from collective.recipe.backup.repository.chunks import ChunkId
from collective.recipe.backup.repository.doubts import start_over_if_damaged
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.points import Point
from collective.recipe.backup.repository.reading import ChunkReader
from collective.recipe.backup.repository.writing import ChunkWriter, UnstoredError
from collective.recipe.backup.times import LAST_TID, ZERO_TID, Tid

_LEAST_OF_A_PAGE = BLOBS_OF_A_PAGE // 2
"""A page with at least this number of blobs is not put together with the pages after it."""


@dataclass(frozen=True, kw_only=True)
class NewBlobs:
    """The blobs of a site that were stored by a backup."""

    root: ChunkId  # of the list of them
    size: int  # bytes of all that have a file
    files: int  # how many were read for this restore point
    read: int  # bytes of these
    lost: int  # blobs that the site lacks, or that could not be read
    missing: tuple[BlobId, ...]  # these, but no more than NAMED of them
    reasons: tuple[str, ...]  # why some could not be read
    differ: int  # blobs that the site lacks or has otherwise than an earlier copy that was taken
    differing: tuple[BlobId, ...]  # these, but no more than NAMED of them


def earlier_blobs(
    repository: Repository, points: Sequence[Point], writer: ChunkWriter
) -> EarlierBlobs | None:
    """Return the blobs of *points*, the newest first, to be taken over; None: there is none."""
    if not points:
        return None
    pages_of = partial(_pages_to_build_on, repository, writer)
    return EarlierBlobs(points, pages_of, ChunkReader(repository), writer)


def _pages_to_build_on(
    repository: Repository, writer: ChunkWriter, point: Point
) -> Sequence[BlobPage]:
    """Return the pages of *point*; none if it is gone, or its list cannot be read."""
    if not writer.build_on(point):
        return ()
    try:
        found = blob_list(repository, point)
    except (IntegrityError, ConfigurationError):  # damaged, or of a later release
        return ()
    return found.pages if found else ()


def store_blobs(
    log: TransactionLog,
    new: NewLog,
    earlier: EarlierLog | None,
    source: BlobSource,
    writer: ChunkWriter,
) -> NewBlobs:
    """Store the blobs that *log* names, as far as *earlier*, on which *new* builds, has them not.

    A blob that the site lacks or that cannot be read is named, and tried again by the next
    backup.  Raises IntegrityError if the log is damaged, StartOver if what *earlier* has is
    found to be, and what the repository raises.
    """
    try:
        before = _usable(earlier, source, writer)
        if before is not None:
            return listed_blobs(log, new, before, source, writer)
    except (UnusableError, UnstoredError):
        start_over_if_damaged(source.repository, earlier.point if earlier else None)
        source.repository.tell("what was stored of the blobs is damaged: they are looked at anew")
    if new.kept > MAGIC_SIZE:
        is_odd = log.cut(LAST_TID, stop=new.end.offset).reductions > 0
        new = replace(new, kept=MAGIC_SIZE, kept_tid=ZERO_TID, is_odd=is_odd, blobs=None)
    return listed_blobs(log, new, BlobList(layout=source.layout), source, writer)


def listed_blobs(
    log: Log, new: NewLog, before: BlobList, source: BlobSource, writer: ChunkSink
) -> NewBlobs:
    """Store the blobs of *log*; *before* has those of the part that *new* kept, and others.

    Raises UnusableError if pages of *before* cannot be read.
    """
    kept = ZERO_TID if new.is_odd else new.kept_tid
    return _Storing(source, writer).run(_named(log, new), kept, before)


def store_named(
    found: Iterator[BlobId], before: Point | None, source: BlobSource, writer: ChunkWriter
) -> NewBlobs:
    """Store the blobs that were *found*, in the order of tid and oid, and no others.

    Blobs that *before*, an earlier restore point, has already are not opened.  Raises
    UnusableError if pages of that cannot be read, and UnstoredError.
    """
    usable = None if before is None else _usable_list(before, source, writer)
    earlier = usable or BlobList(layout=source.layout)
    return _Storing(source, writer).run(found, ZERO_TID, earlier)


def _usable(earlier: EarlierLog | None, source: BlobSource, writer: ChunkWriter) -> BlobList | None:
    """Return the list to build on; None: there is none.  Raises UnusableError.

    Another site may have other blobs under equal names: no log tells their content.
    """
    if earlier is None or earlier.oldest is None:
        return None
    return _usable_list(earlier.point, source, writer)


def _usable_list(point: Point, source: BlobSource, writer: ChunkWriter) -> BlobList | None:
    """Return the list of *point*, to build on; None: it has none.  Raises UnusableError."""
    if not writer.build_on(point):
        return None
    try:
        found = blob_list(source.repository, point)
        if found is not None and writer.must_look_again:
            _check(found, source, writer)
    except IntegrityError as error:
        raise UnusableError from error
    return found


def _check(found: BlobList, source: BlobSource, writer: ChunkWriter) -> None:
    """Raise UnusableError if something that *found* needs is not stored any more."""
    reader = ChunkReader(source.repository)
    for page in found.pages:
        needed = {ChunkId(page.name)}
        for each in blobs_of(page, reader):
            if each.file is not None:
                needed.update(map(ChunkId, each.file.chunks))
                if each.size > PIECE:
                    needed.update(*(reader.node(ChunkId(name)).refs for name in each.file.chunks))
        if writer.known(needed) != needed:
            raise UnusableError


class _Named:
    """The blobs that a log names from some place on, in the order of tid and oid."""

    def __init__(self, found: Iterator[BlobId]) -> None:
        self._found = found
        self._next = next(found, None)

    def up_to(self, key: tuple[Tid, bytes]) -> Iterator[BlobId]:
        """Yield those up to *key*, a tid and an oid."""
        while self._next is not None and (self._next.tid, self._next.oid) <= key:
            found, self._next = self._next, next(self._found, None)
            yield found

    def rest(self) -> Iterator[BlobId]:
        """Yield all others."""
        return self.up_to((Tid(b"\xff" * 8), b"\xff" * 8))


def _named(log: Log, new: NewLog) -> Iterator[BlobId]:
    """Yield the blobs of the records that *new* did not keep, in the order of tid and oid.

    Of a log whose tids are not in order, yield all: there are few like that.
    """
    if new.is_odd:
        every = set(blobs(log, MAGIC_SIZE, new.end.offset))
        yield from sorted(every, key=attrgetter("tid", "oid"))
        return
    found = blobs(log, new.kept, new.end.offset) if new.blobs is None else new.blobs
    for _tid, group in groupby(found, key=attrgetter("tid")):
        yield from sorted(set(group))


class _Storing:
    """The steps of ``store_blobs``."""

    def __init__(self, source: BlobSource, writer: ChunkSink) -> None:
        self._source = source
        self._writer = writer
        self._reader = ChunkReader(source.repository)
        self._pages: list[BlobPage] = []
        self._open: list[PagedBlob] = []  # of the page that comes next
        self._files = NewFiles(source, writer)
        self._differ = 0
        self._differing: list[BlobId] = []  # NAMED of these at most

    def run(self, found: Iterator[BlobId], kept: Tid, before: BlobList) -> NewBlobs:
        """Store the blobs that were *found*.

        They come in the order of tid and oid.  Of *before* those up to the tid *kept* stay, and
        of the others those that were found.
        """
        named = _Named(found)
        progress = self._source.repository.progress
        if before.pages:
            self._differ = self._source.changed.further
        with self._files, progress.phase("storing the blobs", 0, "files") as advance:
            self._files.advance = advance
            for page in before.pages:
                if page.last <= kept and not page.lost and page.blobs >= _LEAST_OF_A_PAGE:
                    self._keep_unread(page)
                else:
                    self._take(page, kept, named)
            for stored in self._stored(named.rest()):
                self._add(stored)
            self._end_page()
        return self._sum()

    def _sum(self) -> NewBlobs:
        found = BlobList(layout=self._source.layout, pages=tuple(self._pages))
        root = self._put(BLOB_LIST, found.root())
        return NewBlobs(
            root=root,
            size=found.there_size,
            files=self._files.count,
            read=self._files.size,
            lost=found.lost,
            missing=tuple(self._files.missing),
            reasons=tuple(self._files.reasons),
            differ=self._differ,
            differing=tuple(self._differing),
        )

    def _take(self, page: BlobPage, kept: Tid, named: _Named) -> None:
        """Take over of *page* what belongs to the part that was *kept*, or is still *named*."""
        there = self._blobs_of(page)
        last = there[-1]
        new = set(named.up_to((last.tid, last.oid)))
        # this is done for each blob of a site after a pack
        places = [
            place
            for place, each in enumerate(there)
            if page.belongs(place) and (each.blob in new or each.tid <= kept)
        ]
        blobs = [there[place] for place in places]
        self._look_again(blobs)
        if not new <= {each.blob for each in blobs} or any(each.file is None for each in blobs):
            blobs = self._mixed(blobs, new)
        if blobs == [there[place] for place in places] and blobs:
            chosen = page.chosen(there, places)
            if page.blobs >= _LEAST_OF_A_PAGE and chosen.there_size * 10 >= page.size * 9:
                self._keep(chosen)
                return
        for each in blobs:
            self._add(each)

    def _mixed(self, kept: Sequence[PagedBlob], new: Iterable[BlobId]) -> list[PagedBlob]:
        """Return *kept* and the *new* ones in order; those without a file are tried again."""
        there = {each.blob: each for each in kept}
        found: list[PagedBlob] = []
        for blob in sorted({*there, *new}, key=attrgetter("tid", "oid")):
            each = there.get(blob)
            found += [each] if each and each.file is not None else self._stored([blob])
        return found

    def _stored(self, blobs: Iterable[BlobId]) -> Iterator[PagedBlob]:
        """Store *blobs* that are new, each as the site has it or as it was backed up once."""
        for blob in blobs:
            found = self._files.stored(blob)
            copy = self._copy(found)
            if copy is not None:
                self._name(blob)
                self._forget(blob)
                found = found._replace(file=copy)
            elif found.file is None and not self._source.is_named and self._files.is_gone(blob):
                # it has gone since the walk, and no log says that it should be here
                self._forget(blob)
                continue
            yield found

    def _copy(self, found: PagedBlob) -> BlobFile | None:
        """Return the file to take over in place of *found*, if any."""
        copies = self._source.copies
        copy = copies.file(found.blob) if copies is not None else None
        if copies is None or copy is None:
            return None
        is_same = found.file is not None and found.file.digest == copy.digest
        return copy if not is_same and copies.is_stored(copy) else None

    def _name(self, blob: BlobId) -> None:
        """Name a blob of which an earlier copy is kept, and not what the site has."""
        self._differ += 1
        if len(self._differing) < NAMED:
            self._differing.append(blob)

    def _look_again(self, blobs: Sequence[PagedBlob]) -> None:
        """Name those of *blobs*, which are kept, that still are not in the site as they were."""
        source = self._source
        for blob in source.changed.still(blobs, source.root, source.layout):
            self._name(blob)

    def _forget(self, blob: BlobId) -> None:
        """Let a blob that is not lost after all be named no more."""
        with suppress(ValueError):
            self._files.missing.remove(blob)

    def _blobs_of(self, page: BlobPage) -> list[PagedBlob]:
        try:
            return blobs_of(page, self._reader)
        except IntegrityError as error:
            raise UnusableError from error

    def _keep_unread(self, page: BlobPage) -> None:
        if self._source.changed.may_be_in(page):
            blobs = self._blobs_of(page)
            self._look_again([each for at, each in enumerate(blobs) if page.belongs(at)])
        self._keep(page)

    def _keep(self, page: BlobPage) -> None:
        self._end_page()
        self._pages.append(page)

    def _add(self, blob: PagedBlob) -> None:
        self._open.append(blob)
        if len(self._open) == BLOBS_OF_A_PAGE:
            self._end_page()

    def _end_page(self) -> None:
        if self._open:
            name = self._put(BLOB_PAGE, written_page(self._open))
            self._pages.append(page_of(name, self._open, self._open))
            self._open = []

    def _put(self, kind: int, linked: Linked) -> ChunkId:
        return put_node(self._writer, kind, linked)
