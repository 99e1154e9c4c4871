"""Blobs in archives: a full one for each backup, incremental ones, or numbered ones."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from collective.recipe.backup.blobs import latest
from collective.recipe.backup.blobs.archives import archivecheck
from collective.recipe.backup.blobs.archives.archivenames import (
    Archive,
    find_archives,
    make_room,
    planned,
)
from collective.recipe.backup.blobs.archives.archivewriting import Supply, write_delta, write_full
from collective.recipe.backup.blobs.archives.earlier import differing, unpack
from collective.recipe.backup.blobs.copied import NAMED, Copied, Left
from collective.recipe.backup.blobs.copying import changed, taken_over
from collective.recipe.backup.blobs.digesting import is_legible
from collective.recipe.backup.blobs.foreign import foreign_of
from collective.recipe.backup.blobs.holdings import Holdings
from collective.recipe.backup.blobs.holdings.archiveholdings import Archived
from collective.recipe.backup.blobs.layout import MARKER
from collective.recipe.backup.blobs.marker import laid_out, missing_marker, place_of
from collective.recipe.backup.blobs.packduringbackup import packed_away
from collective.recipe.backup.destinations.directory.blobstyles import BlobPlace, WantedBlobs
from collective.recipe.backup.destinations.room import LEAST_SHARE
from collective.recipe.backup.errors import BackupError, explained
from collective.recipe.backup.model import BlobId
from collective.recipe.backup.times import Tid, stamp_after


class FullArchives:
    """A full archive for each backup."""

    def __init__(self, workshop: BlobPlace, *, compressed: bool) -> None:
        self._shop = workshop
        self._compressed = compressed

    def back_up(self, demand: WantedBlobs, found: Holdings) -> tuple[str, Copied]:
        """Write an archive; see Style.

        One of this stamp was written by a run that died, or lacks blobs.  It is written
        anew, in the second case only if one of those can be read by now.
        """
        archive = self._planned(demand.stamp)
        before = found.archives.get(archive.name)
        is_whole = demand.before == archive.name and not any(map(self._is_legible, demand.new()))
        if is_whole and before is not None:
            return archive.name, self._still_differing(before, demand).lacking(demand.new())
        earlier = list(found.archives.values())
        copied = self._write(archive, demand, earlier[-1].chain if earlier else ())
        self._publish(archive, found)
        return archive.name, copied

    def _still_differing(self, before: Archived, demand: WantedBlobs) -> Copied:
        """Return which of the blobs that were not as in *before* are not so still."""
        if not demand.differing:
            return Copied()
        now = self._unlike(before.chain, demand.until)
        still = tuple(
            blob for blob in demand.differing if blob in now or not self._is_legible(blob)
        )
        return Copied(differ=len(still), differing=still)

    def share(self, found: Holdings) -> tuple[float, float]:  # noqa: ARG002  nothing is linked
        """Return all, or what gzip leaves of it; see Style."""
        return (LEAST_SHARE if self._compressed else 1.0), 1.0

    def _planned(self, stamp: str, *, delta: bool = False) -> Archive:
        shop = self._shop
        return planned(
            shop.directory, shop.storage, stamp, delta=delta, compressed=self._compressed
        )

    def _sources(self) -> list[Path]:
        """Return where blobs may be: also where a pack has just put them."""
        return [self._shop.source, packed_away(self._shop.source)]

    def _is_legible(self, blob: BlobId) -> bool:
        layout = laid_out(self._shop.source)
        return any(is_legible(root, place_of(root, layout, blob)) for root in self._sources())

    def _write(self, archive: Archive, demand: WantedBlobs, earlier: Sequence[Archive]) -> Copied:
        """Write all; check the pair: a record may name what the scan did not find or read.

        Of blobs that the source has lost, or otherwise than *earlier* has them, the copy that
        was made first is taken, unless they are to be accepted as they are.
        """
        if demand.trust.accept:
            earlier = ()
        with self._aside() as aside:
            marker = self._put_marker(aside)
            upheld = self._taken(self._unlike(earlier, demand.until), earlier, aside)
            supply = Supply(first=aside, marker=marker)
            copied = self._write_full(archive, demand, supply)
            lacking = list(archivecheck.missing([archive], self._absent(demand, copied)))
            here = [blob for blob in lacking if self._is_legible(blob)]
            kept = self._taken(set(lacking).difference(here), earlier, aside)
            if here or kept:
                also, others = [*here, *kept], [packed_away(self._shop.source)]
                supply = supply._replace(also=also, others=others)
                copied = self._write_full(archive, demand, supply)
                lacking = list(archivecheck.missing([archive], lacking))
        return self._told(copied, upheld, kept, earlier).lacking(lacking)

    def _unlike(self, earlier: Sequence[Archive], until: Tid) -> Collection[BlobId]:
        """Return the blobs that the source has otherwise than *earlier* archives."""
        with suppress(BackupError):  # damage to those is told by verify, and nothing is taken
            return set(differing(earlier, self._shop.source, until))
        return ()

    def _put_marker(self, aside: Path) -> bool:
        """Put the marker aside that the source lacks; False if it lacks none."""
        layout, files = missing_marker(self._shop.source), self._shop.files
        if layout is not None:
            files.make_directory(aside)
            files.write(aside / MARKER, layout.value.encode("ascii"))
        return layout is not None

    @contextmanager
    def _aside(self) -> Iterator[Path]:
        """Give a name for a directory, which is gone after the body."""
        files = self._shop.files
        directory = files.partial_name(self._shop.directory / "earlier")
        try:
            yield directory
        finally:
            files.clear(directory)

    def _taken(
        self, blobs: Collection[BlobId], earlier: Sequence[Archive], aside: Path
    ) -> list[BlobId]:
        """Put those of *blobs* aside that *earlier* has; return which these are."""
        if not blobs or not earlier:
            return []
        return unpack(earlier, blobs, self._shop.source, aside, self._shop.files)

    def _told(
        self,
        copied: Copied,
        upheld: Sequence[BlobId],
        kept: Sequence[BlobId],
        earlier: Sequence[Archive],
    ) -> Copied:
        """Return *copied* with the blobs added that were taken from *earlier* archives."""
        layout, left = laid_out(self._shop.source), Left()
        for blob in upheld:
            left.give(changed(self._shop.source / layout.path(blob), earlier[-1].path))
        for blob in kept:
            left.give(taken_over(f"{blob}", earlier[-1].path))
        blobs = (*upheld, *kept)
        more = Copied(differ=len(blobs), differing=blobs[:NAMED], reasons=tuple(left.reasons))
        return copied + more

    def _absent(self, demand: WantedBlobs, copied: Copied) -> Iterable[BlobId]:
        """Yield the named blobs that an archive of all may lack; *copied* tells of that."""
        if copied.lost + copied.vanished > len(copied.missing):
            yield from demand.named()  # not all of them were noted
            return
        root, layout = self._shop.source, laid_out(self._shop.source)
        noted = set(copied.missing)
        for blob in demand.named():
            if blob in noted or not (root / place_of(root, layout, blob)).is_file():
                yield blob

    def _write_full(self, archive: Archive, demand: WantedBlobs, supply: Supply) -> Copied:
        return write_full(
            self._shop.source,
            archive,
            until=demand.until,
            files=self._shop.files,
            progress=self._shop.progress,
            stamp=demand.stamp,
            supply=supply,
        )

    def _publish(self, archive: Archive, found: Holdings) -> None:  # noqa: ARG002  for the numbered
        """Make a whole archive the newest."""
        latest.renew(self._shop.directory, archive.name, self._shop.files)


class NumberedArchives(FullArchives):
    """A full archive for each backup, the newest with the number 0.

    It is written under the name that its stamp gives it; only when it is whole the others
    move up, and it becomes number 0.
    """

    def _publish(self, archive: Archive, found: Holdings) -> None:
        shop = self._shop
        before = found.archives.get(archive.name)
        if before is not None and before.number is not None:
            number = before.number
        else:
            number = 0
            make_room(find_archives(shop.directory, shop.storage), shop.files)
        place = planned(shop.directory, shop.storage, number, compressed=archive.compressed)
        with explained("cannot number the archives", shop.directory):
            shop.files.rename(archive.path, place.path)
        # it would lead to another one after the next backup
        latest.forget(shop.directory, shop.files)


class IncrementalArchives(FullArchives):
    """A full archive for each chain, and one with the new blobs of each backup after it."""

    def back_up(self, demand: WantedBlobs, found: Holdings) -> tuple[str, Copied]:
        """Write the new blobs, if there are any, or all; see Style."""
        before = found.archives.get(demand.before or "")
        if before is None:
            return super().back_up(demand, found)
        archive = self._next(demand.stamp, before)
        if not self._can_be_built_on(before, archive):
            return super().back_up(demand, found)
        others, left_out = foreign_of(self._shop.source, read=False)
        known = demand.others
        if known is None:
            known = before.foreign() if others else ""
        if demand.scan or left_out or others != known:
            # no log says when such a thing changes
            return super().back_up(demand, found)
        still = self._still_differing(before, demand)
        if before.stamp == demand.stamp and not any(map(self._is_legible, demand.new())):
            return before.name, still.lacking(demand.new())
        copied = write_delta(
            self._sources(),
            archive,
            demand.new,
            files=self._shop.files,
            progress=self._shop.progress,
        )
        if copied is None:
            return before.name, still
        return archive.name, replace(still + copied, others=known)

    def _can_be_built_on(self, before: Archived, archive: Archive) -> bool:
        """Tell whether *before* is ours and the newest but for *archive* itself.

        That may have been left by a run that died; it is written anew.
        """
        archives = find_archives(self._shop.directory, self._shop.storage)
        others = [each for each in archives if each.stamp and each.path != archive.path]
        return bool(others) and others[-1].path == before.archive.path and before.ours

    def _next(self, wanted: str, before: Archived) -> Archive:
        """Return the archive of the stamp *wanted*, of a later one if that is taken."""
        archive = self._planned(wanted, delta=True)
        while archive.age <= before.archive.age:
            wanted = stamp_after(wanted)
            archive = self._planned(wanted, delta=True)
        return archive

    def _publish(self, archive: Archive, found: Holdings) -> None:
        # a link to one archive of several that belong together misleads
        latest.forget(self._shop.directory, self._shop.files)
