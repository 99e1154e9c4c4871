"""The contents of a chain of archives, without unpacking it: a list, one blob, or some files.

A later archive deletes, renames and replaces files of earlier ones.  So the result of unpacking is
computed in memory first (see memoryground), together with the archive of the bytes of each file.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

from blake3 import blake3

from collective.recipe.backup.blobs.archives.archivenames import Archive
from collective.recipe.backup.blobs.archives.archivereading import Member, What, glances, members
from collective.recipe.backup.blobs.archives.building import broken
from collective.recipe.backup.blobs.archives.diskground import DiskGround
from collective.recipe.backup.blobs.archives.ground import with_parents
from collective.recipe.backup.blobs.archives.memoryground import MemoryGround, Origin
from collective.recipe.backup.blobs.archives.stored import damaged
from collective.recipe.backup.blobs.archives.unpacking import Unpacking
from collective.recipe.backup.blobs.copied import Copied
from collective.recipe.backup.blobs.layout import Entry, Kind, Layout, is_foreign
from collective.recipe.backup.blobs.storedblobs import StoredContents, StoredFile
from collective.recipe.backup.errors import IntegrityError, explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.model import BlobId
from collective.recipe.backup.progress import Progress, ignore
from collective.recipe.backup.times import Tid


class Contents:
    """The contents of *archives*, a chain, without blobs later than *until*.

    Their files have *size* bytes in all (None: unknown).  All raise IntegrityError that names
    the archive that is missing or damaged.
    """

    def __init__(self, archives: Sequence[Archive], until: Tid, size: int | None) -> None:
        self._archives = archives
        self._until = until
        self._size = size

    def listed(self) -> Iterator[StoredFile]:
        """Yield what a copy of it is, in the order of ``layout.walk``; all of it is read before."""
        ground = self._worked_out(digests=True)
        for entry in ground.entries():
            yield _listed(ground, entry)

    def stream(self, blob: BlobId) -> BinaryIO:
        """Return *blob*; see StoredBlobs.

        To find it the headers of all archives are read, of those that are not compressed no
        more than that; then its archive is, up to the end.
        """
        if blob.tid > self._until:
            raise KeyError(blob)
        ground = self._worked_out(digests=False)
        for layout in (ground.laid_out(), *Layout):
            file = ground.file(layout.path(blob))
            if file is not None:
                archive = self._archives[file.origin.archive]
                return io.BufferedReader(_Poured(archive, file.origin.member))
        for archive in self._archives:  # a damaged header may have hidden it
            for _member in members(archive, ignore):
                pass
        raise KeyError(blob)

    def each(self, wanted: Callable[[str], bool]) -> Iterator[StoredContents]:
        """Yield the wanted files, archive by archive; see StoredBlobs.

        The headers of all archives are read first, to know which files of each count.
        """
        files, directories = self._by_origin(wanted)
        for directory in directories:
            yield StoredContents(directory, iter(()))
        for number, archive in enumerate(self._archives):
            with closing(members(archive, ignore)) as opened:
                for place, member in enumerate(opened):
                    for first, *others in filter(None, [files.pop(Origin(number, place), None)]):
                        yield StoredContents(first, _pieces_of(member))
                        for file in others:
                            yield StoredContents(file, iter(()), same=first.path)
        if files:
            raise damaged(self._archives[-1], "it changed while it was read")

    def _by_origin(
        self, wanted: Callable[[str], bool]
    ) -> tuple[dict[Origin, list[StoredFile]], list[StoredFile]]:
        """Return the files and links that are wanted by where they lie, and the directories."""
        ground = self._worked_out(digests=False)
        files: dict[Origin, list[StoredFile]] = {}
        directories: list[StoredFile] = []
        for entry in ground.entries():
            if wanted(entry.path):
                found = ground.file(entry.path) or ground.symbolic_link(entry.path)
                file = _listed(ground, entry)._replace(digest=None)
                (files.setdefault(found.origin, []) if found else directories).append(file)
        return files, directories

    def copy_some(
        self, wanted: Iterable[StoredFile], directory: Path, files: Files, progress: Progress
    ) -> Copied:
        """Copy *wanted* into *directory*, durably; all archives are read to their ends."""
        with explained("cannot restore the blobs", directory):
            selection = _Selection(self._worked_out(digests=False), self._archives[-1])
            for file in wanted:
                selection.add(file)
            files.make_directory(directory)
            ground = DiskGround(directory, None, files)
            stored = sum(archive.path.stat().st_size for archive in self._archives)
            with progress.phase("blobs", stored) as advance:
                for number, archive in enumerate(self._archives):
                    with closing(members(archive, advance)) as found:
                        for place, member in enumerate(found):
                            selection.unpack(member, Origin(number, place), ground)
            selection.finish(ground)
            files.sync_little_tree(directory)
        return replace(ground.sum(), foreign=selection.foreign)

    def _worked_out(self, *, digests: bool) -> MemoryGround:
        """Return what unpacking would make; only for *digests* the archives are read to the end."""
        ground = MemoryGround(digests=digests)
        read = partial(members, advance=ignore) if digests else glances
        with explained("cannot look at the archives", self._archives[-1].path):
            for error in broken(self._archives):
                raise error
            unpacking = Unpacking(ground, self._until)
            unpacking.run(self._archives, ground.noting(read), size=self._size)
        return ground


def _pieces_of(member: Member) -> Iterator[bytes | memoryview]:
    if member.what is What.SYMBOLIC_LINK:
        return iter([os.fsencode(member.link)])
    return iter(member.content)


def _listed(ground: MemoryGround, entry: Entry) -> StoredFile:
    file = ground.file(entry.path)
    if file is not None:
        return StoredFile(entry.path, entry.kind, file.size, file.time, file.digest.hex())
    link = ground.symbolic_link(entry.path)
    if link is not None:
        text = os.fsencode(link.text)
        return StoredFile(entry.path, entry.kind, len(text), link.time, blake3(text).hexdigest())
    return StoredFile(entry.path, entry.kind, 0, 0, None)


class _Selection:
    """Some of the files of *ground*, by their archive; *newest* is the last archive."""

    def __init__(self, ground: MemoryGround, newest: Archive) -> None:
        self.foreign = 0
        self._ground = ground
        self._newest = newest
        self._paths: dict[Origin, list[str]] = {}
        self._directories = {""}

    def add(self, file: StoredFile) -> None:
        """Select *file*.  Raises IntegrityError if there is no such thing."""
        self._directories.update(with_parents(os.path.dirname(file.path)))
        if file.kind is Kind.DIRECTORY:
            self._directories.add(file.path)
            return
        self.foreign += is_foreign(file.path)
        found = self._ground.file(file.path) or self._ground.symbolic_link(file.path)
        if found is None:
            raise IntegrityError(f"there is no {file.path!r} in it", where=self._newest.path)
        self._paths.setdefault(found.origin, []).append(file.path)

    def unpack(self, member: Member, origin: Origin, target: DiskGround) -> None:
        """Write *member* to *target*, to each of its paths that is selected."""
        if member.what is What.DIRECTORY:
            if member.path in self._directories:
                target.enter(member.path, member.status)
            return
        first, *others = self._paths.get(origin, [""])
        if not first:
            return
        target.enter(os.path.dirname(first))
        if member.what is What.SYMBOLIC_LINK:
            target.add_symbolic_link(member, first)
        else:
            target.write(first, member, is_blob=False)
        for path in others:
            target.enter(os.path.dirname(path))
            target.add_hard_link(first, path)

    def finish(self, target: DiskGround) -> None:
        """Make the directories that no archive has a member for."""
        for path in self._directories:
            target.enter(path)


class _Poured(io.RawIOBase):
    """The bytes of one member of *archive*, which at their end is read up to its own."""

    def __init__(self, archive: Archive, number: int) -> None:
        """Go to the member with that *number*, from 0."""
        self._members = members(archive, ignore)
        for place, member in enumerate(self._members):
            if place == number:
                self._pieces = iter(member.content)
                break
        else:
            raise damaged(archive, "it changed while it was read")
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # what io calls it with
        """Read what fits into *buffer*.  Raises IntegrityError if the archive is damaged."""
        if not self._piece:
            self._piece = next(self._pieces, memoryview(b""))
        if not self._piece:
            for _rest in self._members:  # the seal comes last
                pass
            return 0
        view = memoryview(buffer)
        size = min(len(view), len(self._piece))
        view[:size] = self._piece[:size]
        self._piece = self._piece[size:]
        return size

    def close(self) -> None:
        """Close the archive."""
        self._members.close()
        super().close()
