"""The home that directories are: one of backups, with one beside it for the blobs."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from collective.recipe.backup.destinations.homes import Filled, Home
from collective.recipe.backup.files import Files
from collective.recipe.backup.findings import DoctorFinding
from collective.recipe.backup.model import Place, Source


class DirectoryHome(Home):
    """A home of local directories, of which the first is that of the filestorage backups."""

    def examine(self, files: Files, *, unmounted: Collection[Path] = ()) -> Iterator[DoctorFinding]:
        """Try and look at each of its directories; see Home."""
        # only the doctor needs them
        from collective.recipe.backup.destinations.directory import foreignnames, privacy, probing

        mounted = [each for each in self.fills if each.directory not in unmounted]
        for each in mounted:
            yield from probing.probe(each.directory, files)
        for each in mounted:
            yield from privacy.readers(each)
        for each in mounted:
            yield from foreignnames.mention(each, beside=self.fills[0])


def home_in(source: Source, place: Place, *, only_blobs: bool = False) -> Home:
    """Return the home of *source* that the directories of *place* are.

    The first of them has the lock, and remembers; with *only_blobs* that of the blobs has.
    """
    live = (source.filestorage, source.blobstorage)
    first = place.directories[-1 if only_blobs else 0]
    fills = tuple(map(Filled, place.directories, live))
    return DirectoryHome(label=str(first), state=first, lock=first, fills=fills)
