"""Paths that must not coincide: those of the sources, and those of their backups.

A backup inside its source is copied again and again, or is lost with it; two kinds of backups in
one directory remove each other.  The comparison follows links, as far as the disk has them, so that
spelling does not matter.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from collective.recipe.backup.frozen import dataclass


@dataclass(frozen=True)
class Named:
    """A path, and the option or the words that name it to the user."""

    name: str  # the option, or words for the user
    path: Path  # absolute

    @property
    def real(self) -> Path:
        """The place itself, links followed."""
        return Path(os.path.realpath(self.path))

    def __str__(self) -> str:
        return f"{self.name} ({self.path})"


@dataclass(frozen=True, kw_only=True)
class PartLayout:
    """All paths of a part."""

    filestorages: Sequence[Named]  # of the sources
    blobstorages: Sequence[Named]  # of the sources
    directories: Sequence[Named]  # to which backups are written
    repositories: Sequence[Named] = ()  # on this machine, to which backups are written as well
    pages: Sequence[Named] = ()  # files of reports and metrics
    origins: Sequence[Named] = ()  # directories of other sites, which are only read
    parts: Named | None = None  # directory that buildout may empty; None: there is none


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
