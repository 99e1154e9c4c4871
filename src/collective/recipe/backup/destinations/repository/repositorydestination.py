"""The destination in a repository: restore points that share equal data, sealed, elsewhere.

A backup stores the part of the log that an earlier restore point does not have, then the new blobs,
and puts the restore point last.  Nothing here is locked: runs of several hosts do not disturb each
other (see ``repository.writing``).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from collective.recipe.backup import listings
from collective.recipe.backup.chronology import Clock
from collective.recipe.backup.destinations import Depth, Outcome, Reads, damage
from collective.recipe.backup.destinations.livesource import check_source
from collective.recipe.backup.destinations.past import knows_any, shares_any
from collective.recipe.backup.destinations.repository.backingup import RepositoryBackup
from collective.recipe.backup.destinations.repository.place import RepositoryPlace
from collective.recipe.backup.destinations.repository.pointlist import (
    ListedPoint,
    listed_points,
    mention_other_sites,
)
from collective.recipe.backup.destinations.repository.storecare import StoreCare
from collective.recipe.backup.destinations.repository.thinning import served_by_others
from collective.recipe.backup.errors import (
    ConfigurationError,
    IntegrityError,
    NoRestorePoint,
    explained,
)
from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage.framing import DAMAGE_HINT
from collective.recipe.backup.model import Problem, RestorePoint, Source
from collective.recipe.backup.progress import Progress
from collective.recipe.backup.repository.opened import Client, Repository, open_repository
from collective.recipe.backup.repository.points import Point
from collective.recipe.backup.repository.pruning import floor, prune
from collective.recipe.backup.stores import Store
from collective.recipe.backup.times import monotonic

if TYPE_CHECKING:
    from collective.recipe.backup.destinations.room import Need
    from collective.recipe.backup.restorepoints import Choice
    from collective.recipe.backup.states import State

logger = logging.getLogger("backup")


_FRESH = 10.0
"""Seconds for which a look at the restore points counts: listings of a store lag longer."""


class _Seen(NamedTuple):
    """The restore points as they were at a moment."""

    points: Sequence[RestorePoint]  # oldest first
    moment: float  # seconds, see times.monotonic


class RepositoryDestination:
    """The restore points of one source in a repository; see Destination."""

    whole_only = False
    what = "filestorage"
    """Name of the kind of source, in words."""

    def __init__(  # noqa: PLR0913  the last three come from outside, as everywhere
        self,
        source: Source,
        place: RepositoryPlace,
        *,
        store: Store,
        files: Files,
        progress: Progress,
        care: StoreCare | None = None,
    ) -> None:
        self.source = source
        self.home = place.home
        self._place = place
        self._site = place.site
        self._store = store
        self._files = files
        self._progress = progress
        self._care = care or StoreCare()
        self._is_to_add = False  # if so, the keys are not needed until there is something to add
        self._opened: Repository | None = None
        self._run: ExitStack | None = None  # None: no run works with it
        self._seen: _Seen | None = None  # what this run saw last; None: to be looked at

    # the repository

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Let the repository be opened once; see Destination."""
        with listings.kept(), ExitStack() as held:
            self._run = held
            try:
                yield
            finally:
                self._run = self._opened = self._seen = None

    @contextmanager
    def _repository(self) -> Iterator[Repository]:
        """Yield the repository: that of the run, or one for the body alone."""
        if self._run is None:
            with self._open_it() as repository:
                yield repository
            return
        if self._opened is None:
            self._opened = self._run.enter_context(self._open_it())
        yield self._opened

    def _open_it(self) -> Repository:
        client = Client(
            files=self._files,
            cache=self._place.cache,
            ask=self._place.ask,
            progress=self._progress,
            tell=partial(logger.warning, "%s"),
        )
        repository = open_repository(self._store, client)
        try:
            # that it is lost, or wrong, is to be found out before it is needed
            if self._is_to_add:
                repository.passphrase  # noqa: B018
            else:
                repository.keyring  # noqa: B018
        except BaseException:
            repository.close()
            raise
        return repository

    def _listed(self, repository: Repository) -> list[ListedPoint]:
        return listed_points(repository, repository.look(), self._site)

    # backup

    def prepare(self) -> None:
        """Check the source and open the repository, which must have been made."""
        self._check_source()
        self._is_to_add = True
        with explained("cannot make the directory for notes about the repository", self.home.state):
            if not self.home.state.is_dir():
                self._files.make_directories(self.home.state)
        with self._repository():
            pass

    def check_owner(self) -> None:
        """Refuse the restore points of another site; see Destination."""
        if not self._is_known():
            raise ConfigurationError(
                f"the restore points of {self._site} in the repository are those of another "
                f"{self.what}",
                where=self.home.label,
                hint="give this site a name of its own in the repository: site_name",
            )

    def _check_source(self) -> None:
        """Raise BackupError if a source is not there."""
        check_source(self.source)

    def _is_known(self) -> bool:
        """Tell whether the restore points may be those of the source."""
        points, filestorage = self._as_seen(), self.source.filestorage
        return knows_any(filestorage, points) or shares_any(filestorage, points, self.open)

    def _backup(self, repository: Repository) -> RepositoryBackup:
        """Return what backs up the source."""
        return RepositoryBackup(repository, self.source, self._place)

    def claim(self) -> None:
        """Refuse the restore points of another site; the names of ours are mark enough."""
        self.check_owner()

    def sweep(self) -> Iterator[str]:
        """Do nothing: later runs use the chunks that dead runs have stored."""
        return iter(())

    def backup(
        self,
        now: datetime,
        *,
        clock: Clock | None = None,
        why_full: str = "",
        accept_changed: bool = False,
    ) -> Outcome:
        """Add a restore point if there is something new; see Destination."""
        with self._repository() as repository:
            making = self._backup(repository)
            making.doubt(damage.read(self.home.state).objects)
            with explained("cannot change the notes about the repository", self.home.state):
                damage.settle(self.home.state, self._files)
            try:
                outcome = making.outcome(
                    clock or Clock(now=now), anew=bool(why_full), accept_changed=accept_changed
                )
            except BaseException:
                self._seen = None
                raise
            if outcome.changed:
                self._seen = None
                _show(repository)
            return outcome

    def room_for_full(self) -> Iterable[Need]:
        """Return nothing: the room of a store, and the share of equal data there, are unknown."""
        return ()

    # restore

    def restore_points(self) -> Sequence[RestorePoint]:
        """Return the restore points, oldest first; say whose there are if the site has none."""
        found = damage.marked(self._as_seen(), self.home.state)
        if not found and not self._is_to_add:
            with self._repository() as repository:
                mention_other_sites(repository, repository.look(), self._site)
        return found

    def _as_seen(self) -> list[RestorePoint]:
        """Return the restore points as a quick look shows them.

        A look of this run counts again for a moment, until the run itself changes something:
        with each backup all is looked at four times, and each look is a request.
        """
        seen = self._seen
        if seen is None or monotonic() - seen.moment > _FRESH:
            with self._repository() as repository:
                seen = _Seen([each.shown for each in self._listed(repository)], monotonic())
            self._seen = seen if self._run is not None else None
        return list(seen.points)

    def open(self, choice: Choice) -> State:
        """Return the state of *choice*; see Destination."""
        from collective.recipe.backup.destinations.repository.coldstorage import cold_objects
        from collective.recipe.backup.destinations.repository.logs import stored_log
        from collective.recipe.backup.destinations.repository.pointblobs import stored_blobs
        from collective.recipe.backup.destinations.repository.storedtrees import stored_files
        from collective.recipe.backup.states import State

        with ExitStack() as stack:
            repository = stack.enter_context(self._repository())
            point = self._point(repository, choice.point.stamp)
            return State(
                choice,
                log=partial(stored_log, repository, point, choice.until),
                blobs=partial(stored_blobs, repository, point, choice.until),
                files=partial(stored_files, repository, point),
                cold=partial(cold_objects, repository, point, choice.until),
                held=stack.pop_all(),
            )

    def _point(self, repository: Repository, stamp: str) -> Point:
        for each in self._listed(repository):
            if each.shown.stamp != stamp:
                continue
            if each.point is not None:
                return each.point
            what = f"the restore point {stamp} is damaged: {each.shown.problems[0]}"
            raise IntegrityError(what, where=each.name or self.home.label, hint=DAMAGE_HINT)
        raise NoRestorePoint(
            f"the restore point {stamp} is gone",
            where=self.home.label,
            hint="a backup may have removed it just now: look at the list again",
        )

    # housekeeping

    def remove(self, points: Iterable[RestorePoint], *, certain: bool = False) -> str:
        """Remove *points*; see Destination.  Their chunks go in a later run of collect."""
        stamps = {point.stamp for point in points}
        self._seen = None
        with self._repository() as repository:
            going = [
                each.point
                for each in self._listed(repository)
                if each.shown.stamp in stamps and each.point is not None
            ]
            refusal = "" if certain else floor(repository.look(), going)
            if not refusal and prune(repository, going, yes=True):
                _show(repository)
            return refusal

    def tidy(self, now: datetime) -> Iterator[str]:
        """Remove what later restore points of an hour serve as well; see Destination.

        The pieces of the log need no tidying: each backup puts together what the last ones stored.
        """
        self._seen = None
        with self._repository() as repository:
            listed = self._listed(repository)
            shown = damage.marked([each.shown for each in listed], self.home.state)
            pairs = zip(listed, shown, strict=True)
            served = served_by_others([each._replace(shown=it) for each, it in pairs], now)
            if prune(repository, served, yes=True):
                _show(repository)
                yield f"restore points that later ones serve as well, removed: {len(served):,}"

    def verify(
        self, depth: Depth, *, only: RestorePoint | None = None, reads: Reads | None = None
    ) -> Iterator[Problem]:
        """Yield problems; see Destination."""
        from collective.recipe.backup.destinations.repository.verifying import problems_of

        with self._repository() as repository:
            listed = [
                each
                for each in self._listed(repository)
                if only is None or each.shown.stamp == only.stamp
            ]
            yield from problems_of(repository, listed, depth, reads, self._care)

    def problem_of(self, error: IntegrityError) -> Problem:
        """Return what *error*, which it has raised, means: which restore points it concerns."""
        from collective.recipe.backup.destinations.repository.verifying import problem_of

        with self._repository() as repository:
            return problem_of(repository, self._listed(repository), error)


def _show(repository: Repository) -> None:
    """Let the store show the restore points, if it shows any."""
    if repository.store.promises.shows:
        from collective.recipe.backup.repository.showing import show_points

        show_points(repository)
