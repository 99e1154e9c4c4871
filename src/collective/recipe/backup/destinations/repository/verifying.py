"""Verify the restore points of a site in a repository.

Names: each chunk that one needs lies in a bundle that is there, as far as the nodes say.
Checksums: each of those bundles has the bytes that its name was made of, and the lists of the
blobs can be read.
Records: those of the newest restore point can be loaded, but for very large ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from collective.recipe.backup.amounts import number_of
from collective.recipe.backup.destinations import Depth, Reads
from collective.recipe.backup.destinations.repository.blobpages import BlobPage
from collective.recipe.backup.destinations.repository.logs import stored_log
from collective.recipe.backup.destinations.repository.pointblobs import blob_list, flaw_of_page
from collective.recipe.backup.destinations.repository.pointlist import ListedPoint
from collective.recipe.backup.destinations.repository.storecare import StoreCare
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.filestorage.pickles import flaw_of
from collective.recipe.backup.filestorage.records import RecordReader
from collective.recipe.backup.model import BlobId, Problem
from collective.recipe.backup.repository.chunks import ChunkId
from collective.recipe.backup.repository.names import bundle_name
from collective.recipe.backup.repository.needs import Bundles, concerned, needed_bundles
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.points import Point
from collective.recipe.backup.repository.reaching import Reached
from collective.recipe.backup.repository.reading import ChunkReader
from collective.recipe.backup.repository.scrubbing import is_sound

LARGEST = 1 << 20
"""Bytes of a record that is loaded; of a larger one only its bytes are compared."""

NAMED = 100
"""Records that cannot be loaded, of which each is named; further ones are counted."""

_CHUNK = re.compile(r"[0-9a-f]{64}")
_HINT = "heal stores again what can be read, and what the site or its other backups have"


def problems_of(
    repository: Repository,
    listed: Sequence[ListedPoint],
    depth: Depth,
    reads: Reads | None,
    care: StoreCare,
) -> Iterator[Problem]:
    """Yield problems of restore points, each with the stamps of those that it concerns."""
    for each in listed:
        stamp = each.shown.stamp
        for what in each.shown.problems:
            yield Problem(where=stamp, what=what, points=(stamp,), told=each.shown.sound)
    repository.index.refresh()
    reached = Reached()
    try:
        bundles = needed_bundles(repository, _readable(listed), reached)
        yield from _weak(repository, bundles, care)
        yield from _missing(repository, listed, bundles)
        if depth is not Depth.NAMES:
            yield from _damaged(repository, listed, (bundles, reached), reads)
            yield from _illegible(repository, listed, bundles)
    finally:
        reached.close()
    if depth is Depth.RECORDS:
        sound = [each for each in listed if each.point is not None and each.shown.sound]
        for each in sound[-1:]:
            yield from _unloadable(repository, each)


def _weak(repository: Repository, bundles: Bundles, care: StoreCare) -> Iterator[Problem]:
    """Yield what the store keeps worse than it should, and let it keep all for longer.

    A bundle that is not needed, as one that heal has replaced, may be so.
    """
    needed = {bundle_name(bundle) for bundle in bundles.needed}
    unneeded = {bundle_name(bundle) for bundle in bundles.entries} - needed
    for each in care.of(repository.store):
        if each.name in unneeded:
            continue
        yield Problem(
            where=f"{repository.store.location}/{each.name}",
            what=each.what,
            hint=_HINT if each.is_lost else "it can still be read; heal makes it whole again",
            harmless=not each.is_lost,
            objects=(each.name,) if each.is_lost else (),
        )


def _missing(
    repository: Repository, listed: Sequence[ListedPoint], bundles: Bundles
) -> Iterator[Problem]:
    """Yield chunks that are in no bundle, and nodes that cannot be read."""
    lacking = [*bundles.gaps.missing, *bundles.homeless]
    if lacking:
        pieces = number_of(len(lacking), "piece of what it holds is", "pieces of what it holds are")
        what = f"{pieces} in no bundle that is there"
        objects = _objects(repository, lacking)
        yield _problem(lacking[0].hex(), what, _stamps(repository, listed, lacking), objects)
    for chunk, error in bundles.gaps.damaged.items():
        where, stamps = error.where or chunk.hex(), _stamps(repository, listed, [chunk])
        yield _problem(where, error.what, stamps, _objects(repository, [chunk]))


def _damaged(
    repository: Repository,
    listed: Sequence[ListedPoint],
    needed: tuple[Bundles, Reached],
    reads: Reads | None,
) -> Iterator[Problem]:
    """Yield the bundles whose bytes have changed, of those that are needed."""
    bundles, reached = needed
    names = {bundle_name(bundle): bundle for bundle in sorted(bundles.needed)}
    size = sum(bundles.entries[bundle].size for bundle in bundles.needed)
    with repository.progress.phase("verifying the bundles", size) as advance:
        for name, bundle in names.items():
            if reads is not None and not reads(name):
                advance(bundles.entries[bundle].size)
            elif not is_sound(repository.store, name, advance):
                what = "the bytes of a bundle have changed since they were stored"
                stamps = _stamps(repository, listed, reached.chosen_in(bundle))
                yield _problem(f"{repository.store.location}/{name}", what, stamps, (name,))


def _illegible(
    repository: Repository, listed: Sequence[ListedPoint], bundles: Bundles
) -> Iterator[Problem]:
    """Yield lists of blobs that no restore can read, though their bytes are as they were stored."""
    told = {*bundles.gaps.missing, *bundles.gaps.damaged, *bundles.homeless}
    reader, flaws = ChunkReader(repository), dict[BlobPage, IntegrityError | None]()
    for each in listed:
        if each.point is None or not each.shown.restorable or told.intersection(each.point.roots):
            continue
        found: IntegrityError | None = None
        try:
            pages = blob_list(repository, each.point)
        except IntegrityError as error:
            pages, found = None, error
        for page in pages.pages if pages else ():
            if ChunkId(page.name) in told:
                continue
            if page not in flaws:
                flaws[page] = flaw_of_page(page, reader)
            found = found or flaws[page]
        if found is not None:
            yield Problem(
                where=each.name,
                what=f"its blobs cannot be restored: {found.what}",
                hint="the next backup lists the blobs anew",
                points=(each.shown.stamp,),
            )


def _unloadable(repository: Repository, each: ListedPoint) -> Iterator[Problem]:
    """Yield the records of a restore point that cannot be loaded, the first of many."""
    hint = "the record was so in the live site when it was backed up: look there"
    log = stored_log(repository, each.point, None) if each.point is not None else None
    if log is None:
        return
    stamps, found = (each.shown.stamp,), 0
    with repository.progress.phase("verifying the records", each.shown.end) as advance:
        reader = RecordReader(log, LARGEST)
        try:
            for transaction in log.transactions():
                for record, data in reader.records(transaction):
                    flaw = flaw_of(data) if 0 < record.size <= LARGEST else ""
                    if flaw and found < NAMED:
                        found += 1
                        blob = BlobId(record.oid, record.tid)
                        what = f"the record of {blob} cannot be loaded: {flaw}"
                        hint = (
                            "the record was so in the live site when it was backed up: look there"
                        )
                        yield Problem(
                            where=each.name, what=what, hint=hint, inherited=True, points=stamps
                        )
                advance(transaction.end - transaction.begin)
        except IntegrityError as error:
            yield Problem(where=error.where, what=error.what, hint=error.hint, points=stamps)


def _stamps(
    repository: Repository, listed: Sequence[ListedPoint], chunks: Iterable[ChunkId]
) -> tuple[str, ...]:
    names = concerned(repository, _readable(listed), chunks)
    return tuple(sorted(each.shown.stamp for each in listed if each.name in names))


def _readable(listed: Sequence[ListedPoint]) -> list[Point]:
    return [each.point for each in listed if each.point is not None]


def _objects(repository: Repository, chunks: Iterable[ChunkId]) -> tuple[str, ...]:
    """Return the names of the bundles that should have *chunks*."""
    return tuple(map(bundle_name, sorted(repository.index.bundles_of(chunks))))


def _problem(where: str, what: str, stamps: tuple[str, ...], objects: tuple[str, ...]) -> Problem:
    return Problem(where=where, what=what, hint=_HINT, points=stamps, objects=objects)


def problem_of(
    repository: Repository, listed: Sequence[ListedPoint], error: IntegrityError
) -> Problem:
    """Return what *error* means for restore points: those that need what it names."""
    named = [each.shown.stamp for each in listed if each.name and error.where.endswith(each.name)]
    chunk = _CHUNK.search(error.where)
    objects: tuple[str, ...] = ()
    if not named and chunk:
        chunks = [ChunkId(bytes.fromhex(chunk[0]))]
        named = [*_stamps(repository, listed, chunks)]
        objects = _objects(repository, chunks)
    return Problem(
        where=error.where, what=error.what, hint=error.hint, points=tuple(named), objects=objects
    )
