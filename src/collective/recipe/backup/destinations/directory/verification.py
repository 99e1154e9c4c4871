"""Verify a directory: names, contents, records, and the blobs of each.

Nothing is changed.  The search goes on after each problem.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path

from collective.recipe.backup.destinations import Depth, Reads, manifest
from collective.recipe.backup.destinations.directory.blobpart import BlobPart
from collective.recipe.backup.destinations.directory.directorypoints import restore_points
from collective.recipe.backup.destinations.directory.recordcheck import verify_records, walked
from collective.recipe.backup.errors import explained
from collective.recipe.backup.model import BlobId, Problem, RestorePoint
from collective.recipe.backup.progress import Progress
from collective.recipe.backup.repozo.chaincheck import (
    Wants,
    all_parts,
    verify_contents,
    verify_names,
)
from collective.recipe.backup.repozo.chains import Chain, read_directory
from collective.recipe.backup.repozo.ledger import Part
from collective.recipe.backup.times import ZERO_TID, Tid


class Verification:
    """One look at *directory* and its *blobs* (None: it has none)."""

    def __init__(self, directory: Path, blobs: BlobPart | None, progress: Progress) -> None:
        self._directory = directory
        self._blobs = blobs
        self._progress = progress

    def problems(
        self, depth: Depth, *, only: RestorePoint | None = None, reads: Reads | None = None
    ) -> Iterator[Problem]:
        """Yield problems; see Destination.verify."""
        directory = self._directory
        with explained("cannot verify the backups", directory):
            # restore points without the findings of earlier looks: those are no problems of this
            # one
            points = [each for each in self._points if only is None or each.stamp == only.stamp]
            wants = all_parts if only is None else partial(_belongs_to, only)
            yield from verify_names(directory, wants)
            for point in points:
                for problem in point.problems:
                    yield Problem(where=point.stamp, what=problem, told=point.restorable)
            if depth is not Depth.NAMES:
                read = partial(_is_read, wants, reads) if reads else wants
                chains = read_directory(directory).chains if depth is Depth.RECORDS else ()
                # those are read once, for their records
                read = partial(_is_not_in, walked(chains, points), read)
                yield from verify_contents(directory, self._progress, read)
            if depth is Depth.RECORDS:
                lacking = self._lacking if self._blobs else None
                yield from verify_records(chains, points, lacking, self._progress)
            if self._blobs is not None:
                yield from self._blobs.verify(
                    _needed(points),
                    sizes=_sizes(points),
                    only=only is not None,
                    reads=None if depth is Depth.NAMES else reads or _everything,
                )

    @cached_property
    def _points(self) -> list[RestorePoint]:
        return restore_points(self._directory, self._blobs)

    def _lacking(self, name: str, ids: Iterable[BlobId]) -> Iterator[BlobId]:
        """Yield the blobs that *name* does not hold, but those that the source had lost."""
        assert self._blobs is not None  # noqa: S101  the caller looked, for the type
        for blob in self._blobs.lacking(name, ids):
            if blob not in self._lost_at_source:
                yield blob

    @cached_property
    def _lost_at_source(self) -> Collection[BlobId]:
        """The blobs that restore points say are missing."""
        stamps = [point.stamp for point in self._points if point.restorable and not point.whole]
        found = (manifest.read(self._directory, stamp) for stamp in stamps)
        return {blob for written in found if written for blob in written.missing}


def _needed(points: Iterable[RestorePoint]) -> Mapping[str, Tid]:
    """Return up to which transaction each set of blobs must be whole."""
    needed: dict[str, Tid] = {}
    for point in points:
        if point.blobs is not None:
            needed[point.blobs] = max(needed.get(point.blobs, ZERO_TID), point.tid or ZERO_TID)
    return needed


def _sizes(points: Iterable[RestorePoint]) -> Mapping[str, int]:
    """Return the bytes of all files of each set of blobs, as its last restore point says."""
    last = {point.blobs: point for point in sorted(points, key=lambda point: point.age)}
    return {
        name: point.blob_bytes
        for name, point in last.items()
        if name is not None and point.blob_bytes is not None
    }


def _belongs_to(point: RestorePoint, chain: Chain, part: Part) -> bool:
    return chain.stamp == point.chain and part.stamp <= point.stamp


def _is_read(wants: Wants, reads: Reads, chain: Chain, part: Part) -> bool:
    return wants(chain, part) and reads(part.name)


def _is_not_in(names: Collection[str], wants: Wants, chain: Chain, part: Part) -> bool:
    return part.name not in names and wants(chain, part)


def _everything(_name: str) -> bool:
    return True
