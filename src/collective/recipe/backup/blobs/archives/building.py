"""The links between the archives of a chain: does each build on the one before?

Our archives name the one before.  Those of GNU tar have a ``.snar`` beside them: without it, or
with an empty one that a failed run left, it is unknown what an incremental archive leaves out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from collective.recipe.backup.blobs.archives.archivenames import Archive
from collective.recipe.backup.blobs.archives.archivereading import mark_of
from collective.recipe.backup.errors import IntegrityError

_HINT = "restore an earlier backup; backups are whole again from the next full one on"


def broken(chain: Sequence[Archive]) -> Iterator[IntegrityError]:
    """Yield the errors between the archives of *chain*; only their begins are read."""
    if chain[0].delta:
        yield IntegrityError(
            "the full archive that this one builds on is missing", where=chain[0].path, hint=_HINT
        )
        return
    for before, archive in pairwise(chain):
        try:
            yield from _between(chain[0], before, archive)
        except IntegrityError as error:
            yield error


def _between(full: Archive, before: Archive, archive: Archive) -> Iterator[IntegrityError]:
    mark = mark_of(archive)
    if mark is None:
        yield from _without_mark(full, archive)
    elif mark.after is None:
        yield IntegrityError(
            "this is a full archive under the name of an incremental one", where=archive.path
        )
    elif mark.after != before.key:
        yield IntegrityError(
            f"this archive builds on that of {mark.after}, which is missing",
            where=archive.path,
            hint=_HINT,
        )


def _without_mark(full: Archive, archive: Archive) -> Iterator[IntegrityError]:
    """Yield what the ``.snar`` of GNU tar says against the *archive*."""
    snar = archive.snar
    own = full.path.with_name(f"{full.storage}.{full.stamp}.snar")
    if snar is None:
        yield IntegrityError(
            f"the file that says on which archive {archive.name} builds is missing",
            where=own,
            hint=_HINT,
        )
    elif snar != own:
        yield IntegrityError(
            f"the full archive that belongs to {snar.name} and {archive.name} is missing",
            where=snar.with_suffix(".tar"),
            hint=_HINT,
        )
    elif not snar.stat().st_size:
        yield IntegrityError(
            f"the file that says on which archive {archive.name} builds is empty",
            where=snar,
            hint=_HINT,
        )
