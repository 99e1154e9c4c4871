"""A site and its copies, which may have chunks that are lost in a repository.

They are the live site, and its restore points in other destinations of any kind: a State of each is
opened as for a restore.  A record index can be made from any copy of its segment.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cached_property, partial
from typing import BinaryIO

from collective.recipe.backup.blobs.layout import Layout
from collective.recipe.backup.blobs.marker import laid_out, place_of
from collective.recipe.backup.destinations import Destination
from collective.recipe.backup.destinations.repository.chunkorigins import (
    ChunkOrigin,
    ChunkOrigins,
    SiteCopy,
)
from collective.recipe.backup.destinations.repository.fileorigins import PiecesInOrder
from collective.recipe.backup.destinations.repository.logchunks import StoredChunks
from collective.recipe.backup.destinations.repository.newfiles import BlobSource
from collective.recipe.backup.destinations.repository.piecefile import file_of_pieces
from collective.recipe.backup.destinations.repository.repeating import repeated
from collective.recipe.backup.destinations.repository.treefiles import pieces_at
from collective.recipe.backup.errors import BackupError, StoreUnreachable
from collective.recipe.backup.filestorage.log import Log
from collective.recipe.backup.filestorage.segments.pieces import SegmentLog, SegmentPieces
from collective.recipe.backup.filestorage.segments.segment import Segment
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.model import BlobId, Source
from collective.recipe.backup.repository.chunks import ChunkId
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.points import Point
from collective.recipe.backup.repository.reading import ChunkReader
from collective.recipe.backup.repository.standing import standing
from collective.recipe.backup.restorepoints import Choice
from collective.recipe.backup.smallfile import open_regular
from collective.recipe.backup.states import State

OpenCopy = Callable[[], AbstractContextManager[SiteCopy]]
"""Opens a copy of a site.  May raise BackupError or OSError."""

_OWN = "the repository itself"


class SiteCopies:
    """The bytes of a site and its copies; see ``healing.ChunkHolder``.

    The live *sources* are asked first, then the restore points of *destinations*, for lost chunks
    of *repository*.
    """

    def __init__(
        self,
        repository: Repository,
        sources: Sequence[Source],
        destinations: Sequence[Destination],
    ) -> None:
        self._repository = repository
        self._sources = sources
        self._destinations = destinations

    def offers(self, lost: Collection[ChunkId]) -> Iterator[tuple[int, bytes]]:
        """Yield what may be chunks of *lost*; see ``healing.ChunkHolder``."""
        points = standing(self._repository, self._repository.look()).readable
        origins = list(ChunkOrigins(self._repository, points, frozenset(lost)).found())
        before = {point.id: point for point in points}
        for name, opening in self._copies():
            origins = [each for each in origins if each.chunk in lost]
            if not origins:
                return
            try:
                with opening() as copy:
                    for each in origins:
                        yield from self._had(each, before, lost, copy)
            except (BackupError, OSError) as error:
                if name == _OWN:
                    raise
                self._repository.tell(f"{name} could not be asked: {error}")

    def _had(
        self,
        origin: ChunkOrigin,
        before: Mapping[str, Point],
        lost: Collection[ChunkId],
        copy: SiteCopy,
    ) -> Iterator[tuple[int, bytes]]:
        """Yield what *copy* has of the chunk with this origin."""
        try:
            if origin.read is not None:
                yield origin.read(copy)
            elif origin.chunk in lost:
                yield from self._repeated(origin.point, before, lost, copy)
        except StoreUnreachable:  # says nothing of what is there
            raise
        except (LookupError, BackupError, OSError):
            return

    def _repeated(
        self,
        point: Point,
        before: Mapping[str, Point],
        lost: Collection[ChunkId],
        copy: SiteCopy,
    ) -> Iterator[tuple[int, bytes]]:
        site = copy.log_with(None), copy.blob_source(self._repository)
        yield from repeated(
            self._repository, point, before.get(point.predecessor or ""), lost, site
        )

    def _copies(self) -> Iterator[tuple[str, OpenCopy]]:
        """Yield what can be asked, and what it is called."""
        yield _OWN, self._own
        for source in self._sources:
            yield f"the site {source.name}", partial(_live, source)
        for destination in self._destinations:
            name = destination.home.label
            try:
                yield from ((name, each) for each in _restorable_copies(destination))
            except (BackupError, OSError) as error:
                self._repository.tell(f"{name} could not be asked: {error}")

    @contextmanager
    def _own(self) -> Iterator[SiteCopy]:
        yield _Own(self._repository)


class _Own:
    """The repository itself."""

    def __init__(self, repository: Repository) -> None:
        self._pieces = SegmentPieces(StoredChunks(ChunkReader(repository)))

    def log_with(self, segment: Segment | None) -> Log:
        """Return the segment alone."""
        if segment is None:
            raise LookupError("only segments are here")
        return SegmentLog(segment, self._pieces)

    def blob_source(self, repository: Repository) -> BlobSource | None:  # noqa: ARG002  SiteCopy
        """Return None."""
        return None

    def blob(self, blob: BlobId) -> BinaryIO:
        """Raise KeyError: lists of blobs in a copy can be read as they are."""
        raise KeyError(blob)

    def among_blobs(self, path: str) -> BinaryIO:
        """Raise KeyError: lists of other files in a copy can be read as they are."""
        raise KeyError(path)

    def file_piece(self, path: bytes, number: int) -> bytes:  # noqa: ARG002  SiteCopy
        """Raise KeyError: pages of files in a copy can be read as they are."""
        raise KeyError(path)


class _Live:
    """A live site."""

    def __init__(self, source: Source, held: ExitStack) -> None:
        self._filestorage = source.filestorage
        self._root = source.blobstorage
        self._held = held
        self._layout: Layout | None = None
        self._files = PiecesInOrder(pieces_at)

    def log_with(self, segment: Segment | None) -> Log:  # noqa: ARG002  SiteCopy
        """Return the filestorage; see SiteCopy."""
        return self._log

    @cached_property
    def _log(self) -> TransactionLog:
        # with only_blobs there need not be any
        return self._held.enter_context(TransactionLog(self._filestorage))

    def blob_source(self, repository: Repository) -> BlobSource | None:
        """Return the blobstorage; see SiteCopy."""
        return None if self._root is None else BlobSource.at(self._root, repository)

    def blob(self, blob: BlobId) -> BinaryIO:
        """Return the file of *blob*; see SiteCopy."""
        if self._root is None:
            raise KeyError(blob)
        self._layout = self._layout or laid_out(self._root)
        return open_regular(self._root / place_of(self._root, self._layout, blob), follow=False)

    def among_blobs(self, path: str) -> BinaryIO:
        """Return a file that is no blob; see SiteCopy."""
        if self._root is None:
            raise KeyError(path)
        return open_regular(self._root / path, follow=False)

    def file_piece(self, path: bytes, number: int) -> bytes:
        """Return a piece of a further file; see SiteCopy."""
        return self._files.piece(path, number)


@contextmanager
def _live(source: Source) -> Iterator[SiteCopy]:
    """Yield the live site of *source*."""
    with ExitStack() as held:
        yield _Live(source, held)


class _Restorable:
    """A restore point elsewhere."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._files = PiecesInOrder(self._pieces_of)

    def log_with(self, segment: Segment | None) -> Log:  # noqa: ARG002  SiteCopy
        """Return its filestorage; see SiteCopy."""
        log = self._state.log
        if log is None:
            raise LookupError("only blobs are backed up")
        return log

    def blob_source(self, repository: Repository) -> BlobSource | None:  # noqa: ARG002  SiteCopy
        """Return None: the lists of blobs depend on the kind of restore point."""
        return None

    def blob(self, blob: BlobId) -> BinaryIO:
        """Return the file of *blob*; see SiteCopy."""
        if self._state.blobs is None:
            raise KeyError(blob)
        return self._state.blobs.open(blob)

    def among_blobs(self, path: str) -> BinaryIO:
        """Return a file that is no blob; see SiteCopy."""
        blobs = self._state.blobs
        for each in blobs.contents(lambda name: name == path) if blobs is not None else ():
            return file_of_pieces(each.pieces)
        raise KeyError(path)

    def file_piece(self, path: bytes, number: int) -> bytes:
        """Return a piece of a further file; see SiteCopy."""
        return self._files.piece(path, number)

    def _pieces_of(self, path: bytes) -> Iterator[bytes]:
        for file in self._state.files.listed(path) if self._state.files else ():
            yield from self._state.files.data(file) if self._state.files else ()
            return


def _restorable_copies(destination: Destination) -> Iterator[OpenCopy]:
    """Yield openers of the restore points of *destination*, the newest first.

    If the log of one continues that of another, the later one has all transactions of both.
    """
    with destination.opened():
        newest: dict[str, Choice] = {}
        for point in reversed(destination.restore_points()):
            if point.restorable:
                newest.setdefault(point.history, Choice(point=point))
        yield from (partial(_restorable, destination, choice) for choice in newest.values())


@contextmanager
def _restorable(destination: Destination, choice: Choice) -> Iterator[SiteCopy]:
    with destination.open(choice) as state:
        yield _Restorable(state)
