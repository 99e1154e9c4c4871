"""A site that lives, its clock included, and is asked for every moment it has seen.

The model keeps what no destination keeps: the state at each reading of the clock.  A
restore point keeps a copy of the log as it was, so what a choice comes to is read from the
log itself, transaction by transaction.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collective.recipe.backup.errors import NoRestorePoint
from collective.recipe.backup.lineage import Lineage, Restored, begun, continued
from collective.recipe.backup.model import RestorePoint
from collective.recipe.backup.restorepoints import choose, known_until, ranges, spans
from collective.recipe.backup.tests.lengths import examples
from collective.recipe.backup.times import (
    LAST_TID,
    ZERO_TID,
    Tid,
    from_stamp,
    stamp,
    tid_at,
)

pytestmark = pytest.mark.slow

START = datetime(2026, 3, 1, 0, 0, 50, tzinfo=timezone.utc)
SECOND = timedelta(seconds=1)

law = settings(max_examples=examples(400))


@dataclass(frozen=True)
class Transaction:
    tid: Tid
    values: dict[str, int]
    packed: bool = False


@dataclass(frozen=True)
class Backup:
    """A restore point, and the log that it holds."""

    point: RestorePoint
    log: tuple[Transaction, ...]

    def cut(self, until):
        return state_of(one for one in self.log if until is None or one.tid <= until)


def state_of(log):
    state = {}
    for one in log:
        state.update(one.values)
    return state


@dataclass(frozen=True)
class Told:
    """What lineage asks of a log."""

    log: tuple[Transaction, ...]

    @property
    def packed(self):
        return max([one.tid for one in self.log if one.packed], default=ZERO_TID)

    def last_at(self, tid):
        return max([one.tid for one in self.log if one.tid <= tid], default=None)

    def first_after(self, tid):
        return min([one.tid for one in self.log if tid is None or one.tid > tid], default=None)


class World:
    """A site, its clock and its backups; *behind* seconds is the clock of the backups."""

    def __init__(self, behind):
        self.clock = START
        self.behind = behind * SECOND
        self.log = ()
        self.backups = []
        self.fresh = True
        self.passed = []
        """What was live while the clock went from one moment to another."""
        self.logs = []
        """The log that was live then."""
        self.noted = None
        self.unknown = []
        """Moments before a restore of which no backup knows what the site was."""
        self.count = 0
        self.steps = []

    def __repr__(self):
        return f"the world after {self.steps}"

    def wait(self, seconds):
        before, self.clock = self.clock, self.clock + seconds * SECOND
        self.passed.append((before, self.clock, state_of(self.log)))
        self.logs.append((before, self.clock, self.log))

    def set_back(self, seconds):
        self.clock -= seconds * SECOND

    def commit(self, names):
        self.count += 1
        self.wait(0)
        # ZODB's rule: the moment, or the next tid after the last one
        tid = Tid(tid_at(self.clock)[:6] + b"\0\0")
        if self.log:
            tid = max(tid, Tid((int.from_bytes(self.log[-1].tid, "big") + 1).to_bytes(8, "big")))
        self.log += (Transaction(tid, dict.fromkeys(names, self.count)),)
        self.wait(0)

    def pack(self, seconds):
        """Keep what was current so many seconds ago, and what came after."""
        limit = tid_at(self.clock - seconds * SECOND)
        old = [one for one in self.log if one.tid <= limit]
        current = state_of(old)
        kept = []
        for one in old:
            values = {name: n for name, n in one.values.items() if current[name] == n}
            if values:
                kept.append(Transaction(one.tid, values, packed=True))
        rest = self.log[len(old) :]
        if old:
            self.fresh = True
        self.log = (*kept, *rest)

    def restore(self, number, *, is_noted=True):
        """Restore one of the moments that can be had, if there are any; that takes a while."""
        self.wait(1)
        points = [backup.point for backup in self.backups]
        moments = [
            first + second * SECOND
            for first, last in spans(points)
            for second in range((last - first) // SECOND + 1)
        ]
        if not moments:
            return
        choice = choose(points, moments[number % len(moments)])
        [chosen] = [backup for backup in self.backups if backup.point == choice.point]
        log = tuple(one for one in chosen.log if choice.until is None or one.tid <= choice.until)
        if not is_noted and log != self.log[: len(log)]:
            return  # what goes forward to what had been cut off, and leaves no note, is unknown
        self.log, self.fresh = log, True
        until = known_until(choice)
        self.unknown.append((until, tid_at(self.clock)))
        if is_noted:
            self.noted = Restored(
                when=self.clock,
                own=True,
                directory="",
                chain=choice.point.chain,
                newest=points[-1].stamp,
                tid=Told(self.log).last_at(LAST_TID),
                until=until,
                since=choice.point.since,
                holes=choice.point.holes,
            )

    def restore_by_hand(self, number):
        # what is in no backup, and leaves no note, nobody can know of
        self.back_up(False)
        self.restore(number, is_noted=False)

    def shared(self):
        """Return the newest restore point that the live log agrees with."""
        agreeing = (
            backup.point
            for backup in reversed(self.backups)
            if backup.log == self.log[: len(backup.log)]
        )
        return next(agreeing, None)

    def back_up(self, full):
        if not self.log:
            return
        if self.backups and not self.fresh and self.backups[-1].log == self.log and not full:
            return
        taken = self.clock - self.behind
        name = stamp(taken)
        if self.backups:
            last = from_stamp(self.backups[-1].point.stamp)
            name = max(name, stamp(last + SECOND))
        before = self.backups[-1] if self.backups else None
        goes_on = before and not full
        if goes_on and self.fresh:
            # a restore of the newest state: the file is another one, and holds the same
            goes_on = before.log == self.log[: len(before.log)]
        told = Told(self.log)
        last = before and before.point
        if goes_on:
            holes = continued(told, last, self.noted, self.clock)
            found = Lineage(since=last.since, holes=holes)
        else:
            found = begun(told, last, self.noted, self.clock, self.shared)
        point = RestorePoint(
            stamp=name,
            chain=last.chain if goes_on else name,
            end=len(self.log),
            tid=self.log[-1].tid,
            since=found.since,
            holes=found.holes,
            taken=taken,
        )
        self.backups.append(Backup(point, self.log))
        self.fresh = False

    def spoil(self, index):
        """Make one of the restore points unfit."""
        if self.backups:
            index %= len(self.backups)
            bad = replace(self.backups[index].point, restorable=False, problems=("spoilt",))
            self.backups[index] = replace(self.backups[index], point=bad)

    def prune(self, count):
        """Remove the oldest chains, not the last one."""
        chains = sorted({backup.point.chain for backup in self.backups})
        gone = chains[:-1][:count]
        self.backups = [backup for backup in self.backups if backup.point.chain not in gone]

    # what the tests ask

    @property
    def good(self):
        return [backup for backup in self.backups if backup.point.restorable]

    def live_at(self, when):
        """Return each state that was live when the clock showed *when*; it may more than once."""
        return [state for first, last, state in self.passed if first <= when <= last]

    def moments(self):
        shown = [moment for first, last, _state in self.passed for moment in (first, last)]
        shown += [backup.point.moment for backup in self.backups]
        seconds = (max(shown) - min(shown)) // SECOND
        return [min(shown) + half * SECOND / 2 for half in range(-4, 2 * seconds + 5)]


names = st.sets(st.sampled_from("abc"), min_size=1).map(sorted)
small = st.integers(0, 4)
pack = st.tuples(st.just("pack"), st.integers(0, 6))
clock_kept = [
    st.tuples(st.just("wait"), st.integers(1, 5)),
    st.tuples(st.just("wait"), st.integers(1, 5)),
    st.tuples(st.just("commit"), names),
    st.tuples(st.just("commit"), names),
    pack,
    st.tuples(st.just("back_up"), st.booleans()),
    st.tuples(st.just("back_up"), st.just(False)),
]
clock_lost = [st.tuples(st.just("set_back"), st.integers(1, 8))]
any_moment = st.integers(0, 99)
restores = [
    st.tuples(st.just("wait"), st.integers(1, 5)),
    st.tuples(st.just("commit"), names),
    st.tuples(st.just("back_up"), st.just(False)),
    st.tuples(st.just("restore"), any_moment),
]
restores_by_hand = [*restores, st.tuples(st.just("restore_by_hand"), any_moment)]
losses = [st.tuples(st.just("spoil"), small), st.tuples(st.just("prune"), st.integers(1, 2))]


@st.composite
def worlds(draw, steps, behind=0):
    world = World(behind)
    least = 12 if any(step in restores for step in steps) else 4
    for name, value in draw(st.lists(st.one_of(*steps), min_size=least, max_size=30)):
        world.steps.append((name, value))
        getattr(world, name)(value)
    world.commit("a")
    world.back_up(False)
    world.wait(3)
    return world


def answer(world, when):
    """Return what was chosen and the state that it gives; None if *when* was refused."""
    points = [backup.point for backup in world.backups]
    try:
        choice = choose(points, when)
    except NoRestorePoint:
        return None
    assert choice.point.restorable
    [chosen] = [backup for backup in world.backups if backup.point == choice.point]
    return choice, chosen.cut(choice.until)


def named_by(world, when):
    return [backup for backup in world.good if backup.point.moment == when]


def is_after_everything(world, when):
    """Tell whether *when* is later than all that the newest restore point can know."""
    last = world.good[-1]
    seen = min(last.point.taken, last.point.moment)
    return when > seen and tid_at(when) >= last.log[-1].tid


def is_covered(world, when):
    """Tell whether the log of any restore point proves what the state was."""
    tid = tid_at(when)
    chains = {backup.point.chain: backup for backup in world.good}
    for backup in world.good:
        rewritten = [one.tid for one in backup.log if one.packed]
        known = backup.log[0].tid <= tid and tid >= max(rewritten, default=ZERO_TID)
        if known and tid <= backup.log[-1].tid:
            return True
        is_last = chains[backup.point.chain] is backup
        if known and is_last and when <= min(backup.point.taken, backup.point.moment):
            return True
    return False


def check_every_moment(world):
    for when in world.moments():
        found = answer(world, when)
        named = named_by(world, when)
        if named:
            choice, state = found
            assert (choice.point, choice.until) == (named[0].point, None)
        elif is_covered(world, when):
            choice, state = found
            assert state in world.live_at(when)
        elif when in [backup.point.moment for backup in world.backups]:
            assert found is None
        elif world.good and is_after_everything(world, when):
            choice, state = found
            assert (choice.point, state) == (world.good[-1].point, world.good[-1].cut(None))
        else:
            assert found is None


@law
@given(worlds(clock_kept))
def test_every_moment_is_exact_or_refused(world):
    check_every_moment(world)
    newest = world.backups[-1]
    if newest.point.stamp == stamp(newest.point.taken):
        # no clock was touched, no stamp was moved: the newest state is the live one
        assert answer(world, world.clock)[1] == state_of(world.log)


@law
@given(worlds([*clock_kept, *losses]))
def test_every_moment_is_exact_or_refused_where_backups_were_lost(world):
    check_every_moment(world)


@law
@given(worlds([*clock_kept, *losses, *clock_lost]))
def test_a_clock_that_is_set_back_gives_no_state_that_never_was(world):
    check_every_moment(world)


@law
@given(worlds([*clock_kept, *clock_lost], behind=3))
def test_a_clock_behind_that_of_the_database_gives_no_state_that_never_was(world):
    check_every_moment(world)


@law
@given(worlds([*clock_kept, *losses, *clock_lost]))
def test_every_transaction_that_a_restore_point_still_has_can_be_asked_for(world):
    for backup in world.good:
        rewritten = max([one.tid for one in backup.log if one.packed], default=ZERO_TID)
        for one in backup.log:
            if one.tid >= rewritten:
                choice, state = answer(world, one.tid)
                assert state == backup.cut(one.tid)


@law
@given(worlds([*clock_kept, *losses, *clock_lost]))
def test_ranges_hold_what_can_be_had(world):
    points = [backup.point for backup in world.backups]
    spans = ranges(points)
    assert {span.chain for span in spans} == {backup.point.chain for backup in world.good}
    for when in world.moments():
        if any(span.first <= when <= span.last for span in spans):
            assert answer(world, when) is not None
        elif not when.microsecond:
            assert not is_covered(world, when)


# restores


def check_that_no_state_is_told_that_never_was(world):
    newest = world.backups[-1].point
    for when in world.moments():
        found = answer(world, when)
        if found is None or named_by(world, when) or when > min(newest.taken, newest.moment):
            continue
        _choice, state = found
        assert state in world.live_at(when)


@law
@given(worlds([*restores, *restores_by_hand, pack]), st.integers(0, 4))
def test_restores_give_no_state_that_never_was(world, pruned):
    world.prune(pruned)
    check_that_no_state_is_told_that_never_was(world)


@law
@given(worlds([*restores, *restores, pack]), st.integers(0, 4))
def test_the_past_outlives_a_restore_and_the_chains_before_it(world, pruned):
    """What the newest log still has of any time is told, but for what was lived in vain."""
    world.prune(pruned)
    newest = world.backups[-1]
    rewritten = max([one.tid for one in newest.log if one.packed], default=ZERO_TID)
    for first, last, log in world.logs:
        for when in (first, last):
            tid = tid_at(when)
            cut = tuple(one for one in newest.log if one.tid <= tid)
            if not cut or cut != tuple(one for one in log if one.tid <= tid):
                continue
            if tid < max(rewritten, newest.log[0].tid) or tid > newest.log[-1].tid:
                continue
            if any(begin < tid < end for begin, end in world.unknown):
                continue
            assert answer(world, when) is not None


@law
@given(worlds([*restores, *restores_by_hand, *losses, *clock_lost, pack]))
def test_a_restore_and_a_clock_that_is_set_back_end_in_no_error(world):
    for when in world.moments():
        answer(world, when)
