"""The restore points that need a path, and that are lost when it is damaged.

An incremental part is needed by its own restore point and all later ones of its chain, a
blob by those whose filestorage can name it, an archive by all that are built on it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from collective.recipe.backup.blobs.holdings import Holding
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.model import BlobId, Problem, RestorePoint
from collective.recipe.backup.repozo.chains import Chain
from collective.recipe.backup.repozo.ledger import Part


class Needs:
    """The parts of *chains* and the *holdings* that *points* need."""

    def __init__(
        self,
        points: Sequence[RestorePoint],
        holdings: Mapping[str, Holding],
        chains: Iterable[Chain] = (),
    ) -> None:
        self._points = points
        self._stamps = {point.stamp for point in points}
        self._parts: dict[Path, tuple[Chain, Part]] = {
            chain.path(part): (chain, part) for chain in chains for part in chain.parts
        }
        self._names = set(holdings)
        self._holders: dict[Path, list[Holding]] = defaultdict(list)
        for holding in holdings.values():
            for path in holding.paths:
                self._holders[path].append(holding)

    def of(self, where: str) -> Iterator[str]:
        """Yield the stamps of the restore points that need *where*.

        *where* is a path, the name of a holding, or the stamp of a restore point.
        """
        if where in self._stamps:
            yield where
        elif where in self._names:
            yield from self._holding([where], None)
        elif found := self._parts.get(Path(where)):
            chain, part = found
            for point in self._points:
                if point.chain == chain.stamp and point.stamp >= part.stamp:
                    yield point.stamp
        else:
            yield from self._below(Path(where))

    def _below(self, where: Path) -> Iterator[str]:
        """Yield those that need an archive, or something in a tree."""
        for path in (where, *where.parents):
            if path in self._holders:
                holders = self._holders[path]
                blob = holders[0].blob_at(where)  # if it is a file in a tree, that is the only one
                yield from self._holding([each.name for each in holders], blob)
                return

    def _holding(self, names: Sequence[str], blob: BlobId | None) -> Iterator[str]:
        for point in self._points:
            if point.blobs in names and not _is_later(blob, point):
                yield point.stamp


def concerning(problems: Iterable[Problem], needs: Callable[[], Needs]) -> Iterator[Problem]:
    """Yield *problems* with their restore points; *needs* is asked when there is the first."""
    found: Needs | None = None
    for problem in problems:
        found = found or needs()
        yield replace(problem, points=tuple(found.of(problem.where)))


def problem_of(error: IntegrityError, needs: Needs) -> Problem:
    """Return what *error* says, with the restore points that it concerns."""
    points = tuple(needs.of(error.where))
    return Problem(where=error.where, what=error.what, hint=error.hint, points=points)


def _is_later(blob: BlobId | None, point: RestorePoint) -> bool:
    return blob is not None and point.tid is not None and blob.tid > point.tid
