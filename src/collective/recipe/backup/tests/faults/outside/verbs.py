"""The scripts that meet the faults, and what has to be true after each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from collective.recipe.backup.errors import DONE
from collective.recipe.backup.operations.backup import tidy_now
from collective.recipe.backup.operations.prune import prune
from collective.recipe.backup.operations.undo import let_go, undo
from collective.recipe.backup.restoring import swap
from collective.recipe.backup.restoring.journal import journal_path
from collective.recipe.backup.tests.faults.outside.strace import (
    CONVENIENT,
    KILL,
    OTHER_WAY,
    REMOVING,
    Done,
    Injection,
    Script,
)
from collective.recipe.backup.tests.faults.outside.worlds import State, World

ATTEMPTS = 3
MATTER_LITTLE = {
    ".backup.lock": "what a lock says of its holder",
}
"""Names of what a run can do without, and why."""
CAUTIOUS = {".backup-damage.json": "what cannot be read here lets nothing be removed or joined"}
"""Names of what a run leaves its work undone without, with a word, and why."""


@dataclass(frozen=True, kw_only=True)
class Verb:
    """A script, the site that it begins with, and what is to be true of it."""

    name: str
    script: Sequence[str]
    make: Callable[[World], None]  # the site and its backups
    ready: Callable[[World], None] = lambda world: None  # what a copy of them does not survive
    works: Callable[[World], None]  # raises unless the verb has done its work
    options: dict[str, Any]
    holds: Callable[[World], None] = lambda world: None  # raises unless a failure changed nothing
    heals: Callable[[World], object]  # the next run
    follows: bool = False  # it goes on until it is asked to end


class Trial:
    """A verb in a world of its own, below *directory*; *founded*: see World."""

    def __init__(self, verb: Verb, directory: Path, founded: datetime | None = None) -> None:
        directory.mkdir(parents=True)
        self.verb = verb
        self.world = World(directory, founded, **verb.options)
        verb.make(self.world)
        self.world.save()
        self._script = Script(verb.script, self.world.operated, directory, follows=verb.follows)

    def injections(self) -> list[Injection]:
        """Return all faults that the script can meet; without one it must work."""
        self._begin()
        done, found = self._script.calls()
        assert done.code == DONE, done.said
        self.verb.works(self.world)
        _check(self.world)
        return found

    def strike(self, injection: Injection) -> str | None:
        """Let the script meet a fault; return what is wrong after it, "" if nothing is.

        None: the call did not come, which another thread may have made in its place.
        """
        done = self._met(injection)
        if done is None:
            return None
        try:
            told(done, injection, self.world.directory)
            if done.code == DONE and injection.name not in CAUTIOUS:
                self.verb.works(self.world)
            else:
                self.verb.holds(self.world)
            _earlier(self.world)
            self.verb.heals(self.world)
            self.verb.works(self.world)
            _check(self.world)
        except Exception as error:  # noqa: BLE001  the caller tells it
            said = done.said.rstrip().replace("\n", "\n  ")
            return f"{self.verb.name}: {injection}: {type(error).__name__}: {error}\n  {said}"
        return ""

    def _begin(self) -> None:
        self.world.begin()
        self.verb.ready(self.world)

    def _met(self, injection: Injection) -> Done | None:
        for _attempt in range(ATTEMPTS):
            self._begin()
            done = self._script.strike(injection)
            if done.killed or "(INJECTED)" in done.trace:
                return done
        return None


# the questions


def told(done: Done, injection: Injection, directory: Path) -> None:
    """Check that a fault is told in a sentence that names a path."""
    if injection.fault == KILL:
        assert done.killed, f"it ended with {done.code} although it was killed"
        return
    said = "\n".join(line for line in done.said.splitlines() if not line.startswith("INFO: "))
    assert "Traceback" not in said, "a traceback"
    assert "unexpected error" not in said, "it was unexpected error"
    if done.code != DONE:
        assert "ERROR: " in said, "no sentence"
    elif matters_little(injection):
        return
    assert str(directory) in said, "it names no path"


def matters_little(injection: Injection) -> bool:
    """Tell whether a run may pass over a fault without a word if all the rest is right."""
    other_way = injection.call in CONVENIENT | OTHER_WAY
    # the next run sweeps it
    removes_partial = injection.call in REMOVING and ".partial" in injection.path
    return injection.reads or other_way or removes_partial or injection.name in MATTER_LITTLE


def _earlier(world: World) -> None:
    """Check that each state which was backed up comes back as it was."""
    there = {point.tid for point in world.operated.points() if point.sound}
    for tid, state in world.states.items():
        if tid in there:
            _same(world.restored(tid), state, "an earlier restore point")


def _check(world: World) -> None:
    """Check that nothing is left over, and that verify is content."""
    assert world.problems() == [], "verify is not content"
    assert world.leftovers() == [], "something is left over"
    assert all(point.whole for point in world.operated.points())
    _earlier(world)


def _same(found: State, state: State, what: str) -> None:
    differing = sorted(name for name in found | state if found.get(name) != state.get(name))
    assert not differing, f"{what} is not as it was: {', '.join(differing)}"


# backups


def _two_points(world: World) -> None:
    world.grow(0, "first")
    world.back_up(60)
    world.grow(70, "second")
    world.back_up(120)
    world.grow(130, "third")


def _no_points(world: World) -> None:
    world.grow(0, "first")
    world.grow(70, "second")


def _backed_up(world: World) -> None:
    """The newest restore point is the live site, and earlier ones are still there."""
    _all_there(world)
    _same(world.restored(), world.live, "the new restore point")
    _unchanged(world)


def _all_there(world: World) -> None:
    there = {point.tid for point in world.operated.points() if point.sound}
    missing = world.states.keys() - there
    assert not missing, f"earlier restore points are gone: {missing}"


def _unchanged(world: World) -> None:
    _same(world.state(), world.live, "the live site")


def _held(world: World) -> None:
    _all_there(world)
    _unchanged(world)


def _again(world: World) -> None:
    world.operated.backup()


# restores


def _journal(world: World) -> Path:
    return journal_path(world.site.filestorage)


def _lost(world: World) -> None:
    _two_points(world)
    world.site.lose()
    world.live = {}


def _newest(world: World) -> State:
    return list(world.states.values())[-1]


def _restored(world: World) -> None:
    _all_there(world)
    _same(world.state(), _newest(world), "the restored site")


def _old_or_new(world: World) -> None:
    """Check that a restore which failed changed nothing, or is to be finished."""
    _all_there(world)
    state = world.state()
    if not swap.is_pending(_journal(world)) and state != _newest(world):
        _same(state, world.live, "the live site")


def _restore_again(world: World) -> None:
    world.operated.restore()


# what a restore has replaced


def _replaced(world: World) -> None:
    """Let the newest restore point be live; the site was further."""
    world.operated.restore()


def _undone(world: World) -> None:
    _all_there(world)
    _unchanged(world)
    assert not swap.is_pending(_journal(world)), "an undo is pending"


def _undone_or_not(world: World) -> None:
    _all_there(world)
    if not swap.is_pending(_journal(world)):
        state = world.state()
        assert state in (world.live, _newest(world)), "the site is a mixture"


def _undo_again(world: World) -> None:
    if swap.is_pending(_journal(world)) or world.state() != world.live:
        undo(world.operated.run("restore"))
    else:
        let_go(world.operated.run("restore"))


def _gone(world: World) -> None:
    _restored(world)
    left = list(world.site.directory.rglob("*.replaced"))
    assert not left, f"what was replaced is still there: {left}"


def _let_go_again(world: World) -> None:
    let_go(world.operated.run("restore"))


# what removes and what joins


def _three_chains(world: World) -> None:
    world.keep(keep=0)
    for number in range(3):
        world.grow(60 * number, f"full-{number}")
        world.back_up(60 * number + 10, full=True)
        world.grow(60 * number + 20, f"more-{number}")
        world.back_up(60 * number + 30)
    world.keep(keep=1)


def _pruned(world: World) -> None:
    assert len(world.operated.points()) == 2, "it removed too little or too much"
    _last_chain(world)


def _last_chain(world: World) -> None:
    there = {point.tid for point in world.operated.points() if point.sound}
    assert set(list(world.states)[-2:]) <= there, "the last chain is gone"
    _unchanged(world)


def _prune_again(world: World) -> None:
    prune(world.operated.run("prune"))


def _small_deltas(world: World) -> None:
    world.grow(0, "first")
    world.back_up(10)
    for number in range(1, 4):
        world.grow(60 + 10 * number, f"more-{number}")
        world.back_up(65 + 10 * number)


def _merged(world: World) -> None:
    points = world.operated.points()
    # only the newest chain is joined: a new one has none of the small deltas
    chains = {point.chain for point in points}
    assert len(points) < len(world.states) or len(chains) > 1, "it joined nothing"
    _every_moment(world)


def _every_moment(world: World) -> None:
    for tid, state in world.states.items():
        _same(world.restored(tid), state, f"the state after {tid.hex()}")
    _unchanged(world)


def _merge_again(world: World) -> None:
    world.operated.backup()
    tidy_now(world.operated.run("backup"))


ARCHIVES = {"archive_blob": True, "incremental_blobs": True}
_BACKUP: dict[str, Any] = {"works": _backed_up, "holds": _held, "heals": _again}
_RESTORE: dict[str, Any] = {"works": _restored, "holds": _old_or_new, "heals": _restore_again}

VERBS = {
    verb.name: verb
    for verb in (
        Verb(name="first", script=["backup"], make=_no_points, options={}, **_BACKUP),
        Verb(name="full", script=["backup", "--full"], make=_two_points, options={}, **_BACKUP),
        Verb(name="incremental", script=["backup"], make=_two_points, options={}, **_BACKUP),
        Verb(name="archives", script=["backup"], make=_two_points, options=ARCHIVES, **_BACKUP),
        Verb(name="restore", script=["restore"], make=_two_points, options={}, **_RESTORE),
        Verb(name="restore-lost", script=["restore"], make=_lost, options={}, **_RESTORE),
        Verb(name="restore-archives", script=["restore"], make=_lost, options=ARCHIVES, **_RESTORE),
        Verb(
            name="undo",
            script=["restore", "--undo"],
            make=_two_points,
            ready=_replaced,
            options={},
            works=_undone,
            holds=_undone_or_not,
            heals=_undo_again,
        ),
        Verb(
            name="let-go",
            script=["restore", "--let-go"],
            make=_two_points,
            ready=_replaced,
            options={},
            works=_gone,
            holds=_restored,
            heals=_let_go_again,
        ),
        Verb(
            name="prune",
            script=["prune"],
            make=_three_chains,
            options={},
            works=_pruned,
            holds=_last_chain,
            heals=_prune_again,
        ),
        Verb(
            name="merge",
            script=["backup", "--follow", "--every", "3600"],
            make=_small_deltas,
            options={},
            works=_merged,
            holds=_every_moment,
            heals=_merge_again,
            follows=True,
        ),
    )
}
"""All verbs by their names."""
