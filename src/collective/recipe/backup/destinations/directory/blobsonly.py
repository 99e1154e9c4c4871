"""The destination of ``only_blobs``: blobs alone, as somebody else backs up the filestorage.

No log says which blobs are new, so each backup looks at the whole blobstorage.  A restore point is
a tree, or an archive with those that it builds on.  It exists as soon as the tree or archive has
its final name, which it gets when it is whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

from collective.recipe.backup import listings
from collective.recipe.backup.blobs.copied import Copied
from collective.recipe.backup.blobs.holdings import Holding, Holdings
from collective.recipe.backup.blobs.layout import Kind, blobs_in
from collective.recipe.backup.blobs.older import disordered
from collective.recipe.backup.chronology import Clock
from collective.recipe.backup.destinations import (
    Depth,
    Outcome,
    Reads,
    damage,
    ownermarks,
)
from collective.recipe.backup.destinations.directory.blobpart import BlobPart, MakeStyle
from collective.recipe.backup.destinations.directory.blobstyles import BlobPlace, Trust
from collective.recipe.backup.destinations.directory.lostpoints import Needs, concerning, problem_of
from collective.recipe.backup.destinations.homes import Home
from collective.recipe.backup.destinations.manifestpoint import what_differs, what_is_lacking
from collective.recipe.backup.destinations.room import Need, check_room
from collective.recipe.backup.destinations.stopwatch import Stopwatch
from collective.recipe.backup.destinations.strangeblobs import strange_blobs
from collective.recipe.backup.errors import BackupError, IntegrityError, explained
from collective.recipe.backup.model import Problem, RestorePoint, Source
from collective.recipe.backup.repozo.unfinished import about_swept
from collective.recipe.backup.restorepoints import Choice
from collective.recipe.backup.times import LAST_TID

if TYPE_CHECKING:
    from collective.recipe.backup.blobs.storedblobs import StoredBlobs
    from collective.recipe.backup.states import State

_A_FEW = 100


class BlobsOnly:
    """The restore points of the blobs of one source; see Destination."""

    def __init__(
        self,
        source: Source,
        home: Home,
        workshop: BlobPlace,
        style: MakeStyle,
        *,
        always: bool = False,
    ) -> None:
        """Make restore points in *style*; with *always* also if nothing is new."""
        self.source = source
        self._always = always
        self.home = home
        self.whole_only = False
        self._shop = workshop
        self._part = BlobPart(workshop, style)

    def opened(self) -> AbstractContextManager[None]:
        """Let each directory be read once; see Destination."""
        return listings.kept()

    def prepare(self) -> None:
        """Check the source and make the directory."""
        if not self._shop.source.is_dir():
            raise BackupError(
                "there is no blobstorage here",
                where=self._shop.source,
                hint="correct blob_storage; is its disk mounted?",
            )
        with explained("cannot make the backup directory"):
            self._shop.files.make_directories(self._shop.directory)

    def check_owner(self) -> None:
        """Refuse the directory of another site; see Destination."""
        self._claim()

    def claim(self) -> None:
        """Mark the directory as that of the source; see Destination."""
        self._claim().write(self._shop.files)

    def _claim(self) -> ownermarks.Claim:
        shop = self._shop
        return ownermarks.claim_blobs_alone(
            shop.directory, shop.storage, self.source, self._is_known
        )

    def _is_known(self) -> bool:
        """Tell whether the newest backup holds one of the first blobs of the source."""
        newest = _newest(self._part.found())
        first = list(islice(blobs_in(self._shop.source), _A_FEW))
        if newest is None or not first:
            return True
        return len(list(newest.lacking(first))) < len(first)

    def _has_none_of(self, newest: Holding | None) -> bool:
        """Tell whether *newest* has blobs of which the source has none."""
        if newest is None:
            return False
        with explained("cannot read the blobstorage", self._shop.source):
            live = blobs_in(self._shop.source)
            while some := list(islice(live, _A_FEW)):
                if len(list(newest.lacking(some))) < len(some):
                    return False
        stored = self._part.open(newest.name, lambda: LAST_TID, None)
        return any(file.kind is Kind.BLOB for file in stored.listed())

    def sweep(self) -> Iterator[str]:
        """Remove what runs that died left half made, or half removed; see Destination."""
        with explained("cannot remove what a run that died has left", self._shop.directory):
            yield from map(about_swept, self._part.sweep())

    def backup(
        self,
        now: datetime,
        *,
        clock: Clock | None = None,
        why_full: str = "",
        accept_changed: bool = False,
    ) -> Outcome:
        """Add a restore point if there is something new; see Destination.

        Raises ConfigurationError if the site has no blob of the newest one and *accept_changed*
        is not set.
        """
        watch = Stopwatch()
        named = now if clock is None else clock.name_for(None)
        with watch.phase("blobs"):
            found = self._part.found()
            if not accept_changed and self._has_none_of(_newest(found)):
                raise strange_blobs(self._shop.source)
            newest, lacking = None if why_full else _newest(found), None
            if newest is not None and not self._always:
                lacking = newest.still_lacks(self._shop.source)
            if newest is not None and lacking is not None:
                name, copied = newest.name, lacking
            else:
                if newest is None:
                    self._check_room()
                doubted = damage.doubted(self.home.state, self.restore_points)
                name, copied = self._part.back_up_all(
                    self._part.unused(named),
                    before=found.archives.get(newest.name) if newest else None,
                    trust=Trust(doubted, accept=accept_changed),
                )
        point = next(each for each in self.restore_points() if each.blobs == name)
        changed = newest is None or name != newest.name
        return Outcome(
            point=replace(
                point,
                problems=(*point.problems, *what_is_lacking(copied)),
                doubts=(*what_differs(copied), *self._part.doubts()),
            ),
            changed=changed,
            summary=_summary(point, copied, changed=changed),
            phases=watch.seconds,
            notes=copied.reasons,
        )

    def room_for_full(self) -> Iterable[Need]:
        """Return the room that the blobs take; see Destination."""
        return self._part.needs()

    def _check_room(self) -> None:
        with explained("cannot look for room", self._shop.directory):
            check_room(self.room_for_full())

    # restore

    def restore_points(self) -> Sequence[RestorePoint]:
        """Return the restore points, oldest first."""
        return damage.marked(self._as_seen(), self.home.state)

    def _as_seen(self) -> list[RestorePoint]:
        """Return the restore points as a quick look shows them."""
        with explained("cannot look at the backups", self._shop.directory):
            found = self._part.found()
            untold = {each.name for each in disordered(found)}
            flaws = found.flaws()
            points = [
                _point(each, flaws.get(name), untold=name in untold) for name, each in found.items()
            ]
        return sorted(points, key=lambda point: point.age)

    def open(self, choice: Choice) -> State:
        """Return the state of *choice*, which has no log; see Destination."""
        from collective.recipe.backup.states import State

        return State(choice, log=lambda: None, blobs=lambda: self._stored_blobs(choice))

    def _stored_blobs(self, choice: Choice) -> StoredBlobs | None:
        name = choice.point.blobs
        return self._part.open(name, lambda: choice.until or LAST_TID, None) if name else None

    # housekeeping

    def remove(
        self,
        points: Iterable[RestorePoint],
        *,
        certain: bool = False,  # noqa: ARG002  protocol
    ) -> str:
        """Remove *points*, but archives that one of the others is built on; see Destination."""
        with explained("cannot remove old backups", self._shop.directory):
            there, going = self._as_seen(), {point.blobs for point in points}
            kept = [point.blobs for point in there if point.blobs not in going]
            after = max((point.stamp for point in there), default="") + "~"
            for _name in self._part.remove_unneeded(kept, after):
                pass
        return ""

    def tidy(self, now: datetime) -> Iterator[str]:  # noqa: ARG002  protocol
        """Leave all as it is: nothing here is in small pieces."""
        return iter(())

    def verify(
        self, depth: Depth, *, only: RestorePoint | None = None, reads: Reads | None = None
    ) -> Iterator[Problem]:
        """Yield problems; see Destination."""
        return concerning(self._problems(depth, only, reads), self._needs)

    def problem_of(self, error: IntegrityError) -> Problem:
        """Return what *error* means; see Destination."""
        return problem_of(error, self._needs())

    def _needs(self) -> Needs:
        """Return what tells which restore points need what."""
        return Needs(self._as_seen(), self._part.found())

    def _problems(
        self, depth: Depth, only: RestorePoint | None, reads: Reads | None
    ) -> Iterator[Problem]:
        with explained("cannot verify the backups", self._shop.directory):
            points = self._as_seen() if only is None else [only]
            needed = {point.blobs: LAST_TID for point in points if point.blobs}
            read = None if depth is Depth.NAMES else reads or _everything
            yield from self._part.verify(needed, only=only is not None, reads=read)


def _newest(found: Holdings) -> Holding | None:
    """Return what the last backup left, None if nothing, or if it was not ours."""
    newest = found.newest
    return newest if newest and newest.certain and newest.ours else None


def _point(holding: Holding, flaw: str | None, *, untold: bool) -> RestorePoint:
    problems = [flaw] if flaw else []
    if untold:
        problems.append("it is unknown when it was made: it was copied without its time")
    return RestorePoint(
        stamp=holding.stamp,
        chain=holding.begins,
        end=0,
        blobs=holding.name,
        stored=holding.stored,
        problems=tuple(problems),
        restorable=flaw is None,
    )


def _summary(point: RestorePoint, copied: Copied, *, changed: bool) -> str:
    if not changed:
        return f"blobs unchanged since {point.stamp}"
    return f"blobs {point.stamp}: {copied}"


def _everything(_name: str) -> bool:
    return True
