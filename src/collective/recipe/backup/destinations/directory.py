"""The directory destination: a repozo directory, the blobs beside it, manifests.

    location/            2026-03-01-03-00-00.fsz  .dat  .index  .blocks     the full backup
                         2026-03-02-03-00-00.deltafsz  .blocks              an incremental one
                         2026-03-01-03-00-00.json, 2026-03-02-03-00-00.json the restore points
    blobbackuplocation/  blobstorage.2026-03-01-03-00-00/blobstorage/...    the chain's blobs
                         latest -> blobstorage.2026-03-01-03-00-00

The order of a backup: the filestorage is read first, then the blobs that its records name, and
the pair is checked.  Then the filestorage part gets its name, by which repozo knows it, and
last of all the manifest makes it a restore point.  So whatever a run that died left behind,
neither a restore point nor repozo names it, and the next run takes up what can be used.

Most runs have nothing to add, and are over in a moment.  So a method imports what only it needs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from functools import cache, partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

from collective.recipe.backup import listings
from collective.recipe.backup.chronology import Clock
from collective.recipe.backup.destinations import (
    Depth,
    Outcome,
    Reads,
    damage,
    manifest,
    ownermarks,
)
from collective.recipe.backup.destinations.blobpart import BlobPart, MakeStyle, each_chain
from collective.recipe.backup.destinations.blobstyles import BlobPlace, Trust
from collective.recipe.backup.destinations.directoryhome import home_in
from collective.recipe.backup.destinations.livesource import check_source, rights_in
from collective.recipe.backup.destinations.manifest import Manifest
from collective.recipe.backup.destinations.past import Past, knows_any
from collective.recipe.backup.destinations.points import point_of, restore_points
from collective.recipe.backup.destinations.stopwatch import Stopwatch
from collective.recipe.backup.errors import (
    BackupError,
    IntegrityError,
    Interrupted,
    NoRestorePoint,
    explained,
)
from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage.tids import joined
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.model import (
    DEFAULT_LEVEL,
    Place,
    Problem,
    RestorePoint,
    Source,
)
from collective.recipe.backup.progress import Progress
from collective.recipe.backup.repozo import unfinished
from collective.recipe.backup.repozo.chainbackup import Orders, Pending, Taken, prepare
from collective.recipe.backup.repozo.chains import Chain, read_directory
from collective.recipe.backup.rights import Rights
from collective.recipe.backup.times import LAST_TID, Tid, beginning_of_hour, stamp

if TYPE_CHECKING:
    from collective.recipe.backup.blobs.copied import Copied
    from collective.recipe.backup.blobs.storedblobs import StoredBlobs
    from collective.recipe.backup.destinations.lostpoints import Needs
    from collective.recipe.backup.destinations.program import Repozo
    from collective.recipe.backup.destinations.room import Need
    from collective.recipe.backup.repozo.chainlog import ChainLog
    from collective.recipe.backup.restorepoints import Choice
    from collective.recipe.backup.states import State

logger = logging.getLogger("backup")

_LEFT_BY_OLDER = "nothing can be added to the blobs that an older release left"
"""Why a new chain begins where nothing can be added to the newest restore point."""


@dataclass(frozen=True, kw_only=True)
class DirectorySettings:
    """How to write: gzip *level* (None: do not compress), *strict* comparison of the whole.

    *merged_later*: incremental parts are small and will be merged, which compresses them.

    With *repozo* that program writes and reads the filestorage part.  *blobs* makes the
    style in which blobs are kept; *named* is how the site calls its blobstorage whose backups
    these are (None: as the source does).
    """

    level: int | None = DEFAULT_LEVEL
    strict: bool = False
    merged_later: bool = False
    repozo: Repozo | None = None
    blobs: MakeStyle = each_chain
    named: str | None = None


class Directory:
    """The restore points of one source in a place on a file system."""

    def __init__(
        self,
        source: Source,
        place: Place,
        settings: DirectorySettings,
        *,
        files: Files,
        progress: Progress,
    ) -> None:
        self.source = source
        self.place = place
        self.home = home_in(source, place)
        self.whole_only = settings.repozo is not None  # which knows whole backups only
        self._settings = settings
        self._files = files
        self._progress = progress
        self._blobs = None
        if source.blobstorage is not None and place.blobstorage is not None:
            workshop = BlobPlace(
                source=source.blobstorage,
                directory=place.blobstorage,
                files=files,
                progress=progress,
                named=settings.named,
            )
            self._blobs = BlobPart(workshop, settings.blobs)

    def opened(self) -> AbstractContextManager[None]:
        """Let each directory be read once; see Destination."""
        return listings.kept()

    def prepare(self) -> None:
        """Check the source and make the directories."""
        check_source(self.source)
        with explained("cannot make the backup directory"):
            for directory in (self.place.filestorage, self.place.blobstorage):
                if directory is not None:
                    self._files.make_directories(directory)

    def check_owner(self) -> None:
        """Refuse the directories of another site; see Destination."""
        for _claim in self._claims():
            pass

    def claim(self) -> None:
        """Mark both directories as those of the source; see Destination."""
        for claim in self._claims():
            claim.write(self._files)

    def _claims(self) -> Iterator[ownermarks.Claim]:
        """Yield what the mark in each directory is to say, each as soon as it may say so."""
        claim = ownermarks.claim(self.place.filestorage, self.source, self._is_known)
        yield claim
        if self._blobs is not None and self._blobs.directory.is_dir():
            yield ownermarks.claim_blobs(
                self._blobs.directory,
                self._blobs.storage,
                self.source,
                claim.mark,
                self._has_blobs,
            )

    def _is_known(self) -> bool:
        """Tell whether the filestorage has a transaction that the restore points know."""
        return knows_any(self.source.filestorage, self.restore_points())

    def _has_blobs(self) -> bool:
        """Tell whether a restore point has its blobs in the directory."""
        return any(point.blobs and point.restorable for point in self.restore_points())

    # backup

    def sweep(self) -> Iterator[str]:
        """Finish what runs that died left half done; see Destination."""
        directory, files = self.place.filestorage, self._files
        with explained("cannot remove what a run that died has left", directory):
            yield from unfinished.sweep(directory, files)
            if self._blobs is not None:
                yield from map(unfinished.about_swept, self._blobs.sweep())
            yield from unfinished.finish(directory, files, self._remove_unneeded_blobs)

    def backup(
        self,
        now: datetime,
        *,
        clock: Clock | None = None,
        why_full: str = "",
        accept_changed: bool = False,
    ) -> Outcome:
        """Add a restore point if there is something new; see Destination."""
        clock = clock or Clock(now=now)
        watch = Stopwatch()
        with ExitStack() as stack:
            past = Past(self.source.filestorage, self.place.filestorage, self._as_seen, clock)
            with watch.phase("filestorage"):
                why_full = why_full or past.why_full(self._newest())
                log, pending = self._prepare_filestorage(stack, clock, why_full)
                if self._blobs is not None and not self._blobs.can_complete(log, pending.taken):
                    pending.discard()
                    log, pending = self._prepare_filestorage(stack, clock, _LEFT_BY_OLDER)
            taken = pending.taken
            with _published_if_it_fails(pending):
                known = manifest.read(self.place.filestorage, taken.stamp)
                is_settled = known is not None and not known.lost and not known.differ
                if known is not None and is_settled and self._has_blobs_of(known):
                    written, copied = known, None
                    if self._blobs is not None:
                        self._blobs.sweep()
                else:
                    with watch.phase("blobs"):
                        written, copied = self._complete(
                            log, taken, known, past, accept_changed=accept_changed
                        )
            pending.publish()
            replaced = () if known else self._replaced(log, taken)
        changed = known is None or replace(written, rights=known.rights) != known
        written = replace(written, rights=self._rights())
        if written != known:
            manifest.write(self.place.filestorage, written, self._files)
        point = point_of(written)
        if self._blobs is not None:
            point = replace(point, doubts=(*point.doubts, *self._blobs.doubts()))
        return Outcome(
            point=point,
            changed=changed,
            summary=_summary(taken, copied),
            phases=watch.seconds,
            notes=(
                *taken.healed,
                *replaced,
                *(copied.reasons if copied else ()),
                *_strangely_named(taken, clock),
                *_not_in_order(taken),
                *filter(None, [past.problem]),
            ),
        )

    def room_for_full(self) -> Iterable[Need]:
        """Return the room that a full backup takes; see Destination."""
        from collective.recipe.backup.destinations.room import Need, share_of_gzip

        whole = self.source.filestorage.stat().st_size
        directory = self.place.filestorage
        share = 1.0 if self._settings.level is None else share_of_gzip(directory)
        yield Need(directory, int(whole * share), whole)
        if self._blobs is not None:
            yield from self._blobs.needs()

    def _check_room(self) -> None:
        from collective.recipe.backup.destinations.room import check_room

        with explained("cannot look for room", self.place.filestorage):
            check_room(self.room_for_full())

    def _has_blobs_of(self, known: Manifest) -> bool:
        return self._blobs is None or self._blobs.is_current(known)

    def _prepare_filestorage(
        self, stack: ExitStack, clock: Clock, why_full: str
    ) -> tuple[TransactionLog, Pending]:
        """Return the log, open for as long as *stack*, and what is to be published of it.

        What a program of the user's makes of it is published at once.
        """
        settings, directory = self._settings, self.place.filestorage
        if settings.repozo is not None:
            chains = read_directory(directory).chains
            before = chains[-1].last.stamp if chains else ""
            if why_full or not chains:
                self._check_room()
            denied = self._files.denied_in(directory)
            settings.repozo.back_up(
                self.source.filestorage, directory, full=bool(why_full), denied=denied
            )
            log = stack.enter_context(TransactionLog(self.source.filestorage))
            return log, Pending(settings.repozo.taken(log, directory, before))
        log = stack.enter_context(TransactionLog(self.source.filestorage))
        orders = Orders(
            why_full=why_full,
            level=settings.level,
            strict=settings.strict,
            merged_later=settings.merged_later,
            before_full=self._check_room,
        )
        named = clock.now if clock.leapt_from is None else clock.name_for(log.end().tid)
        pending = prepare(
            log, directory, orders, files=self._files, now=named, progress=self._progress
        )
        return log, pending

    def _complete(
        self,
        log: TransactionLog,
        taken: Taken,
        known: Manifest | None,
        past: Past,
        *,
        accept_changed: bool,
    ) -> tuple[Manifest, Copied | None]:
        """Add the blobs to a filestorage part; return the manifest that names both."""
        before = known or self._before(taken)
        if before is not None and before.tid is not None:
            # a program tells only of what it has added
            taken = replace(taken, tid=max(taken.tid or before.tid, before.tid))
        if before is not None:
            told = past.go_on(log, point_of(before))
        else:
            told = past.begin(log, taken.chain, taken.packed)
        name, copied = None, None
        if self._blobs is not None:
            doubted = damage.doubted(self.home.state, self.restore_points)
            name, copied = self._blobs.back_up(
                log,
                taken,
                before,
                past.clock.name_for(taken.tid),
                trust=Trust(doubted, accept=accept_changed),
            )
        stored = (known.stored if known else taken.stored) + (copied.size if copied else 0)
        written = Manifest(
            stamp=taken.stamp,
            chain=taken.chain,
            end=taken.end,
            tid=taken.tid,
            since=told.since,
            holes=tuple(joined([*told.holes, *taken.holes])),
            stays=told.stays,
            taken=known.taken if known else past.clock.now,
            stored=stored,
            blobs=name,
            missing=copied.missing if copied else (),
            lost=copied.lost if copied else 0,
            blob_bytes=_blob_bytes(before, copied),
            others=_others(known, name, copied),
            **_left(before, name, copied),
            **_differing(before, copied),
        )
        return written, copied

    def _rights(self) -> dict[str, Rights]:
        """Return the rights of what is backed up, which may change while nothing else does."""
        blobs = None if self._blobs is None else self._blobs.source
        return rights_in(self.source.filestorage, blobs)

    def _last_other(self, taken: Taken) -> RestorePoint | None:
        """Return the last restore point of ours before the chain of *taken*."""
        points = self.restore_points()
        earlier = (point for point in points if point.chain < taken.chain and point.tid)
        return max(earlier, key=lambda point: point.age, default=None)

    def _replaced(self, log: TransactionLog, taken: Taken) -> tuple[str, ...]:
        """Say that nothing is left of what was backed up before; a pack leaves some."""
        last, first = self._last_other(taken), next(log.transactions(), None)
        if taken.stamp != taken.chain or last is None or last.tid is None:
            return ()
        if first is not None and first.tid <= last.tid:
            return ()
        return (
            f"the filestorage has no transaction that is as old as the restore point {last.stamp}: "
            "if it was lost, and made anew in its place, restore that one before keep removes it",
        )

    def _before(self, taken: Taken) -> Manifest | None:
        """Return the newest manifest of the chain of *taken*."""
        chains = read_directory(self.place.filestorage).chains
        return self._newest_of(chain for chain in chains if chain.stamp == taken.chain)

    def _newest(self) -> RestorePoint | None:
        """Return the newest restore point of ours, None if there is none."""
        found = self._newest_of(reversed(read_directory(self.place.filestorage).chains))
        return point_of(found) if found else None

    def _newest_of(self, chains: Iterable[Chain]) -> Manifest | None:
        """Return the newest manifest of the first of *chains* that has one."""
        for chain in chains:
            for part in reversed(chain.parts):
                found = manifest.read(self.place.filestorage, part.stamp)
                if found is not None and found.chain == chain.stamp:
                    return found
        return None

    # restore

    def restore_points(self) -> Sequence[RestorePoint]:
        """Return the restore points, oldest first."""
        return damage.marked(self._as_seen(), self.home.state)

    def _as_seen(self) -> list[RestorePoint]:
        """Return the restore points as a quick look shows them."""
        return restore_points(self.place.filestorage, self._blobs)

    def open(self, choice: Choice) -> State:
        """Return the state of *choice*; see Destination."""
        from collective.recipe.backup.states import State

        @cache
        def log() -> ChainLog:
            return self._log(choice)

        @cache
        def until() -> Tid:
            return choice.until or choice.point.tid or _last_tid(log())

        return State(choice, log=log, blobs=partial(self._stored_blobs, choice, until))

    def _log(self, choice: Choice) -> ChainLog:
        from collective.recipe.backup.destinations.program import ProgramLog
        from collective.recipe.backup.repozo.chainlog import ChainLog

        chain = self._chain(choice.point.chain)
        if self._settings.repozo is not None:
            return ProgramLog(chain, choice, self._settings.repozo)
        return ChainLog(chain, choice)

    def _stored_blobs(self, choice: Choice, until: Callable[[], Tid]) -> StoredBlobs | None:
        point = choice.point
        if self._blobs is None or point.blobs is None:
            return None
        is_whole = choice.until in (None, point.tid) and point.tid is not None
        return self._blobs.open(point.blobs, until, point.blob_bytes if is_whole else None)

    def _chain(self, stamp: str) -> Chain:
        for chain in read_directory(self.place.filestorage).chains:
            if chain.stamp == stamp:
                return chain
        raise NoRestorePoint(
            f"the full backup {stamp} is gone",
            where=self.place.filestorage,
            hint="a backup may have removed it just now: look at the list again",
        )

    # housekeeping

    def remove(self, points: Iterable[RestorePoint]) -> None:
        """Remove the chains of which nothing stays; see Destination.

        First what makes them restore points, then the data, then the blobs.
        """
        from collective.recipe.backup.repozo.chainremoval import begin_removal

        journals = []
        with explained("cannot remove old backups", self.place.filestorage):
            there = {chain.stamp: chain for chain in read_directory(self.place.filestorage).chains}
            for stamp, going in _whole_chains(self._as_seen(), points):
                for point in reversed(going):
                    self._files.clear(manifest.path_of(self.place.filestorage, point.stamp))
                self._files.sync_directory(self.place.filestorage)
                # of what is cut off from its data there may be nothing else
                if stamp in there:
                    journals.append(begin_removal(there[stamp], self._files))
            self._remove_unneeded_blobs()
            for journal in journals:
                unfinished.forget(journal, self._files)

    def _remove_unneeded_blobs(self) -> None:
        """Remove blobs that only chains needed which are gone."""
        if self._blobs is None:
            return
        points = self.restore_points()
        oldest = min((point.stamp for point in points), default="")
        for name in self._blobs.remove_unneeded((point.blobs for point in points), oldest):
            logger.debug("removed %s", name)

    def tidy(self, now: datetime) -> Iterator[str]:
        """Merge the incremental parts of each hour that is over at *now*; see Destination.

        The restore point of the last one stays; the moments of the others can be restored as
        before.
        """
        with explained("cannot merge the backups", self.place.filestorage):
            for chain in read_directory(self.place.filestorage).chains[-1:]:
                yield from self._merge(chain, before=stamp(beginning_of_hour(now)))

    def _merge(self, chain: Chain, *, before: str) -> Iterator[str]:
        from collective.recipe.backup.repozo.merge import merge

        small = [part for part in chain.parts if not part.full and part.stamp < before]
        for hour, together in groupby(small, lambda part: part.stamp[: len("YYYY-MM-DD-HH")]):
            parts = list(together)
            if len(parts) > 1 and chain.mendable:
                merge(chain, parts, files=self._files, progress=self._progress)
                for part in parts[:-1]:
                    self._files.clear(manifest.path_of(self.place.filestorage, part.stamp))
                [chain] = [
                    found
                    for found in read_directory(self.place.filestorage).chains
                    if found.stamp == chain.stamp
                ]
                yield f"merged {len(parts)} backups of {hour}"

    def verify(
        self, depth: Depth, *, only: RestorePoint | None = None, reads: Reads | None = None
    ) -> Iterator[Problem]:
        """Yield what is wrong; see Destination."""
        from collective.recipe.backup.destinations.lostpoints import concerning
        from collective.recipe.backup.destinations.verification import Verification

        look = Verification(self.place.filestorage, self._blobs, self._progress)
        return concerning(look.problems(depth, only=only, reads=reads), self._needs)

    def problem_of(self, error: IntegrityError) -> Problem:
        """Return what *error* means; see Destination."""
        from collective.recipe.backup.destinations.lostpoints import problem_of

        return problem_of(error, self._needs())

    def _needs(self) -> Needs:
        """Return what tells which restore points need what."""
        from collective.recipe.backup.destinations.lostpoints import Needs

        with explained("cannot look at the backups", self.place.filestorage):
            chains = read_directory(self.place.filestorage).chains
        return Needs(self._as_seen(), self._blobs.found() if self._blobs else {}, chains)


def _whole_chains(
    there: Iterable[RestorePoint], named: Iterable[RestorePoint]
) -> Iterator[tuple[str, list[RestorePoint]]]:
    """Yield each chain of which all that is *there* is *named*, with that, oldest first."""
    ages = {point.age for point in named}
    for chain, standing in groupby(there, lambda point: point.chain):
        points = list(standing)
        if ages.issuperset(point.age for point in points):
            yield chain, points


def _last_tid(log: ChainLog) -> Tid:
    """Return the last transaction of what an older release made.

    Where its filestorage is damaged all of its blobs count, for one who wants these alone.
    """
    try:
        return log.end().tid or LAST_TID
    except IntegrityError:
        return LAST_TID


@contextmanager
def _published_if_it_fails(pending: Pending) -> Iterator[None]:
    """Keep a filestorage part whose blobs could not be stored: that is told, and better than none.

    A run that is interrupted, or dies, leaves nothing that repozo takes for a backup.
    """
    try:
        yield
    except (Interrupted, KeyboardInterrupt):
        pending.discard()
        raise
    except (BackupError, OSError):
        with suppress(BackupError, OSError):  # the error under way is worth more
            pending.publish()
        raise
    except BaseException:
        pending.discard()
        raise


def _not_in_order(taken: Taken) -> Iterator[str]:
    """Yield a note on transactions that are not later than one before them."""
    if taken.reductions:
        yield (
            f"{taken.reductions:,} transactions of the filestorage have an id that is not later "
            "than one before: ZODB opens it all the same, warns of a time-stamp reduction, and "
            "it is backed up whole"
        )


def _others(known: Manifest | None, name: str | None, copied: Copied | None) -> str:
    """Return by what foreign files in an archive are known again; see Manifest."""
    if known and known.blobs == name and not (copied and copied.others):
        return known.others
    return copied.others if copied else ""


def _left(before: Manifest | None, name: str | None, copied: Copied | None) -> dict[str, Any]:
    """Return what could not be copied besides blobs: what a look at all showed, or the last one."""
    if copied and copied.whole is not None:
        return {"left_out": copied.left_out, "left": copied.left}
    if before is not None and before.blobs == name:
        return {"left_out": before.left_out, "left": before.left}
    return {}


def _differing(before: Manifest | None, copied: Copied | None) -> dict[str, Any]:
    """Return which blobs the source has otherwise than the restore point.

    Of the one *before* those that it names were looked at again, and no others.
    """
    if copied is None:
        return {}
    unnamed = before.differ - len(before.differing) if before and copied.whole is None else 0
    return {"differ": copied.differ + unnamed, "differing": copied.differing}


def _blob_bytes(before: Manifest | None, copied: Copied | None) -> int | None:
    """Return the bytes of all blobs of a restore point, None if nobody counted."""
    if copied is None:
        return None
    if copied.whole is not None:
        return copied.whole
    if before is None or before.blob_bytes is None:
        return None
    return before.blob_bytes + copied.size


def _strangely_named(taken: Taken, clock: Clock) -> tuple[str, ...]:
    """Say that a restore point is not named after the present moment, which is in doubt."""
    if clock.leapt_from is None or not taken.changed or taken.stamp >= stamp(clock.now):
        return ()
    return (f"the restore point is called {taken.stamp}, though the clock says {stamp(clock.now)}",)


def _summary(taken: Taken, copied: Copied | None) -> str:
    """Return in a sentence what a backup did."""
    if not taken.changed:
        words = f"filestorage unchanged since {taken.stamp}"
    else:
        kind = "full" if taken.full else "incremental"
        words = f"filestorage {kind} {taken.stamp}: {taken.end - taken.start:,} bytes"
        if taken.reason:
            words += f" ({taken.reason})"
    if copied is not None:
        words += f"; blobs: {copied}"
    return words
