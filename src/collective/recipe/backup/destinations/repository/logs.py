"""The filestorage of a restore point: a state of its log, which shares what is stored already.

A backup builds on the log of an earlier restore point: the newest of its site, or else one of
another site whose log begins with the same transaction, as that of a staging copy does.  If parts
of that log are damaged or about to go, the new log is cut from its beginning; segments that are
stored already are not stored again.

A segment is needed as a whole as long as a restore point uses a part of it.  When even the oldest
restore point of a site uses less than half of the segments that it needs, the next backup after a
pack stores those spans anew that use less than half of their segment.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path

from collective.recipe.backup.destinations.repository.logchunks import (
    NewChunks,
    StoredChunks,
    UnusableError,
)
from collective.recipe.backup.destinations.repository.logmemory import FileLook, LogMemory
from collective.recipe.backup.destinations.repository.pointcontents import contents_of
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.filestorage.blobrecords import NamedBlobs
from collective.recipe.backup.filestorage.format import MAGIC_SIZE
from collective.recipe.backup.filestorage.log import Log
from collective.recipe.backup.filestorage.logcut import LogEnd
from collective.recipe.backup.filestorage.segments import (
    Captured,
    Chunks,
    Keys,
    Linked,
    LogState,
    StateLog,
    StateMoment,
    Target,
    capture,
    has_grown,
    read_log_state,
)
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.repository.chunks import ChunkId
from collective.recipe.backup.repository.controls import Control
from collective.recipe.backup.repository.doubts import start_over_if_damaged
from collective.recipe.backup.repository.names import place_of
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.points import Point
from collective.recipe.backup.repository.reading import ChunkReader
from collective.recipe.backup.repository.writing import ChunkWriter, UnstoredError
from collective.recipe.backup.stores import NoSuchObject, StoredObject
from collective.recipe.backup.times import LAST_TID, ZERO_TID, Tid

_ASKED = 1000
"""Chunks of which it is asked at a time whether they are stored."""

_LEAST_SHARE = 0.5
"""The share of their segments that restore points should use."""


@dataclass(frozen=True, kw_only=True)
class EarlierLog:
    """The log of an earlier restore point."""

    point: Point  # that it belongs to
    state: LogState  # its spans
    look: FileLook | None = None  # at the file that it was made of; None: that is not known
    oldest: StoredObject | None = None  # the first of the site; None: *point* is of another one


@dataclass(frozen=True)
class NewLog:
    """The log of a filestorage, stored by a backup."""

    root: ChunkId  # of its state
    state: LogState  # its spans
    end: LogEnd  # of what was stored, in the filestorage
    kept: int  # number of leading bytes that are those of the earlier log, at their old place
    kept_tid: Tid  # the greatest in those; zeros: none
    is_odd: bool  # tids after those are not all later, each than all before; see tids
    blobs: NamedBlobs | None = None  # that are named after those; None: they are to be looked for


def store_log(
    log: TransactionLog, repository: Repository, writer: ChunkWriter, earlier: EarlierLog | None
) -> NewLog:
    """Store what *log* has now, as far as *earlier* has it not.

    Raises IntegrityError if the log is damaged, StartOver if that of *earlier* is found to be,
    and what the repository raises.
    """
    chunks = NewChunks(ChunkReader(repository), writer)
    if earlier is not None and writer.build_on(earlier.point):
        try:
            if _is_whole(earlier.state, chunks, writer):
                return _stored(log, repository, chunks, earlier)
        except (UnusableError, UnstoredError):
            start_over_if_damaged(repository, earlier.point)
        repository.tell("what was stored of the filestorage is damaged: it is stored anew")
    return _stored(log, repository, chunks, None)


def _is_whole(state: LogState, chunks: NewChunks, writer: ChunkWriter) -> bool:
    """Tell whether all that *state* needs is stored, where there is a reason to ask."""
    if not writer.must_look_again:
        return True
    needed = (ChunkId(name) for _kind, name in state.needed(chunks))
    while some := set(islice(needed, _ASKED)):
        if writer.known(some) != some:
            return False
    return True


def _stored(
    log: TransactionLog, repository: Repository, chunks: NewChunks, earlier: EarlierLog | None
) -> NewLog:
    state = earlier.state if earlier else None
    look = earlier.look if earlier else None
    same_file = look is not None and log.identity == (look.device, look.inode)
    grown = state is not None and same_file and has_grown(state, chunks, log, log.size)
    end = log.end(state.size) if state is not None and grown else log.end()
    blobs = NamedBlobs(log, state.size if state is not None and grown else MAGIC_SIZE)
    target = Target(
        chunks=chunks,
        keys=Keys(repository.keyring.master),
        blobs=blobs,
        least_share=0.0 if earlier is None or grown else _least_share(repository, chunks, earlier),
        progress=repository.progress,
    )
    captured = capture(log, end, target, state, grown=grown)
    new = captured_log(log, end, captured, (chunks, state if grown else None))
    return replace(new, blobs=blobs)


def captured_log(
    log: Log, end: LogEnd, captured: Captured, stored: tuple[NewChunks, LogState | None]
) -> NewLog:
    """Return the stored log of *log* up to *end*.

    None for *captured*: the former state belongs to another file, or there is none.
    """
    chunks, grown_from = stored
    root = chunks.put_root(captured.state.root())
    is_odd = end.reductions > 0
    if grown_from is not None:
        kept, kept_tid = grown_from.size, grown_from.last
        # which are counted from there on
        is_odd |= any(each.tid <= kept_tid for each in log.transactions(kept, end.offset))
    else:
        kept = MAGIC_SIZE + captured.kept
        kept_tid = log.cut(LAST_TID, stop=kept).tid or ZERO_TID
    return NewLog(root, captured.state, end, kept, kept_tid, is_odd)


def _least_share(repository: Repository, chunks: Chunks, earlier: EarlierLog) -> float:
    """Return the least share of its segment that a span must use not to be stored anew.

    As long as the oldest restore point uses most of what it needs, all of that stays anyway.
    """
    if earlier.oldest is None:
        return 0.0
    try:
        oldest = log_state(repository, repository.points.point(earlier.oldest))
        is_wasteful = oldest is not None and oldest.use(chunks) < _LEAST_SHARE
    except (IntegrityError, NoSuchObject, UnusableError):
        return 0.0
    return _LEAST_SHARE if is_wasteful else 0.0


def earlier_log(
    repository: Repository, control: Control, site: str, log: TransactionLog
) -> EarlierLog | None:
    """Return the log that a backup of *log*, a filestorage of *site*, builds on, if there is one.

    Damaged restore points are passed over.
    """
    newest = repository.points.newest(control, site)
    candidates = [newest] if newest else _of_other_sites(repository, control)
    first = next(log.transactions(), None)
    for point in candidates:
        with suppress(IntegrityError):
            state = log_state(repository, point)
            if state is not None and (newest or first is None or state.first == first.tid):
                look = LogMemory(repository.cache, site).recall(point.name)
                oldest = repository.points.of_site(control, site)[0] if newest else None
                return EarlierLog(point=point, state=state, look=look, oldest=oldest)
    return None


def _of_other_sites(repository: Repository, control: Control) -> Iterator[Point]:
    """Yield the newest restore point of each site."""
    newest = {}
    for entry in sorted(control.points, key=lambda entry: (entry.stored, entry.name)):
        newest[place_of(entry.name)[1]] = entry
    for entry in newest.values():
        with suppress(IntegrityError, NoSuchObject):
            yield repository.points.point(entry)


def log_state(repository: Repository, point: Point) -> LogState | None:
    """Return the state of the log of *point*; None: it has no log.  Raises IntegrityError."""
    part = contents_of(point).log
    if part is None:
        return None
    node = ChunkReader(repository).node(part.root)
    return read_log_state(Linked(node.refs, node.payload))


def stored_log(repository: Repository, point: Point, until: Tid | None) -> StateLog | None:
    """Return the log of *point* up to the transaction *until*; None: it has no log.

    Raises IntegrityError, and NoRestorePoint if a pack rewrote what was there then.
    """
    part, state = contents_of(point).log, log_state(repository, point)
    if part is None or state is None:
        return None
    name = Path(f"{repository.store.location}/{point.name}")
    moment = StateMoment(state=state, path=name, mode=part.mode, until=until)
    return StateLog(moment, StoredChunks(ChunkReader(repository)))
