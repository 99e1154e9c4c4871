"""Places that must not coincide: what is backed up, and where its backups lie.

A backup inside of what it is a backup of is copied again and again, or goes with it; two
kinds of backups in one directory remove each other.  Compared are the places themselves,
however they are spelled: links followed, as far as the disk has them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from collective.recipe.backup.frozen import dataclass


@dataclass(frozen=True)
class Named:
    """A path, and the option or the words that name it to the user."""

    name: str
    path: Path

    @property
    def real(self) -> Path:
        """The place itself, links followed."""
        return Path(os.path.realpath(self.path))

    def __str__(self) -> str:
        return f"{self.name} ({self.path})"


@dataclass(frozen=True, kw_only=True)
class PartLayout:
    """All the places of a part.

    *directories* are those that backups are written to, *repositories* those of this machine
    that are used as well, *pages* the files that tell of the backups, *origins* those of other
    sites that are only read, *parts* is what buildout removes whenever it likes.
    """

    filestorages: Sequence[Named]
    blobstorages: Sequence[Named]
    directories: Sequence[Named]
    repositories: Sequence[Named] = ()
    pages: Sequence[Named] = ()
    origins: Sequence[Named] = ()
    parts: Named | None = None


def overlaps(layout: PartLayout) -> Iterator[str]:
    """Yield a sentence for each pair of places that must not coincide and does."""
    kept = (*layout.directories, *layout.repositories)
    for places, what in (
        (kept, "directory"),
        (layout.filestorages, "filestorage"),
        (layout.blobstorages, "blobstorage"),
    ):
        yield from _same(places, what)
    for directory in kept:
        yield from _around_sources(directory, layout)
        if layout.parts and _within(directory, layout.parts):
            yield f"{directory} lies in {layout.parts}, which buildout empties"
    for blobstorage in layout.blobstorages:
        for inner in (*layout.filestorages, *kept, *layout.pages, *layout.origins):
            if _within(inner, blobstorage):
                yield f"{inner} lies in {blobstorage}, which holds blobs and nothing else"
    yield from _beside(layout)
    yield from _replaced(layout)


def _beside(layout: PartLayout) -> Iterator[str]:
    """Yield a sentence for each repository that is not beside all other backups."""
    for position, repository in enumerate(layout.repositories):
        for other in (*layout.directories, *layout.repositories[position + 1 :]):
            for inner, outer in ((repository, other), (other, repository)):
                if inner.real != outer.real and _within(inner, outer):
                    yield f"{inner} lies in {outer}: a repository needs a directory of its own"


def _replaced(layout: PartLayout) -> Iterator[str]:
    """Yield a sentence for each page that would take the place of another file."""
    for position, page in enumerate(layout.pages):
        for other in (*layout.filestorages, *layout.pages[position + 1 :]):
            if page.real == other.real:
                yield f"{page} and {other} are the same file"


def _same(places: Iterable[Named], what: str) -> Iterator[str]:
    groups: dict[Path, list[Named]] = {}
    for place in places:
        groups.setdefault(place.real, []).append(place)
    for group in groups.values():
        if len(group) > 1:
            yield f"{' and '.join(map(str, group))} are the same {what}"


def _around_sources(directory: Named, layout: PartLayout) -> Iterator[str]:
    for filestorage in layout.filestorages:
        if _within(filestorage, directory):
            yield f"{directory} holds {filestorage}: backups need a directory of their own"
    for blobstorage in layout.blobstorages:
        if _within(blobstorage, directory) and blobstorage.real != directory.real:
            yield f"{directory} holds {blobstorage}: backups need a directory of their own"


def _within(inner: Named, outer: Named) -> bool:
    return inner.real.is_relative_to(outer.real)
