"""Blobs in archives: a full one for each backup, incremental ones, or numbered ones."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from collective.recipe.backup.blobs import latest
from collective.recipe.backup.blobs.archives import verify
from collective.recipe.backup.blobs.archives.names import (
    Archive,
    find_archives,
    make_room,
    planned,
)
from collective.recipe.backup.blobs.archives.writing import write_delta, write_full
from collective.recipe.backup.blobs.copied import Copied
from collective.recipe.backup.blobs.digesting import is_legible
from collective.recipe.backup.blobs.holdings import Archived
from collective.recipe.backup.blobs.layout import layout_of, walk
from collective.recipe.backup.destinations.blobstyles import Demand, Found, Workshop
from collective.recipe.backup.destinations.room import LEAST_SHARE
from collective.recipe.backup.errors import explained
from collective.recipe.backup.model import BlobId
from collective.recipe.backup.times import stamp_after


class FullArchives:
    """A full archive for each backup."""

    def __init__(self, workshop: Workshop, *, compressed: bool) -> None:
        self._shop = workshop
        self._compressed = compressed

    def back_up(self, demand: Demand, found: Found) -> tuple[str, Copied]:
        """Write an archive; see Style.

        One of this stamp was written by a run that died, or lacks blobs.  It is written
        anew, in the second case only if one of those can be read by now.
        """
        archive = self._planned(demand.stamp)
        if demand.before == archive.name and not any(map(self._is_legible, demand.new())):
            return archive.name, Copied().lacking(demand.new())
        copied = self._write(archive, demand)
        self._publish(archive, found)
        return archive.name, copied

    def share(self, found: Found) -> tuple[float, float]:  # noqa: ARG002  nothing is linked
        """Return all, or what gzip leaves of it; see Style."""
        return (LEAST_SHARE if self._compressed else 1.0), 1.0

    def _planned(self, stamp: str, *, delta: bool = False) -> Archive:
        shop = self._shop
        return planned(
            shop.directory, shop.storage, stamp, delta=delta, compressed=self._compressed
        )

    def _sources(self) -> list[Path]:
        """Return where blobs may be: also where a pack has just put them."""
        return [self._shop.source, self._shop.packed_away]

    def _is_legible(self, blob: BlobId) -> bool:
        path = layout_of(self._shop.source).path(blob)
        return any(is_legible(source, path) for source in self._sources())

    def _write(self, archive: Archive, demand: Demand) -> Copied:
        """Write all; check the pair: a record may name what the scan did not find or read."""
        copied = self._write_full(archive, demand, [])
        lacking = list(verify.missing([archive], self._absent(demand, copied)))
        rescued = [blob for blob in lacking if self._is_legible(blob)]
        if rescued:
            copied = self._write_full(archive, demand, rescued)
            lacking = list(verify.missing([archive], lacking))
        return copied.lacking(lacking)

    def _absent(self, demand: Demand, copied: Copied) -> Iterable[BlobId]:
        """Yield the named blobs that an archive of all may lack; *copied* tells of that."""
        if copied.lost + copied.vanished > len(copied.missing):
            yield from demand.named()  # not all of them were noted
            return
        root, layout = self._shop.source, layout_of(self._shop.source)
        noted = set(copied.missing)
        for blob in demand.named():
            if blob in noted or not (root / layout.path(blob)).is_file():
                yield blob

    def _write_full(self, archive: Archive, demand: Demand, rescued: list[BlobId]) -> Copied:
        old = self._shop.packed_away
        return write_full(
            self._shop.source,
            archive,
            until=demand.until,
            files=self._shop.files,
            progress=self._shop.progress,
            stamp=demand.stamp,
            rescued=(old, rescued) if rescued and old.is_dir() else None,
        )

    def _publish(self, archive: Archive, found: Found) -> None:  # noqa: ARG002  for the numbered
        """Make a whole archive the newest."""
        latest.renew(self._shop.directory, archive.name, self._shop.files)


class NumberedArchives(FullArchives):
    """A full archive for each backup, the newest with the number 0.

    It is written under the name that its stamp gives it; only when it is whole the others
    move up, and it becomes number 0.
    """

    def _publish(self, archive: Archive, found: Found) -> None:
        shop = self._shop
        before = found.get(archive.name)
        if isinstance(before, Archived) and before.number is not None:
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

    def back_up(self, demand: Demand, found: Found) -> tuple[str, Copied]:
        """Write what is new, if anything is, or all; see Style."""
        before = found.get(demand.before or "")
        if not isinstance(before, Archived):
            return super().back_up(demand, found)
        archive = self._next(demand.stamp, before)
        if not self._can_be_built_on(before, archive):
            return super().back_up(demand, found)
        if demand.scan or any(entry.foreign for entry in walk(self._shop.source)):
            # no log says when such a thing changes
            return super().back_up(demand, found)
        if before.stamp == demand.stamp and not any(map(self._is_legible, demand.new())):
            return before.name, Copied().lacking(demand.new())
        copied = write_delta(
            self._sources(),
            archive,
            demand.new,
            files=self._shop.files,
            progress=self._shop.progress,
        )
        return (before.name, Copied()) if copied is None else (archive.name, copied)

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

    def _publish(self, archive: Archive, found: Found) -> None:
        # a link to one archive of several that belong together misleads
        latest.forget(self._shop.directory, self._shop.files)
