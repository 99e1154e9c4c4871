"""A backup of a filestorage: full, or the transactions since the last one.

The order of writes: the data file, a copy of the index, our digests of both, then the ledger
line that makes it a backup.  Whoever dies in between leaves an orphan, which the next run
gives its line, since nothing is missing but that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from collective.recipe.backup.errors import BackupError, IntegrityError
from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage.log import TransactionLog
from collective.recipe.backup.gzipping import DEFAULT_LEVEL
from collective.recipe.backup.progress import Advance, Progress
from collective.recipe.backup.repozo.blocks import describe, known_packed, publish
from collective.recipe.backup.repozo.continuing import obstacle
from collective.recipe.backup.repozo.heal import Healed, heal
from collective.recipe.backup.repozo.ledger import Chain, Part
from collective.recipe.backup.repozo.members import complete
from collective.recipe.backup.repozo.savedindex import index_path, save_index
from collective.recipe.backup.repozo.writing import Settled, write_part
from collective.recipe.backup.times import Tid, free_stamp, from_stamp, stamp

_CLOCK_SET_BACK = timedelta(hours=1)


@dataclass(frozen=True)
class Orders:
    """How to back up.

    *why_full*: why it is to be a full one in any case, "" if that need not be; *level*: of
    compression, None for no gzip; *strict*: compare all that was backed up with the
    filestorage before going on from there; *merged_later*: what is added is not compressed,
    since merging it will (see merge); *before_full*: called before a full one is written, to
    raise BackupError if it must not be.
    """

    why_full: str = ""
    level: int | None = DEFAULT_LEVEL
    strict: bool = False
    merged_later: bool = False
    before_full: Callable[[], None] = lambda: None


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What was backed up, as the newest part of *chain* now is.

    Not *changed*: there was nothing new, and nothing was written.  *packed* is the last tid
    that a pack rewrote, ZERO_TID if there is none, None if nobody knows.  *reason* says why
    it is a full one and what is odd, *healed* what was mended before.  *stored* is the
    number of bytes that it takes.
    """

    stamp: str
    chain: str
    start: int
    end: int
    tid: Tid | None
    packed: Tid | None
    changed: bool
    full: bool
    reason: str
    stored: int
    healed: tuple[str, ...] = ()


def back_up(  # noqa: PLR0913  the last three come from outside, as everywhere
    log: TransactionLog,
    directory: Path,
    orders: Orders,
    *,
    files: Files,
    now: datetime,
    progress: Progress,
) -> Taken:
    """Back up *log* into *directory*, whose lock the caller holds.

    What a run that died left there is mended first.  Raises IntegrityError if the
    filestorage is damaged, BackupError if it or the backup cannot be read or written.
    """
    healed = heal(log, directory, files=files, progress=progress)
    newest = healed.listing.chains[-1] if healed.listing.chains else None
    reason = _why_full(log, newest, orders, healed, progress)
    if newest and not reason and next(log.transactions(newest.end), None) is None:
        return _unchanged(log, newest, healed)
    if reason:
        orders.before_full()
    name, oddity = _next_stamp(healed.listing.newest, now)
    chain = Chain(directory, name, ()) if reason or not newest else newest
    if chain.parts:
        complete(chain, files=files, progress=progress)
    level = None if orders.merged_later and chain.parts else orders.level
    path = directory / _file_name(name, full=not chain.parts, level=level)
    settled = Settled(log, chain.end, known_packed(chain))
    with progress.phase("backing up the filestorage", log.size - chain.end) as advance:
        written = write_part(path, _counted(settled, advance), level, files, log.mode)
    part = Part(path.name, settled.start, settled.at.offset, written.checksum)
    index = None
    if part.full:
        index = save_index(log, index_path(directory, name), part.end, files)
    blocks = describe(part, written, identity=log.identity, at=settled.at, index=index)
    publish(chain, part, blocks, files)
    return Taken(
        stamp=name,
        chain=chain.stamp,
        start=part.start,
        end=part.end,
        tid=settled.at.tid,
        packed=settled.at.packed,
        changed=True,
        full=part.full,
        reason=". ".join(filter(None, [reason, oddity])),
        stored=written.stored,
        healed=healed.sentences,
    )


def _why_full(
    log: TransactionLog, newest: Chain | None, orders: Orders, healed: Healed, progress: Progress
) -> str:
    """Return why a new chain must begin, "" if the newest one can go on."""
    if orders.why_full:
        return orders.why_full
    if newest is None:
        return "there is no backup yet"
    return (
        obstacle(log, newest, strict=orders.strict, progress=progress)
        or healed.fresh
        or _no_boundary(log, newest.end)
    )


def _no_boundary(log: TransactionLog, offset: int) -> str:
    try:
        log.before(offset)
    except IntegrityError as error:
        return error.what
    return ""


def _unchanged(log: TransactionLog, chain: Chain, healed: Healed) -> Taken:
    last = log.before(chain.end)
    return Taken(
        stamp=chain.last.stamp,
        chain=chain.stamp,
        start=chain.last.start,
        end=chain.end,
        tid=last.tid if last else None,
        packed=known_packed(chain),
        changed=False,
        full=chain.last.full,
        reason="",
        stored=chain.path(chain.last).stat().st_size,
        healed=healed.sentences,
    )


def _next_stamp(newest: str, now: datetime) -> tuple[str, str]:
    """Return a stamp that is later than all there are, and what is odd about it or ""."""
    try:
        following = free_stamp(newest, now)
    except OverflowError:
        raise BackupError(
            "no later moment exists to name a backup after",
            where=newest,
            hint="move the files that have this stamp out of the directory of the backups",
        ) from None
    if not newest or from_stamp(newest) - now < _CLOCK_SET_BACK:
        return following, ""
    return following, (
        f"The newest backup has the stamp {newest}, later than the present moment, {stamp(now)}:"
        f" was the clock set back? This one is called {following}, so that it stays the newest"
    )


def _file_name(name: str, *, full: bool, level: int | None) -> str:
    return f"{name}.{'' if full else 'delta'}fs{'' if level is None else 'z'}"


def _counted(blocks: Iterable[bytes], advance: Advance) -> Iterator[bytes]:
    for block in blocks:
        yield block
        advance(len(block))
