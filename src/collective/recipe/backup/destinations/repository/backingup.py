"""One backup of a source to a repository.

If the filestorage looks as it did when the newest restore point was made, nothing is stored, and no
key is derived from a passphrase.  Most runs are of this kind, so the imports of the others come
later.  Otherwise the new part of the log is stored; if the log equals that of the newest restore
point, no other one is made.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from collective.recipe.backup.chronology import Clock
from collective.recipe.backup.destinations import Outcome
from collective.recipe.backup.destinations.livesource import rights_in
from collective.recipe.backup.destinations.repository.logmemory import (
    FileLook,
    LogMemory,
    look_at,
)
from collective.recipe.backup.destinations.repository.place import RepositoryPlace
from collective.recipe.backup.destinations.repository.pointlist import (
    ListedPoint,
    listed_points,
    shown_point,
)
from collective.recipe.backup.destinations.stopwatch import Stopwatch
from collective.recipe.backup.model import Source
from collective.recipe.backup.repository.controls import DAMAGED, Control
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.points import Point
from collective.recipe.backup.repository.rollback import check_rollback, note_seen
from collective.recipe.backup.rights import Rights
from collective.recipe.backup.stores import NoSuchObject

if TYPE_CHECKING:
    from collective.recipe.backup.destinations.repository.newpoint import NewPoint, SitePoints


class RepositoryBackup:
    """A backup of *source* to its *place* in the repository."""

    what = "filestorage"
    """Name of the source, for messages."""

    def __init__(self, repository: Repository, source: Source, place: RepositoryPlace) -> None:
        self._repository = repository
        self._source = source
        self._place = place
        self._watch = Stopwatch()

    def doubt(self, objects: Collection[str]) -> None:
        """Have no trust in *objects*, those of a store that were found damaged or gone."""
        if not objects:
            return
        from collective.recipe.backup.repository.doubts import doubt_objects

        doubt_objects(self._repository, objects)

    def outcome(self, clock: Clock, *, anew: bool, accept_changed: bool) -> Outcome:
        """Make a restore point, if something changed; *anew*: in any case, and built on none.

        A blob that is read, and that the site lacks or has otherwise than an earlier restore
        point, is taken over from there; with *accept_changed* it is as the site has it.
        """
        repository, site = self._repository, self._place.site
        with self._watch.phase("looking"):
            control = repository.look()
            check_rollback(repository, control)
            listed = listed_points(repository, control, site)
            last = None if anew else self._newest_of_these_rights(listed)
        look, memory = self._look(), LogMemory(repository.cache, site)
        is_whole = last is not None and last.shown.whole and not _has_damage(repository, control)
        is_as_before = last is not None and look is not None and memory.recall(last.name) == look
        is_settled = is_whole and is_as_before and last is not None and not last.shown.doubts
        if last is not None and is_settled and self._files_are(last):
            return self._unchanged(last)
        with repository.unlocking():
            from collective.recipe.backup.destinations.repository.newpoint import SitePoints

            new = self._new_point(SitePoints(control, listed, last))
        point = new.stored(clock, anew=anew, accept_changed=accept_changed)
        made = point or last
        if look is not None and made is not None:
            memory.remember(made.name, look)
        if point is None and last is not None:
            return self._unchanged(last)
        assert point is not None  # noqa: S101  nothing is left out but for what the last one has
        note_seen(repository, [point])
        return self._made(point, new.notes)

    def _look(self) -> FileLook | None:
        """Return how the filestorage looks; None: it must be read to know of changes."""
        return look_at(self._source.filestorage)

    def _new_point(self, seen: SitePoints) -> NewPoint:
        """Return the maker of the next restore point, given the points *seen* of the site."""
        from collective.recipe.backup.destinations.repository.newpoint import NewPoint

        return NewPoint(self._repository, self._source, self._place, seen, self._watch)

    def _rights(self) -> Mapping[str, Rights]:
        """Return the rights of the sources."""
        return rights_in(self._source.filestorage, self._source.blobstorage)

    def _newest_of_these_rights(self, listed: Sequence[ListedPoint]) -> ListedPoint | None:
        """Return the newest restore point; None if it lacks data, or rights have changed since."""
        newest = max(listed, key=lambda each: each.shown.age, default=None)
        if newest is None or newest.point is None or newest.lacks:
            return None
        return newest if newest.shown.rights == self._rights() else None

    def _files_are(self, last: ListedPoint) -> bool:
        """Tell whether the further files are what the restore point *last* has."""
        wanted = self._place.files
        if wanted is None or last.point is None:
            return wanted is None
        from collective.recipe.backup.destinations.repository.treebackup import has_same_files

        with self._watch.phase("looking at the files"):
            return has_same_files(wanted, self._repository, last.point)

    def _unchanged(self, last: ListedPoint) -> Outcome:
        return Outcome(
            point=last.shown,
            changed=False,
            summary=f"{self.what} unchanged since {last.shown.stamp}",
            phases=self._watch.seconds,
        )

    def _made(self, point: Point, notes: Sequence[str]) -> Outcome:
        shown = shown_point(point)
        return Outcome(
            point=shown,
            changed=True,
            summary=f"{self.what} {shown.stamp}: {shown.stored:,} bytes added to the repository",
            phases=self._watch.seconds,
            notes=tuple(notes),
        )


def _has_damage(repository: Repository, control: Control) -> bool:
    """Tell whether bundles are marked as damaged, so that their chunks may be lost."""
    for entry in control.marks:
        with suppress(NoSuchObject):
            if repository.controls.mark(entry).reason == DAMAGED:
                return True
    return False
