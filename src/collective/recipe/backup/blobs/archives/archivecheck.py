"""Verify archives; nothing is changed.

``verify_names`` checks whether the archives on which each builds are there; ``verify_contents``
reads every byte as well.  Archives of GNU tar have no digests: if they are not compressed, damage
to the bytes of a file in them cannot be seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

from collective.recipe.backup.blobs.archives.archivenames import Archive, find_chains
from collective.recipe.backup.blobs.archives.archivereading import mark_of, members
from collective.recipe.backup.blobs.archives.building import broken
from collective.recipe.backup.blobs.archives.stored import other_size
from collective.recipe.backup.blobs.layout import blob_of
from collective.recipe.backup.errors import BackupError
from collective.recipe.backup.model import BlobId, Problem
from collective.recipe.backup.progress import Progress, ignore

_BATCH = 50_000


def is_ours(archive: Archive) -> bool:
    """Tell whether we wrote *archive*, so that it has a seal and others can build on it.

    Raises IntegrityError where it is damaged too much to tell.
    """
    return mark_of(archive) is not None


def verify_names(archives: Sequence[Archive]) -> Iterator[Problem]:
    """Yield problems between *archives*, which come oldest first."""
    for chain in find_chains(archives):
        for error in broken(chain):
            yield _problem(error)


def everything(_archive: Archive) -> bool:
    """Want all of them."""
    return True


def verify_contents(
    archives: Sequence[Archive],
    *,
    progress: Progress,
    wants: Callable[[Archive], bool] = everything,
    sizes: Mapping[tuple[Archive, ...], int] | None = None,
) -> Iterator[Problem]:
    """Yield what ``verify_names`` yields, and which other archives are damaged.

    Only those are read that *wants* asks for.  *sizes* has for a chain the bytes of the files
    that all its archives hold; it is looked at if all of them are read and are whole.
    """
    named = set()
    for problem in verify_names(archives):
        named.add(problem.where)
        yield problem
    wanted = [archive for archive in archives if wants(archive)]
    size = sum(archive.path.stat().st_size for archive in wanted)
    held: dict[Archive, int] = {}
    with progress.phase("verifying the archives", size) as advance:
        for archive in wanted:
            try:
                held[archive] = sum(each.status.st_size for each in members(archive, advance))
            except BackupError as error:
                if error.where not in named:
                    yield _problem(error)
    for chain, expected in (sizes or {}).items():
        if held.keys() >= set(chain):
            found = sum(held[archive] for archive in chain)
            if found != expected:
                yield _problem(other_size(chain, found=found, expected=expected))


def missing(archives: Sequence[Archive], ids: Iterable[BlobId]) -> Iterator[BlobId]:
    """Yield those of *ids* whose blobs none of *archives* holds.

    All archives are read, once for every 50,000 ids: ask for few.
    """
    rest = iter(ids)
    while batch := dict.fromkeys(islice(rest, _BATCH)):
        for archive in archives:
            for member in members(archive, ignore):
                blob = blob_of(member.path)
                if blob:
                    batch.pop(blob, None)
        yield from batch


def _problem(error: BackupError) -> Problem:
    return Problem(where=error.where, what=error.what, hint=error.hint)
