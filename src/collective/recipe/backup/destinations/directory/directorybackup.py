"""One backup to a directory: the filestorage part, the blobs that it names, and the manifest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from collective.recipe.backup.chronology import Clock
from collective.recipe.backup.destinations import Outcome, damage, manifest
from collective.recipe.backup.destinations.directory import backupwords
from collective.recipe.backup.destinations.directory.blobstyles import Trust
from collective.recipe.backup.destinations.directory.directorycontents import DirectoryContents
from collective.recipe.backup.destinations.directory.directorysettings import DirectorySettings
from collective.recipe.backup.destinations.directory.manifestblobs import blobs_of
from collective.recipe.backup.destinations.livesource import rights_in
from collective.recipe.backup.destinations.manifest import Manifest
from collective.recipe.backup.destinations.manifestpoint import point_of
from collective.recipe.backup.destinations.past import Past
from collective.recipe.backup.destinations.stopwatch import Stopwatch
from collective.recipe.backup.errors import BackupError, Interrupted, explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage.tids import joined
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.model import Source
from collective.recipe.backup.progress import Progress
from collective.recipe.backup.repozo.chainbackup import Orders, Pending, Taken, prepare

if TYPE_CHECKING:
    from collective.recipe.backup.blobs.copied import Copied
    from collective.recipe.backup.destinations.room import Need

_LEFT_BY_OLDER = "nothing can be added to the blobs that an older release left"
"""Reason for a new chain if nothing can be added to the newest restore point."""


class DirectoryBackup:
    """Adds restore points of *source* to a directory."""

    def __init__(
        self,
        source: Source,
        contents: DirectoryContents,
        settings: DirectorySettings,
        *,
        files: Files,
        progress: Progress,
    ) -> None:
        self._source = source
        self._contents = contents
        self._directory = contents.directory
        self._blobs = contents.blobs
        self._settings = settings
        self._files = files
        self._progress = progress

    def run(self, clock: Clock, why_full: str, *, accept_changed: bool) -> Outcome:
        """Add a restore point if there is something new; see Destination.backup."""
        watch = Stopwatch()
        with ExitStack() as stack:
            past = Past(self._source.filestorage, self._directory, self._contents.as_seen, clock)
            with watch.phase("filestorage"):
                why_full = why_full or self._why_full(past)
                log, pending = self._prepare_filestorage(stack, clock, why_full)
                if self._blobs is not None and not self._blobs.can_complete(log, pending.taken):
                    pending.discard()
                    log, pending = self._prepare_filestorage(stack, clock, _LEFT_BY_OLDER)
            taken = pending.taken
            with _published_if_it_fails(pending):
                known = manifest.read(self._directory, taken.stamp)
                if known is not None and self._is_settled(known):
                    written, copied = known, None
                    if self._blobs is not None:
                        self._blobs.sweep()
                else:
                    with watch.phase("blobs"):
                        written, copied = self._complete(
                            log, taken, known, past, accept_changed=accept_changed
                        )
            pending.publish()
            replaced = () if known else backupwords.replaced(log, taken, self._contents)
        changed = known is None or replace(written, rights=known.rights) != known
        blobstorage = self._blobs.source if self._blobs else None
        written = replace(written, rights=rights_in(self._source.filestorage, blobstorage))
        if written != known:
            manifest.write(self._directory, written, self._files)
        point = point_of(written)
        if self._blobs is not None:
            point = replace(point, doubts=(*point.doubts, *self._blobs.doubts()))
        return Outcome(
            point=point,
            changed=changed,
            summary=backupwords.summary(taken, copied),
            phases=watch.seconds,
            notes=(
                *taken.healed,
                *replaced,
                *(copied.reasons if copied else ()),
                *backupwords.strangely_named(taken, clock),
                *backupwords.not_in_order(taken),
                *filter(None, [past.problem]),
            ),
        )

    def _why_full(self, past: Past) -> str:
        """Return why nothing can be added to the newest restore point, "" if it can."""
        newest = self._contents.newest()
        return past.why_full(point_of(newest) if newest else None)

    def _is_settled(self, known: Manifest) -> bool:
        """Tell whether nothing is to be added to the restore point *known*."""
        if known.lost or known.differ:
            return False
        return self._blobs is None or self._blobs.is_current(known)

    def room_for_full(self) -> Iterable[Need]:
        """Return the room that a full backup takes; see Destination."""
        from collective.recipe.backup.destinations.room import Need, share_of_gzip

        whole = self._source.filestorage.stat().st_size
        share = 1.0 if self._settings.level is None else share_of_gzip(self._directory)
        yield Need(self._directory, int(whole * share), whole)
        if self._blobs is not None:
            yield from self._blobs.needs()

    def _check_room(self) -> None:
        from collective.recipe.backup.destinations.room import check_room

        with explained("cannot look for room", self._directory):
            check_room(self.room_for_full())

    def _prepare_filestorage(
        self, stack: ExitStack, clock: Clock, why_full: str
    ) -> tuple[TransactionLog, Pending]:
        """Return the log, open for as long as *stack*, and the part that is to be published.

        A part that a program of the user wrote is published at once.
        """
        settings, directory = self._settings, self._directory
        if settings.repozo is not None:
            chains = self._contents.chains()
            before = chains[-1].last.stamp if chains else ""
            if why_full or not chains:
                self._check_room()
            denied = self._files.denied_in(directory)
            settings.repozo.back_up(
                self._source.filestorage, directory, full=bool(why_full), denied=denied
            )
            log = stack.enter_context(TransactionLog(self._source.filestorage))
            return log, Pending(settings.repozo.taken(log, directory, before))
        log = stack.enter_context(TransactionLog(self._source.filestorage))
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
        before = known or self._contents.newest_in(taken.chain)
        if before is not None and before.tid is not None:
            # a program tells only of what it has added
            taken = replace(taken, tid=max(taken.tid or before.tid, before.tid))
        if before is not None:
            told = past.go_on(log, point_of(before), taken.packed)
        else:
            told = past.begin(log, taken.chain, taken.packed)
        name, copied = None, None
        if self._blobs is not None:
            doubted = damage.doubted(self._contents.state, self._contents.restore_points)
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
            **blobs_of(name, copied, before=before, known=known),
        )
        return written, copied


@contextmanager
def _published_if_it_fails(pending: Pending) -> Iterator[None]:
    """If the blobs fail, publish the filestorage part all the same: it is better than none.

    The error goes on.  A run that is interrupted, or dies, leaves nothing that repozo takes for a
    backup.
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
