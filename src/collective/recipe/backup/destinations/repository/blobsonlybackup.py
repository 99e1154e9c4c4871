"""A backup with ``only_blobs``: the blobs of a site, and the foreign files among them.

Another program backs up the filestorage, and no log says which blobs are new, so each backup looks
at the whole blobstorage.  Blobs that the last restore point has are not read again.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from collective.recipe.backup.blobs.copied import NAMED
from collective.recipe.backup.blobs.layout import Kind, Layout, layout_at, walk
from collective.recipe.backup.chronology import Clock
from collective.recipe.backup.destinations.manifest import Manifest
from collective.recipe.backup.destinations.repository.backingup import RepositoryBackup
from collective.recipe.backup.destinations.repository.blobs import (
    NewBlobs,
    earlier_blobs,
    store_named,
)
from collective.recipe.backup.destinations.repository.changedblobs import ChangedBlobs, changed_in
from collective.recipe.backup.destinations.repository.foreignfiles import (
    EarlierForeign,
    NewForeign,
    earlier_foreign,
)
from collective.recipe.backup.destinations.repository.logchunks import UnusableError
from collective.recipe.backup.destinations.repository.newfiles import BlobSource, NewFiles
from collective.recipe.backup.destinations.repository.newpoint import (
    NewPoint,
    SitePoints,
    files_part,
)
from collective.recipe.backup.destinations.repository.pointblobs import stored_blobs
from collective.recipe.backup.destinations.repository.pointcontents import (
    BlobsPart,
    PointContents,
)
from collective.recipe.backup.destinations.repository.pointlist import BLOBS
from collective.recipe.backup.errors import IntegrityError, explained
from collective.recipe.backup.model import BLOBSTORAGE, BlobId, Oid
from collective.recipe.backup.repository.chunks import ChunkId
from collective.recipe.backup.repository.doubts import settle_doubts, start_over_if_damaged
from collective.recipe.backup.repository.points import Draft, Point
from collective.recipe.backup.repository.reading import ChunkReader
from collective.recipe.backup.repository.writing import ChunkWriter, UnstoredError, storing
from collective.recipe.backup.rights import Rights, rights_of
from collective.recipe.backup.times import Tid

_ID = 8


class BlobsOnlyBackup(RepositoryBackup):
    """A backup of the blobs of a source alone."""

    what = "blobs"

    def _look(self) -> None:
        """Return None: no look at one file tells."""
        return

    def _new_point(self, seen: SitePoints) -> NewPoint:
        return _BlobsOnlyPoint(self._repository, self._source, self._place, seen, self._watch)

    def _rights(self) -> Mapping[str, Rights]:
        return _rights_at(_blobstorage_of(self._source.blobstorage))


def _blobstorage_of(blobstorage: Path | None) -> Path:
    assert blobstorage is not None  # noqa: S101  else it is none of blobs alone
    return blobstorage


def _rights_at(blobstorage: Path) -> dict[str, Rights]:
    with explained("cannot look at the permissions", blobstorage):
        return {BLOBSTORAGE: rights_of(blobstorage)}


class _Found(NamedTuple):
    """The contents of a blobstorage, stored."""

    blobs: NewBlobs  # the blobs
    foreign: ChunkId | None  # the root of what lies among them; None: nothing does
    size: int  # bytes of the files of that
    left_out: int  # number of files that could not be copied
    left: str  # the path of the first of these

    @property
    def roots(self) -> tuple[ChunkId, ...]:
        """The roots of it."""
        return (self.blobs.root,) if self.foreign is None else (self.blobs.root, self.foreign)


class _BlobsOnlyPoint(NewPoint):
    """The maker of a restore point of blobs alone; see NewPoint."""

    def stored(self, clock: Clock, *, anew: bool, accept_changed: bool) -> Point | None:
        """Return the restore point; see NewPoint."""
        newest = self._newest()
        self._doubt_lost()
        settle_doubts(self._repository, newest)
        self._before = None if anew else newest
        self._copied = () if accept_changed else self._newest_first()
        return storing(
            self._repository, self._site, lambda writer: self._store_alone(writer, clock)
        )

    def _mine(self) -> Point | None:
        return self._before

    def _store_alone(self, writer: ChunkWriter, clock: Clock) -> Point | None:
        """Store what there is; return its restore point, None if the last one has it."""
        with self._watch.phase("blobs"):
            found = self._found(writer)
        files = self._store_files(writer)
        contents = PointContents(
            blobs=BlobsPart(root=found.blobs.root, foreign=found.foreign),
            files=files_part(files),
        )
        self._settle(writer, contents.roots)
        left_out = found.left_out + (files.lacking if files else 0)
        last = None if self._last is None or self._last.point is None else self._last.point.roots
        if last == contents.roots and (left_out, found.blobs.differ) == self._lacking():
            return None
        manifest = replace(
            self._told(found, clock),
            left_out=left_out,
            left=found.left or (files.lacks if files else ""),
            stored=writer.added,
        )
        contents = replace(contents, manifest=manifest)
        return writer.finish(
            Draft(
                stamp=manifest.stamp,
                claimed=clock.now,
                roots=contents.roots,
                payload=contents.payload(),
            )
        )

    def _found(self, writer: ChunkWriter) -> _Found:
        """Store the blobstorage, as far as the restore point before has it not."""
        before = self._before
        try:
            if before is not None and writer.build_on(before):
                return self._stored_from(before, writer)
        except (IntegrityError, UnusableError, UnstoredError):
            start_over_if_damaged(self._repository, before)
            self._repository.tell("what was stored of the blobs is damaged: they are read anew")
        return self._stored_from(None, writer)

    def _stored_from(self, before: Point | None, writer: ChunkWriter) -> _Found:
        root = _blobstorage_of(self._source.blobstorage)
        source = replace(
            BlobSource.at(root, self._repository),
            copies=earlier_blobs(self._repository, self._copied, writer),
            # of any number of them the size is looked at, see _with_changed
            changed=replace(changed_in(before), further=0),
            is_named=False,
        )
        earlier: EarlierForeign | None = None
        # where bundles are damaged, each file is read, and its lost chunks are stored again
        if before is not None and not writer.must_look_again:
            earlier = earlier_foreign(ChunkReader(self._repository), before)
        blobs: list[bytes] = []
        unread: list[str] = []  # directories of ZODB
        with explained("cannot read the blobstorage", root), NewFiles(source, writer) as files:
            foreign = NewForeign(root, files, writer, earlier)
            for entry in walk(root):
                blob = entry.blob
                if blob is not None:
                    with suppress(FileNotFoundError):  # it has just gone
                        size = os.lstat(f"{root}/{entry.path}").st_size
                        is_read_last = layout_at(entry.path) is not source.layout
                        # some 70 bytes of memory each
                        blobs.append(_packed(blob, size, is_read_last=is_read_last))
                elif entry.kind is not Kind.MARKER:
                    foreign.add(entry)
                    if not entry.foreign:
                        unread.append(entry.path)
        if unread:
            below = self._stored_below(unread, before)
            blobs += (_packed(blob, size, is_read_last=True) for blob, size in below.items())
            named = {*source.changed.named, *below}  # what can be read after all is left out
            source = replace(source, changed=ChangedBlobs(named=named))
        blobs = _each_once(blobs)
        new = store_named(_ids(blobs), before, source, writer)
        if before is not None:
            new = self._with_changed(new, blobs, before, source.changed.named)
        return _Found(new, *foreign.root(), foreign.left_out, foreign.left)

    def _stored_below(self, places: Sequence[str], before: Point | None) -> dict[BlobId, int]:
        """Return the blobs below *places*, as earlier restore points have them, and their sizes.

        Nobody can look into these directories, so the blobs in them are as they were.
        """
        found: dict[BlobId, int] = {}
        for point in [before] if before is not None else self._copied:
            with suppress(IntegrityError) if before is None else nullcontext():
                stored = stored_blobs(self._repository, point, None)
                for each, file in stored.files() if stored is not None else ():
                    paths = [layout.path(each.blob) for layout in Layout]
                    if any(path.startswith(f"{place}/") for path in paths for place in places):
                        found[each.blob] = file.size
                return found
        return found

    def _with_changed(
        self, new: NewBlobs, blobs: list[bytes], before: Point, looked_at: Collection[BlobId]
    ) -> NewBlobs:
        """Return *new* with those of *blobs* that have another size than *before* has.

        Those that were *looked_at* are in *new* already.
        """
        stored = stored_blobs(self._repository, before, None)
        changed = []
        for each, file in stored.files() if stored is not None else ():
            key = each.tid + each.oid
            place = bisect_left(blobs, key)
            here = blobs[place] if place < len(blobs) else b""
            is_there, size = here[: len(key)] == key, here[-_ID:]
            is_other = is_there and size != file.size.to_bytes(_ID, "big")
            if is_other and each.blob not in looked_at:
                changed.append(each.blob)
        return replace(
            new,
            differ=new.differ + len(changed),
            differing=(*new.differing, *changed)[:NAMED],
        )

    def _told(self, found: _Found, clock: Clock) -> Manifest:
        blobs, stamp = found.blobs, self._stamp(clock, None)
        return Manifest(
            stamp=stamp,
            chain=stamp,
            end=0,
            tid=None,
            since=None,
            taken=clock.now,
            stored=0,
            blobs=BLOBS,
            missing=blobs.missing,
            lost=blobs.lost,
            differing=blobs.differing,
            differ=blobs.differ,
            blob_bytes=blobs.size + found.size,
            rights=_rights_at(_blobstorage_of(self._source.blobstorage)),
        )


def _packed(blob: BlobId, size: int, *, is_read_last: bool) -> bytes:
    """Return a *blob* that lies in the site, in what sorts by tid and oid."""
    return blob.tid + blob.oid + bytes([is_read_last]) + size.to_bytes(_ID, "big")


def _each_once(packed: list[bytes]) -> list[bytes]:
    """Return *packed* in order; of a blob that lies at the places of both layouts the one read."""
    packed.sort()
    return [next(same) for _id, same in groupby(packed, key=itemgetter(slice(2 * _ID)))]


def _ids(packed: list[bytes]) -> Iterator[BlobId]:
    return (BlobId(Oid(each[_ID : 2 * _ID]), Tid(each[:_ID])) for each in packed)
