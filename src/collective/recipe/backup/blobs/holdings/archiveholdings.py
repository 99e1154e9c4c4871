"""An archive of blobs as a holding, with the archives on which it builds.

Most runs only look whether it is there.  So each method imports the rooms that it alone needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from collective.recipe.backup.blobs.archives import archivenames
from collective.recipe.backup.blobs.archives.archivenames import Archive, find_archives, find_chains
from collective.recipe.backup.blobs.numbered import stamp_of
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.files import Files
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.model import BlobId, Problem
from collective.recipe.backup.progress import Progress
from collective.recipe.backup.times import Tid

if TYPE_CHECKING:
    from collective.recipe.backup.blobs.archives.storedarchives import ArchivedBlobs
    from collective.recipe.backup.blobs.copied import Copied


@dataclass(frozen=True, kw_only=True)
class Archived:
    """An archive, and the chain of archives that must be unpacked for its state."""

    archive: Archive  # the last one of the chain
    chain: tuple[Archive, ...]  # full archive first, this one last
    name: str  # in restore points
    stamp: str  # of the restore point
    certain: bool = True  # whether its time is certain

    @property
    def number(self) -> int | None:
        """See Holding."""
        return self.archive.number

    @property
    def ours(self) -> bool:
        """Tell whether it has our mark."""
        from collective.recipe.backup.blobs.archives.archivereading import mark_of

        return mark_of(self.archive) is not None

    @property
    def paths(self) -> list[Path]:
        """The archives of its chain."""
        return [archive.path for archive in self.chain]

    @property
    def begins(self) -> str:
        """The stamp of the first of its chain; its own, if that has a number."""
        return self.chain[0].stamp or self.stamp

    @property
    def stored(self) -> int:
        """The size of the archive."""
        return self.archive.path.stat().st_size

    def blob_at(self, path: Path) -> BlobId | None:  # noqa: ARG002  see Holding
        """None: all blobs lie in one file."""
        return None

    def lacking(self, ids: Iterable[BlobId]) -> Iterator[BlobId]:
        """Read the whole chain for them."""
        from collective.recipe.backup.blobs.archives import archivecheck

        return archivecheck.missing(self.chain, ids)

    def foreign(self) -> str:
        """Return the fingerprint of the non-blob files; see the room foreign.

        Deltas hold blobs alone, so only the headers of the first archive are read, all of them.
        Raises IntegrityError.
        """
        from collective.recipe.backup.blobs.archives.archivereading import What, glances
        from collective.recipe.backup.blobs.foreign import Foreign
        from collective.recipe.backup.blobs.layout import MARKER, blob_of

        found = Foreign()
        for member in glances(self.chain[0]):
            if member.path == MARKER or blob_of(member.path):
                continue
            if member.what is What.FILE:
                found.add_file(member.path, member.status)
            elif member.what is What.SYMBOLIC_LINK:
                found.add_link(member.path, member.link)
        return str(found)

    def still_lacks(self, source: Path) -> Copied | None:
        """Look for each blob in the chain, and compare the foreign files; see Holding."""
        from collective.recipe.backup.blobs.copied import Copied
        from collective.recipe.backup.blobs.digesting import is_legible
        from collective.recipe.backup.blobs.foreign import foreign_of
        from collective.recipe.backup.blobs.layout import blobs_in
        from collective.recipe.backup.blobs.marker import laid_out, place_of

        others, left_out = foreign_of(source, read=False)
        if left_out or (others and others != self.foreign()):
            return None
        layout, unread = laid_out(source), []
        for blob in self.lacking(blobs_in(source)):
            if is_legible(source, place_of(source, layout, blob)):
                return None
            unread.append(blob)
        return Copied().lacking(unread)

    def has_foreign_of(self, source: Path, others: str, left_out: int) -> bool:
        """Compare digests, if there was anything; see Holding."""
        if not others and not left_out:
            return True
        from collective.recipe.backup.blobs.foreign import foreign_of

        return foreign_of(source, read=left_out > 0) == (others, left_out)

    def open(self, until: Callable[[], Tid], size: int | None) -> ArchivedBlobs:
        """See Holding."""
        from collective.recipe.backup.blobs.archives.storedarchives import ArchivedBlobs

        return ArchivedBlobs(self.chain, until=until, size=size)

    def remove(self, files: Files) -> bool:
        """Remove the archive; see Holding."""
        archivenames.remove(self.archive, files)
        return True


def verify(
    archived: Iterable[Archived],
    *,
    sizes: Mapping[str, int],
    reads: Callable[[str], bool] | None,
    progress: Progress,
) -> Iterator[Problem]:
    """Yield problems of *archived* and of the archives on which they build, each read once.

    *sizes* has the bytes of files of some of them.  *reads* is asked for each archive, by its name,
    whether to read it; None: none of them.
    """
    from collective.recipe.backup.blobs.archives.archivecheck import verify_contents, verify_names

    archived = list(archived)
    # each with what it builds on, which is another's chain as well
    together = {archive for each in archived for archive in each.chain}
    ordered = sorted(together, key=lambda archive: archive.age)
    if reads is None:
        yield from verify_names(ordered)
        return
    yield from verify_contents(
        ordered,
        progress=progress,
        wants=lambda archive: reads(archive.name),
        sizes={each.chain: sizes[each.name] for each in archived if each.name in sizes},
    )


def flaws(archived: Iterable[Archived]) -> dict[str, str]:
    """Return why some of *archived* cannot be restored, by name, as far as a quick look tells.

    Only the beginnings of archives are read; where they come oldest first, once for each chain
    that is whole.
    """
    archived = list(archived)
    if not archived:
        return {}
    from collective.recipe.backup.blobs.archives.building import broken

    found, sound = {}, set[Archive]()
    for each in reversed(archived):
        if each.archive in sound:
            continue
        error = next(broken(each.chain), None)
        if error is None:
            sound.update(each.chain)
        else:
            found[each.name] = error.what
    return found


def find_archived(directory: Path, storage: str) -> Iterator[Archived]:
    """Yield the archives of the storage *storage* in *directory*."""
    for chain in find_chains(find_archives(directory, storage)):
        for number, archive in enumerate(chain, 1):
            yield _archived(archive, tuple(chain[:number]))


def _archived(archive: Archive, chain: tuple[Archive, ...]) -> Archived:
    if archive.stamp:
        return Archived(archive=archive, chain=chain, name=archive.name, stamp=archive.stamp)
    recorded = _recorded(archive)
    if recorded is None:
        stamp = stamp_of(archive.path)
        return Archived(archive=archive, chain=chain, name=archive.name, stamp=stamp, certain=False)
    own = archivenames.planned(
        archive.path.parent, archive.storage, recorded, compressed=archive.compressed
    )
    return Archived(archive=archive, chain=chain, name=own.name, stamp=recorded)


def _recorded(archive: Archive) -> str | None:
    """Return the stamp that a numbered archive of ours was made for."""
    from collective.recipe.backup.blobs.archives.archivereading import mark_of

    try:
        mark = mark_of(archive)
    except IntegrityError:  # verify says so
        return None
    return mark.stamp if mark else None
