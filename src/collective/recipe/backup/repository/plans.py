"""The plan of collect, made before anything is changed.

``GRACE`` is between each step and the next one, by the clock of the store::

    a restore point is removed        it becomes trash, and what it needs stays needed
    trash is older than GRACE         it goes; now nothing needs what only it needed
    nothing needs a bundle            it is marked, once it is older than GRACE itself
    the mark is older than GRACE      the bundle goes, unless something needs it again

And collect removes nothing that a run with a ticket may rely on. A run relies on bundles that were
not marked when it looked, and on all that the restore points that it saw need.  So a bundle is not
marked while a ticket is older than it, and neither a mark nor trash ripens while there is a ticket
that is not younger than it by SLACK, in which listings may lag.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from collective.recipe.backup.amounts import number_of
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.repository.controls import (
    UNNEEDED,
    Control,
    Mark,
    Ticket,
)
from collective.recipe.backup.repository.needs import Bundles, needed_bundles
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.pruning import GRACE, trashed
from collective.recipe.backup.repository.reaching import Reached
from collective.recipe.backup.repository.standing import standing
from collective.recipe.backup.repository.tickets import tickets_of_others
from collective.recipe.backup.stores import NoSuchObject, StoredObject

SLACK = timedelta(hours=1)
"""Listings of a store may lag by so much."""

MAX_UNUSED = 0.1
"""The share of all bytes that may be unneeded, within bundles that are needed."""

HALF = 0.5
"""Bundles of which a smaller share is needed may be written anew."""

SMALL = 2 << 20
MANY_SMALL = 64
"""So many bundles of less bytes are written anew as few."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The limits of a run of collect."""

    grace: timedelta = GRACE
    """At least so long between one step and the next, by the clock of the store."""
    max_unused: float = MAX_UNUSED  # share of all bytes, 0 to 1


@dataclass(frozen=True)
class Surroundings:
    """The objects of the store, by two listings: tickets of the first, all else of the second.

    A run puts its restore point before it removes its ticket.  So if its ticket is not in the first
    listing any more, its restore point is in the second.
    """

    now: datetime  # by the clock of the store, before the listings
    tickets: tuple[Ticket, ...]  # that are not over, of other runs
    over: tuple[Ticket, ...]  # that are over
    control: Control  # the second listing
    marks: tuple[Mark, ...]  # marks of the second listing, read

    def is_relied_on(self, moment: datetime, slack: timedelta = SLACK) -> bool:
        """Tell whether a run may have begun before *moment*, and may not have ended."""
        return any(ticket.begun <= moment + slack for ticket in self.tickets)

    def is_ripe(self, moment: datetime, grace: timedelta) -> bool:
        """Tell whether what came to be at *moment* is old enough, and no run relies on it."""
        return moment + grace <= self.now and not self.is_relied_on(moment)


@dataclass(frozen=True)
class CollectPlan:
    """The steps of a run of collect."""

    points: int  # restore points, of which all is kept that is there
    bundles: Bundles  # all bundles of the store, and how much of each is needed
    trash: tuple[StoredObject, ...]  # that goes
    sweep: frozenset[bytes]  # IDs of bundles that go now
    ended: tuple[Mark, ...]  # marks that go when that is done
    revived: frozenset[bytes]  # IDs of bundles under such a mark that are needed again
    condemn: frozenset[bytes]  # IDs of bundles that are marked
    rewrite: tuple[bytes, ...]  # IDs of bundles that are written anew, and marked then
    over: tuple[Ticket, ...]  # tickets that go

    def size(self, bundles: Iterable[bytes]) -> int:
        """Return the bytes of *bundles*."""
        return sum(self.bundles.entries[each].size for each in bundles)

    @property
    def moved(self) -> int:
        """Bytes that are read and stored again because their bundles are written anew."""
        return sum(self.bundles.needed[each] for each in self.rewrite)


def surroundings(repository: Repository, own: Sequence[str] = ()) -> Surroundings:
    """Return what there is; *own* are the names of the tickets of this run."""
    now = repository.store.clock()
    running, over = tickets_of_others(repository, repository.look(), now, own)
    control = repository.look()
    marks = []
    for entry in control.marks:
        try:
            marks.append(repository.controls.mark(entry))
        except NoSuchObject:
            continue
    return Surroundings(now, tuple(running), tuple(over), control, tuple(marks))


def make_plan(
    repository: Repository, around: Surroundings, rules: Rules, reached: Reached
) -> CollectPlan:
    """Return what collect should do; *reached* gets the ids of all needed chunks.

    Raises IntegrityError where it cannot be known which chunks are needed.
    """
    found = standing(repository, around.control)
    if found.damaged:
        raise _unknown(
            f"{number_of(len(found.damaged), 'restore point')} cannot be read",
            found.damaged[0].name,
        )
    ripe = [entry for entry in around.control.trash if around.is_ripe(entry.stored, rules.grace)]
    kept = [point for entry, point in trashed(repository, around.control) if entry not in ripe]
    marked = frozenset().union(*(mark.bundles for mark in around.marks))
    bundles = needed_bundles(repository, [*found.readable, *kept], reached, marked)
    if bundles.gaps.damaged:
        node = next(iter(bundles.gaps.damaged))
        raise _unknown(f"{len(bundles.gaps.damaged)} nodes cannot be read", node.hex())
    ended = [mark for mark in around.marks if _has_ended(mark, around, rules, bundles)]
    going = frozenset().union(*(mark.bundles for mark in ended)) & bundles.entries.keys()
    condemn = _condemned(around, rules, bundles) - marked
    return CollectPlan(
        points=len(found.readable),
        bundles=bundles,
        trash=tuple(ripe),
        sweep=going - bundles.needed.keys(),
        ended=tuple(ended),
        revived=going & bundles.needed.keys(),
        condemn=condemn,
        # nodes in cold storage cannot be read
        rewrite=()
        if repository.store.promises.cold
        else tuple(_rewritten(around, rules, bundles, marked | condemn)),
        over=around.over,
    )


def _has_ended(mark: Mark, around: Surroundings, rules: Rules, bundles: Bundles) -> bool:
    """Tell whether what a mark is about goes now, or is gone."""
    if not around.is_ripe(mark.made, rules.grace):
        return False
    # a damaged bundle stays distrusted as long as it is kept for want of anything better
    return mark.reason == UNNEEDED or not mark.bundles & bundles.needed.keys()


def _condemned(around: Surroundings, rules: Rules, bundles: Bundles) -> frozenset[bytes]:
    return frozenset(
        bundle
        for bundle, entry in bundles.entries.items()
        if bundle not in bundles.needed and around.is_ripe(entry.stored, rules.grace)
    )


def _rewritten(
    around: Surroundings, rules: Rules, bundles: Bundles, going: frozenset[bytes]
) -> list[bytes]:
    """Return the bundles that are written anew: as many as bring the waste below its limit."""
    staying = {
        bundle: entry.size
        for bundle, entry in bundles.entries.items()
        if bundle in bundles.needed and bundle not in going
    }
    ripe = [
        bundle for bundle in staying if around.is_ripe(bundles.entries[bundle].stored, rules.grace)
    ]
    ripe.sort(key=lambda bundle: (bundles.needed[bundle] / staying[bundle], bundle))
    waste = sum(size - bundles.needed[bundle] for bundle, size in staying.items())
    limit = rules.max_unused * sum(staying.values())
    chosen = []
    for bundle in ripe:
        if waste <= limit or bundles.needed[bundle] >= HALF * staying[bundle]:
            break
        waste -= staying[bundle] - bundles.needed[bundle]
        chosen.append(bundle)
    small = [bundle for bundle in ripe if staying[bundle] < SMALL and bundle not in set(chosen)]
    return chosen + (small if len(small) >= MANY_SMALL else [])


def _unknown(what: str, where: str) -> IntegrityError:
    return IntegrityError(
        f"{what}, so it cannot be known what is needed; nothing is removed",
        where=where,
        hint="heal the repository; what cannot be healed must be removed by prune",
    )
