"""Write archives: all of a blobstorage, or its new blobs, in one pass.

The caller's thread reads the files, two more compress.  An archive gets its name when it is
whole and durable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3

from collective.recipe.backup.blobs.archives.archivebytes import ArchiveBytes
from collective.recipe.backup.blobs.archives.archivenames import Archive, find_archives
from collective.recipe.backup.blobs.archives.seal import ArchiveMark, seal
from collective.recipe.backup.blobs.archives.sources import NotAtOnce, Sources
from collective.recipe.backup.blobs.copied import Copied
from collective.recipe.backup.blobs.copying import How
from collective.recipe.backup.blobs.layout import MARKER, Entry, Kind, walk
from collective.recipe.backup.blobs.marker import laid_out, place_of
from collective.recipe.backup.blobs.placecheck import check_places
from collective.recipe.backup.errors import BackupError, explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.gzipping import compressed
from collective.recipe.backup.model import DEFAULT_LEVEL, BlobId
from collective.recipe.backup.pathlines import in_blocks
from collective.recipe.backup.progress import Advance, Progress, counted
from collective.recipe.backup.times import Tid

_BLOCK_SIZE = 1 << 20


class Supply(NamedTuple):
    """Files that a full archive takes from other places than the source."""

    also: Sequence[BlobId] = ()  # blobs that the source may not even name
    others: Sequence[Path] = ()  # directories with blobs for those that the source lacks
    first: Path | None = None  # directory whose blobs replace those of the source
    marker: bool = False  # whether *first* has the marker of the layout, which the source lacks


def write_full(  # noqa: PLR0913  files and progress come from outside, as everywhere
    source: Path,
    archive: Archive,
    *,
    until: Tid,
    files: Files,
    progress: Progress,
    stamp: str | None = None,
    supply: Supply | None = None,
) -> Copied:
    """Write all of *source* but the blobs later than *until* to *archive*.

    Blobs that vanish meanwhile (a pack) are left out and counted.  *stamp* is noted in it,
    for an archive that is to be numbered.  *supply* says what to take from elsewhere.  Blobs
    that cannot be read are counted as lost, and some are named.  Raises BackupError when the
    source as a whole cannot be read.
    """
    check_places(source, archive.path.parent)
    supply = supply or Supply()

    def write(sources: Sources, advance: Advance) -> ArchiveBytes:
        packing = ArchiveBytes(sources, advance)
        wanted = (entry for entry in walk(source) if not entry.is_later(until))
        entries = _joined(wanted, _entries(source, supply.also))
        if supply.marker:
            marker = Entry(MARKER, Kind.MARKER)
            entries = chain([marker], (entry for entry in entries if entry.path != MARKER))
        _write(archive, packing.pieces(ArchiveMark(None, stamp), entries), files, source)
        return packing

    with progress.phase("blobs", 0, "files") as advance:
        packing = _packed([source, *supply.others], advance, write, first=supply.first)
    return replace(
        _sum(packing),
        foreign=packing.foreign,
        vanished=packing.gone,
        lost=packing.unread,
        whole=packing.size,
        marker=How.COPIED if packing.marked else None,
        others=str(packing.others),
    )


def write_delta(
    sources: Sequence[Path],
    archive: Archive,
    ids: Callable[[], Iterable[BlobId]],
    *,
    files: Files,
    progress: Progress,
) -> Copied | None:
    """Write the blobs *ids* to *archive*, which builds on the newest one before it.

    Returns None, and writes nothing, if there are none.

    Each comes from the first of *sources* that has it; those that none has, and those that
    cannot be read, are counted and named, no error.  Raises BackupError if there is nothing to
    build on.
    """
    check_places(sources[0], archive.path.parent)
    before = [
        each
        for each in find_archives(archive.path.parent, archive.storage)
        if each.stamp and each.age < archive.age
    ]
    if not before:
        raise BackupError(
            "there is no archive that this one could build on",
            where=archive.path,
            hint="make a full backup",
        )
    total, first = counted(ids())
    if (one := next(first, None)) is None:
        return None
    rounds = _rounds(chain([one], first), ids)

    def write(sources: Sources, advance: Advance) -> ArchiveBytes:
        packing = ArchiveBytes(sources, advance)
        wanted = _entries(sources.roots[0], next(rounds))
        pieces = packing.pieces(ArchiveMark(before[-1].key), wanted)
        _write(archive, pieces, files, sources.roots[0])
        return packing

    with progress.phase("new blobs", total, "files") as advance:
        packing = _packed(sources, advance, write)
    return replace(_sum(packing), lost=packing.gone + packing.unread)


def _rounds(
    first: Iterable[BlobId], again: Callable[[], Iterable[BlobId]]
) -> Iterator[Iterable[BlobId]]:
    """Yield *first*, then what *again* finds once more, which may cost much."""
    yield first
    while True:
        yield again()


def _packed(
    roots: Sequence[Path],
    advance: Advance,
    write: Callable[[Sources, Advance], ArchiveBytes],
    *,
    first: Path | None = None,
) -> ArchiveBytes:
    """Write an archive; once more, with care, if a large file cannot be read to its end."""
    try:
        return write(Sources(roots, first=first, care=False), advance)
    except NotAtOnce:
        pass
    try:
        return write(Sources(roots, first=first, care=True), lambda _number: None)
    except NotAtOnce as error:
        raise error.why from error


def _sum(packing: ArchiveBytes) -> Copied:
    """Return the numbers of files that were packed and left out."""
    return Copied(
        files=packing.files,
        size=packing.size,
        missing=tuple(packing.lacking),
        left_out=packing.left.number,
        left=packing.left.first,
        reasons=tuple(packing.left.reasons),
    )


def _joined(entries: Iterable[Entry], also: Iterable[Entry]) -> Iterator[Entry]:
    """Yield *entries*, and those of *also*, which are few, that are not among them."""
    rest = {entry.path: entry for entry in also}
    for entry in entries:
        rest.pop(entry.path, None)
        yield entry
    yield from rest.values()


def _entries(source: Path, ids: Iterable[BlobId]) -> Iterator[Entry]:
    """Yield an entry for each of *ids*, once."""
    layout = laid_out(source)
    seen: set[int] = set()  # numbers are a fifth of what ids take
    for blob in ids:
        key = int.from_bytes(blob.oid + blob.tid, "big")
        if key not in seen:
            seen.add(key)
            yield Entry(place_of(source, layout, blob), Kind.BLOB)


def _write(archive: Archive, pieces: Iterator[bytes], files: Files, source: Path) -> None:
    """Write *archive*, readable for no more users than *source* is."""
    with explained("cannot look at the blobs", source):
        mode = source.stat().st_mode & 0o666
    digest = blake3()
    blocks = in_blocks(pieces, _BLOCK_SIZE)
    with (
        explained("cannot write the archive", archive.path),
        files.writing(archive.path, mode) as writer,
    ):
        for data in compressed(blocks, DEFAULT_LEVEL) if archive.compressed else blocks:
            digest.update(data)
            writer.write(data)
        writer.write(seal(digest.hexdigest(), compressed=archive.compressed))
