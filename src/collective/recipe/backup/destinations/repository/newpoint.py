"""A new restore point of a source: the data that it adds to an earlier one, then its name.

Only a backup that has found something new imports this room.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from collective.recipe.backup.amounts import number_of
from collective.recipe.backup.chronology import Clock
from collective.recipe.backup.destinations.livesource import rights_in
from collective.recipe.backup.destinations.manifest import Manifest
from collective.recipe.backup.destinations.past import Ordered, Past
from collective.recipe.backup.destinations.repository.blobs import (
    NewBlobs,
    earlier_blobs,
    store_blobs,
)
from collective.recipe.backup.destinations.repository.changedblobs import changed_in
from collective.recipe.backup.destinations.repository.logs import (
    EarlierLog,
    NewLog,
    earlier_log,
    store_log,
)
from collective.recipe.backup.destinations.repository.newfiles import BlobSource
from collective.recipe.backup.destinations.repository.place import RepositoryPlace
from collective.recipe.backup.destinations.repository.pointcontents import (
    BlobsPart,
    FilesPart,
    LogPart,
    PointContents,
    contents_of,
)
from collective.recipe.backup.destinations.repository.pointlist import BLOBS, ListedPoint
from collective.recipe.backup.destinations.repository.treebackup import store_files, tell_reasons
from collective.recipe.backup.destinations.repository.treetally import NewTree
from collective.recipe.backup.destinations.stopwatch import Stopwatch
from collective.recipe.backup.errors import printable
from collective.recipe.backup.filestorage.tids import Tids, joined
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.model import Hole, Source
from collective.recipe.backup.repository.chunks import ChunkId
from collective.recipe.backup.repository.controls import Control
from collective.recipe.backup.repository.doubts import (
    doubt_below,
    doubt_gone,
    settle_doubts,
    start_over_if_damaged,
)
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.points import Draft, Point
from collective.recipe.backup.repository.writing import ChunkWriter, storing
from collective.recipe.backup.times import ZERO_TID, Tid, free_stamp


class SitePoints(NamedTuple):
    """The restore points of the site when the backup looked at the repository."""

    control: Control  # the listing
    listed: Sequence[ListedPoint]  # all restore points of the site
    last: ListedPoint | None  # the newest, if it need not be made again where nothing changed


class NewPoint:
    """The maker of a restore point of *source*, at its *place* in the repository."""

    def __init__(
        self,
        repository: Repository,
        source: Source,
        place: RepositoryPlace,
        seen: SitePoints,
        watch: Stopwatch,
    ) -> None:
        self._repository = repository
        self._source = source
        self._site = place.site
        self._state = place.state
        self._wanted = place.files
        self._listed = seen.listed
        self._last = seen.last
        self._control = seen.control
        self._earlier: EarlierLog | None = None
        self._copied: Sequence[Point] = ()  # of which blobs may be taken over, the newest first
        self._watch = watch
        self.notes: list[str] = []

    def stored(self, clock: Clock, *, anew: bool, accept_changed: bool) -> Point | None:
        """Return the restore point, once it is durable; None: the last one has all of it.

        *anew*: it is built on no earlier one.  A blob that is read now, and that the site lacks or
        has otherwise than an earlier one, is taken over from there, unless *accept_changed*.
        """
        repository, site = self._repository, self._site
        with self._watch.phase("filestorage"), TransactionLog(self._source.filestorage) as log:
            earlier = None if anew else earlier_log(repository, self._control, site, log)
            self._earlier = None if earlier and self._lacks(earlier.point) else earlier
            self._copied = () if accept_changed else self._newest_first()
            self._doubt_lost()
            settle_doubts(repository, self._newest())
            return storing(repository, site, lambda writer: self._store(writer, log, clock))

    def _newest(self) -> Point | None:
        return next(iter(self._newest_first()), None)

    def _newest_first(self) -> list[Point]:
        return [each.point for each in reversed(self._listed) if each.point and not each.lacks]

    def _lacks(self, point: Point) -> bool:
        """Tell whether *point* is known to lack data, so that nothing can be built on it."""
        return any(each.lacks and each.name == point.name for each in self._listed)

    def _doubt_lost(self) -> None:
        """Doubt the bundles that are gone, if a restore point is known to lack data."""
        if any(each.lacks for each in self._listed):
            self._repository.index.refresh()
            doubt_gone(self._repository)

    def _store(self, writer: ChunkWriter, log: TransactionLog, clock: Clock) -> Point | None:
        """Store what *log* has; return the restore point of it, None if the last one has it."""
        new = store_log(log, self._repository, writer, self._earlier)
        last = None if self._last is None or self._last.point is None else self._last.point.roots
        left_out, differ = self._lacking()
        is_whole = self._last is not None and self._last.shown.whole and not writer.must_look_again
        if last and is_whole and last[0] == new.root and self._wanted is None and not differ:
            return None  # and so all blobs that it names
        blobs = self._store_blobs(writer, log, new)
        files = self._store_files(writer)
        roots = (new.root, *(part.root for part in (blobs, files) if part))
        self._settle(writer, roots)
        lacks_as_much = files is None or files.lacking == left_out
        if last == roots and lacks_as_much and differ == (blobs.differ if blobs else 0):
            return None  # blobs that were lacking then are lacking still, or were stored again
        manifest = self._manifest(log, new, blobs, clock)
        if files is not None:
            manifest = replace(manifest, left_out=files.lacking, left=files.lacks)
        contents = PointContents(
            log=LogPart(root=new.root, mode=log.mode),
            blobs=BlobsPart(root=blobs.root) if blobs else None,
            files=files_part(files),
            manifest=replace(manifest, stored=writer.added),
        )
        return writer.finish(
            Draft(
                stamp=manifest.stamp,
                claimed=clock.now,
                roots=contents.roots,
                payload=contents.payload(),
                tid=new.state.last.hex() if new.state.last != ZERO_TID else "",
                records=new.state.records,
            )
        )

    def _settle(self, writer: ChunkWriter, roots: Sequence[ChunkId]) -> None:
        """Make all that was added durable; raise StartOver if what *roots* need is damaged."""
        writer.store_all()
        if writer.must_look_again:
            # an unchanged node of another bundle may be damaged as well, and was not read
            doubt_below(self._repository, roots)
        start_over_if_damaged(self._repository)

    def _store_blobs(
        self, writer: ChunkWriter, log: TransactionLog, new: NewLog
    ) -> NewBlobs | None:
        if self._source.blobstorage is None:
            return None
        with self._watch.phase("blobs"):
            copies = earlier_blobs(self._repository, self._copied, writer)
            source = replace(
                BlobSource.at(self._source.blobstorage, self._repository),
                copies=copies,
                changed=changed_in(self._mine()),
            )
            return store_blobs(log, new, self._earlier, source, writer)

    def _mine(self) -> Point | None:
        """Return the restore point of this site that is built on; None: there is none."""
        return self._earlier.point if self._earlier and self._earlier.oldest else None

    def _store_files(self, writer: ChunkWriter) -> NewTree | None:
        if self._wanted is None:
            return None
        with self._watch.phase("files"):
            # another site may have other files under the same names
            found = store_files(self._wanted, self._repository, writer, self._mine())
        tell_reasons(self._repository, found)
        if found.left_out:
            first = ", ".join(found.left)
            others = number_of(
                found.left_out, "socket, pipe or device", "sockets, pipes and devices"
            )
            self.notes.append(f"{others} left out: {first}")
        if found.mentioned:
            self.notes.append(
                f"{number_of(found.mentioned, 'further file')} left out or changed meanwhile"
            )
        return found

    def _lacking(self) -> tuple[int, int]:
        """Return how many further files the last restore point lacks, and how many blobs differ."""
        point = None if self._last is None else self._last.point
        manifest = None if point is None else contents_of(point).manifest
        return (0, 0) if manifest is None else (manifest.left_out, manifest.differ)

    def _stamp(self, clock: Clock, last: Tid | None) -> str:
        """Return the stamp of a restore point whose last transaction is *last*."""
        newest = max((each.shown.stamp for each in self._listed if each.shown.sound), default="")
        return free_stamp(newest, clock.name_for(last))

    def _manifest(
        self, log: TransactionLog, new: NewLog, blobs: NewBlobs | None, clock: Clock
    ) -> Manifest:
        last = new.state.last if new.state.last != ZERO_TID else None
        stamp = self._stamp(clock, last)
        past = Past(
            self._source.filestorage,
            self._state,
            lambda: [each.shown for each in self._listed],
            clock,
        )
        ordered = None if new.is_odd else Ordered(new.kept, new.end.offset)
        told = past.begin(log, stamp, new.state.packed, ordered)
        if past.problem:
            self.notes.append(past.problem)
        if told.is_strange:
            self._repository.tell(
                f"the filestorage lacks what the last restore point of {printable(self._site)} "
                "has, and no restore of it is known: if this is a copy of the site, give it a "
                "name of its own in the repository (site_name), lest the restore points of both "
                "mix"
            )
        return Manifest(
            stamp=stamp,
            chain=stamp,
            end=new.state.size,
            tid=last,
            since=told.since,
            holes=tuple(joined([*told.holes, *_holes(log, new)])),
            stays=told.stays,
            taken=clock.now,
            stored=0,
            blobs=BLOBS if blobs else None,
            missing=blobs.missing if blobs else (),
            lost=blobs.lost if blobs else 0,
            differing=blobs.differing if blobs else (),
            differ=blobs.differ if blobs else 0,
            blob_bytes=blobs.size if blobs else None,
            rights=rights_in(self._source.filestorage, self._source.blobstorage),
        )


def files_part(found: NewTree | None) -> FilesPart | None:
    """Return what a restore point says of the further files that were *found*."""
    if found is None:
        return None
    return FilesPart(root=found.root, files=found.files, size=found.size)


def _holes(log: TransactionLog, new: NewLog) -> tuple[Hole, ...]:
    """Return what a log cannot tell whose tids are not in order."""
    if not new.is_odd:
        return ()
    tids = Tids()
    for transaction in log.transactions(stop=new.end.offset):
        tids.add(transaction.tid)
    return tids.holes
