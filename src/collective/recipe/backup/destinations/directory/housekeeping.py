"""Removal and repair in a directory: remains of dead runs, unneeded data, small pieces to merge.

A restore point is removed in this order: first its manifest, then its data, then its blobs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import partial
from itertools import groupby

from collective.recipe.backup.amounts import number_of
from collective.recipe.backup.destinations import manifest
from collective.recipe.backup.destinations.directory.directorycontents import DirectoryContents
from collective.recipe.backup.errors import explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.model import RestorePoint
from collective.recipe.backup.progress import Progress
from collective.recipe.backup.repozo import unfinished
from collective.recipe.backup.repozo.chains import Chain
from collective.recipe.backup.repozo.ledger import Part
from collective.recipe.backup.times import beginning_of_hour, stamp

logger = logging.getLogger("backup")


def sweep(contents: DirectoryContents, files: Files) -> Iterator[str]:
    """Finish the work of runs that died; yield, in sentences, what was done."""
    with explained("cannot remove what a run that died has left", contents.directory):
        yield from unfinished.sweep(contents.directory, files)
        if contents.blobs is not None:
            yield from map(unfinished.about_swept, contents.blobs.sweep())
        and_then = partial(_remove_unneeded_blobs, contents)
        yield from unfinished.finish(contents.directory, files, and_then)


def remove(contents: DirectoryContents, points: Iterable[RestorePoint], files: Files) -> None:
    """Remove the chains of which all restore points are among *points*."""
    from collective.recipe.backup.repozo.chainremoval import begin_removal

    journals = []
    with explained("cannot remove old backups", contents.directory):
        there = {chain.stamp: chain for chain in contents.chains()}
        for begin, going in _whole_chains(contents.as_seen(), points):
            for point in reversed(going):
                files.clear(manifest.path_of(contents.directory, point.stamp))
            files.sync_directory(contents.directory)
            # of a restore point that is cut off from its data, the manifest may be all that there
            # is
            if begin in there:
                journals.append(begin_removal(there[begin], files))
        _remove_unneeded_blobs(contents)
        for journal in journals:
            unfinished.forget(journal, files)


def _whole_chains(
    there: Iterable[RestorePoint], named: Iterable[RestorePoint]
) -> Iterator[tuple[str, list[RestorePoint]]]:
    """Yield each chain of which all that is *there* is *named*, with that, oldest first."""
    ages = {point.age for point in named}
    for chain, standing in groupby(there, lambda point: point.chain):
        points = list(standing)
        if ages.issuperset(point.age for point in points):
            yield chain, points


def _remove_unneeded_blobs(contents: DirectoryContents) -> None:
    """Remove blobs that only chains needed which are gone."""
    if contents.blobs is None:
        return
    points = contents.as_seen()
    oldest = min((point.stamp for point in points), default="")
    for name in contents.blobs.remove_unneeded((point.blobs for point in points), oldest):
        logger.debug("removed %s", name)


def merge_small(
    contents: DirectoryContents, now: datetime, *, files: Files, progress: Progress
) -> Iterator[str]:
    """Merge the incremental parts of each hour that is over at *now*; yield sentences.

    The restore point of the last one stays; the moments of the others can be restored as
    before.
    """
    before = stamp(beginning_of_hour(now))
    with explained("cannot merge the backups", contents.directory):
        for chain in contents.chains()[-1:]:
            small = [part for part in chain.parts if not part.full and part.stamp < before]
            yield from _merged(contents, chain, small, files=files, progress=progress)


def _merged(
    contents: DirectoryContents,
    chain: Chain,
    small: Iterable[Part],
    *,
    files: Files,
    progress: Progress,
) -> Iterator[str]:
    """Make one part of the *small* ones of each hour."""
    from collective.recipe.backup.repozo.merge import merge

    for hour, together in groupby(small, lambda part: part.stamp[: len("YYYY-MM-DD-HH")]):
        parts = list(together)
        if len(parts) > 1 and chain.mendable:
            merge(chain, parts, files=files, progress=progress)
            for part in parts[:-1]:
                files.clear(manifest.path_of(contents.directory, part.stamp))
            chain = contents.chain(chain.stamp)  # as it is now
            yield f"merged {number_of(len(parts), 'backup')} of {hour}"
