"""Files change places in a live tree, whatever was done before the machine died."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from collective.recipe.backup.errors import IntegrityError, NoRestorePoint
from collective.recipe.backup.files import Files
from collective.recipe.backup.files.directories import FEW
from collective.recipe.backup.restoring import swap, undoing
from collective.recipe.backup.restoring.journal import SWAPPING, journal_path, read
from collective.recipe.backup.restoring.moves import Move, replaced_path, staged_path
from collective.recipe.backup.restoring.transplant import (
    CHANGES,
    FILES,
    Change,
    prepare,
    read_changes,
    status_of,
    transplant,
    write_changes,
)
from collective.recipe.backup.tests.faults.harness import (
    Dying,
    Fault,
    FaultyFiles,
    Hasty,
    survive_every_fault,
)
from collective.recipe.backup.tests.texttrees import fill, texts

OLD = {"kept": "k", "a/both": "old", "a/goes": "goes", "b/c/goes": "too", "b/mine": "k"}
NEW = {"kept": "k", "a/both": "newer", "b/mine": "k", "n/e/w": "new", "n/x": "new as well"}


class World:
    """A live tree, and beside it the difference that makes NEW of OLD; a Data.fs as well.

    The Data.fs gets another tail, or *with_others* another content, and then there are two
    more trees: one that changes in place as well, one that is exchanged.
    """

    def __init__(self, root: Path, *, with_others: bool = False) -> None:
        self.root = root
        self.live = root / "blobs"
        self.journal = journal_path(root / "Data.fs")
        self.moves = [Move(live=self.live, difference=True)]
        self.stage(self.live, OLD, NEW)
        (self.live / "b").chmod(0o750)
        (self.live / "a" / "goes").chmod(0o400)
        (staged_path(self.live) / FILES / "n").chmod(0o700)
        (root / "Data.fs").write_text("old")
        staged_path(root / "Data.fs").write_text("ew")
        if with_others:
            self.stage(root / "second", {"goes": "goes"}, {"comes": "comes"})
            fill(root / "third", {"goes": "goes"})
            fill(root / "third.restoring", {"comes": "comes"})
            self.moves += [Move(live=root / "second", difference=True), Move(live=root / "third")]
        self.moves.append(Move(live=root / "Data.fs", keep=None if with_others else 1))

    def stage(self, live: Path, old: dict[str, str], new: dict[str, str]) -> None:
        difference = staged_path(live)
        fill(live, old)
        fill(difference / FILES, {path: new[path] for path in new if old.get(path) != new[path]})
        changes = [
            Change(path, status_of(live / path), status_of(difference / FILES / path))
            for path in sorted(old | new)
            if old.get(path) != new.get(path)
        ]
        write_changes(difference, changes, Hasty())

    def swap(self, files: Files) -> None:
        swap.swap(self.journal, self.moves, files)

    def undo(self, files: Files) -> None:
        undoing.undo(self.journal, files)

    def state(self) -> dict[str, object]:
        """Return all live files with mode and time, and all directories with their modes."""
        found: dict[str, object] = {"Data.fs": (self.root / "Data.fs").read_text()}
        for top in (self.live, self.root / "second", self.root / "third"):
            for path in top.rglob("*"):
                status = path.stat()
                what = (path.read_text(), status.st_mtime_ns) if path.is_file() else ()
                found[str(path.relative_to(self.root))] = (status.st_mode, *what)
        return found


def maker(directory: Path, **kind: bool) -> Callable[[], World]:
    """Return a function that makes worlds."""
    numbers = itertools.count()

    def make() -> World:
        root = directory / str(next(numbers))
        root.mkdir()
        return World(root, **kind)

    return make


@pytest.fixture(params=[False, True], ids=["alone", "with others"])
def make(request, tmp_path: Path) -> Callable[[], World]:
    return maker(tmp_path, with_others=request.param)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def states_of(world: World) -> tuple[dict[str, object], dict[str, object]]:
    """Return the state before and after a restore without any fault."""
    old = world.state()
    world.swap(Hasty())
    return old, world.state()


def faults_of(world: World) -> tuple[Fault, ...]:
    """Return all faults; for a world with others, which is large, those that differ most."""
    return (Fault.POWER_CUT, Fault.EIO) if len(world.moves) > 2 else tuple(Fault)


def test_what_leaves_is_kept_and_what_comes_is_there(world: World) -> None:
    kept = (world.live / "kept").stat()

    world.swap(Files())

    assert (world.live / "kept").stat() == kept
    assert texts(world.live) == NEW
    assert not (world.live / "b/c").exists()
    assert (world.live / "n").stat().st_mode & 0o777 == 0o700
    replaced = replaced_path(world.live)
    assert texts(replaced / FILES) == {path: OLD[path] for path in ("a/both", "a/goes", "b/c/goes")}
    assert not staged_path(world.live).exists()


def test_undo_puts_all_back_and_can_be_undone(make) -> None:
    world = make()
    old, new = states_of(world)

    world.undo(Files())
    assert world.state() == old

    world.undo(Files())
    assert world.state() == new


@pytest.mark.slow
def test_a_restore_dies_or_fails_anywhere_and_is_finished(make) -> None:
    old, new = states_of(make())

    def check(world: World, outcome: BaseException | None) -> None:
        if outcome is None:
            assert world.state() == new
        if not swap.finish(world.journal, Hasty()):
            assert world.state() in (old, new)
            if world.state() == old:
                world.swap(Hasty())
        assert world.state() == new
        world.undo(Hasty())
        assert world.state() == old

    survive_every_fault(make, World.swap, check, faults=faults_of(make()))


@pytest.mark.slow
def test_an_undo_dies_or_fails_anywhere_and_is_finished(make) -> None:
    old, new = states_of(make())

    def restored() -> World:
        world = make()
        world.swap(Hasty())
        return world

    def check(world: World, outcome: BaseException | None) -> None:
        if not swap.finish(world.journal, Hasty()) and world.state() == new:
            world.undo(Hasty())
        assert world.state() == old
        world.undo(Hasty())
        assert world.state() == new

    survive_every_fault(restored, World.undo, check, faults=(Fault.POWER_CUT, Fault.EIO))


def test_finishing_dies_or_fails_anywhere_as_well(tmp_path: Path) -> None:
    make = maker(tmp_path)
    _old, new = states_of(make())
    total = FaultyFiles()
    make().swap(total)

    def died() -> World:
        world = make()
        files = Dying(len(total.changes) // 2)
        with pytest.raises(KeyboardInterrupt):
            world.swap(files)
        return world

    def check(world: World, outcome: BaseException | None) -> None:
        swap.finish(world.journal, Hasty())
        assert world.state() == new

    survive_every_fault(died, lambda world, files: swap.finish(world.journal, files), check)


@pytest.mark.slow
def test_a_transplant_that_died_is_taken_back_whatever_dies_meanwhile(tmp_path: Path) -> None:
    make = maker(tmp_path)
    old, _new = states_of(make())
    total = FaultyFiles()
    make().swap(total)

    def died() -> World:
        world = make()
        with pytest.raises(KeyboardInterrupt):
            world.swap(Dying(len(total.changes) // 2))
        return world

    def check(world: World, outcome: BaseException | None) -> None:
        if read(world.journal).state == SWAPPING:
            undoing.take_back(world.journal, Hasty())
        swap.finish(world.journal, Hasty())
        assert world.state() == old

    survive_every_fault(
        died,
        lambda world, files: undoing.take_back(world.journal, files),
        check,
        faults=(Fault.POWER_CUT, Fault.EIO),
    )


def test_what_has_left_is_durable_before_anything_comes(world: World) -> None:
    files = FaultyFiles()
    staged, inverse = staged_path(world.live), replaced_path(world.live)
    prepare(world.live, staged, inverse, files)
    assert files.changes[-1] == ("fsync", world.root)
    files.changes.clear()

    transplant(world.live, staged, inverse, files)

    renames = [
        (number, path) for number, (what, path) in enumerate(files.changes) if what == "rename"
    ]
    leaves = [number for number, path in renames if inverse in path.parents]
    comes = [number for number, path in renames if world.live in path.parents]
    between, after = files.changes[max(leaves) : min(comes)], files.changes[max(comes) :]
    assert {("fsync", world.live / place) for place in (".", "a", "b/c")} <= {*between}
    assert {("fsync", inverse / FILES / place) for place in (".", "a", "b/c")} <= {*between}
    assert {("fsync", world.live / place) for place in (".", "a", "n", "n/e")} <= {*after}
    assert "syncfs" not in {what for what, _path in files.changes}


def test_where_nothing_leaves_nothing_is_waited_for_before_the_rest_comes(tmp_path: Path) -> None:
    live, files = tmp_path / "blobs", FaultyFiles()
    fill(live, {"here": "stays"})
    fill(staged_path(live) / FILES, {"new/one": "comes"})
    comes = status_of(staged_path(live) / FILES / "new/one")
    write_changes(staged_path(live), [Change("new/one", None, comes)], Hasty())
    prepare(live, staged_path(live), replaced_path(live), Hasty())

    transplant(live, staged_path(live), replaced_path(live), files)

    assert [what for what, _path in files.changes[:2]] == ["mkdir", "rename"]
    assert texts(live) == {"here": "stays", "new/one": "comes"}


def test_of_many_directories_the_file_system_is_synced(tmp_path: Path) -> None:
    live, files = tmp_path / "blobs", FaultyFiles()
    new = {f"{number}/one": "comes" for number in range(FEW)}
    fill(live, {"here": "stays"})
    fill(staged_path(live) / FILES, new)
    changes = [
        Change(path, None, status_of(staged_path(live) / FILES / path)) for path in sorted(new)
    ]
    write_changes(staged_path(live), changes, Hasty())
    prepare(live, staged_path(live), replaced_path(live), Hasty())

    transplant(live, staged_path(live), replaced_path(live), files)

    assert files.changes[-1] == ("syncfs", live)


class Killed(FaultyFiles):
    """Files of a process that is killed after some changes; what it has not synced stays so."""

    def __init__(self, changes: int) -> None:
        super().__init__(Fault.POWER_CUT)
        self._left = changes

    def _change(self, operation, path, function, *args, **kwargs):
        self._left -= 1
        if self._left < 0:
            raise KeyboardInterrupt
        return super()._change(operation, path, function, *args, **kwargs)

    def next(self) -> Killed:
        """Return those of the next process on the same machine, which is not killed."""
        after = Killed(1_000)
        after._unsynced = self._unsynced
        return after

    def cut_the_power(self) -> None:
        assert self._unsynced is not None
        self._unsynced.lose()


def test_what_a_killed_process_has_not_synced_is_synced_by_the_one_that_finishes(
    tmp_path: Path,
) -> None:
    make = maker(tmp_path)
    _old, new = states_of(make())
    total = FaultyFiles()
    make().swap(total)
    for changes in range(len(total.changes)):
        world, files = make(), Killed(changes)
        with pytest.raises(KeyboardInterrupt):
            world.swap(files)
        finishing = files.next()
        if swap.finish(world.journal, finishing):
            finishing.cut_the_power()
            assert world.state() == new, changes


@pytest.mark.parametrize("phase", ["leaving", "coming"])
def test_a_power_cut_keeps_any_of_the_renames(tmp_path: Path, phase: str) -> None:
    leaving = ["a/both", "a/goes", "b/c/goes"]
    coming = ["a/both", "n/e/w", "n/x"]
    for number, kept in enumerate(itertools.product((False, True), repeat=3)):
        world = World(tmp_path / str(number))
        old, inverse = staged_path(world.live), replaced_path(world.live)
        prepare(world.live, old, inverse, Hasty())
        done = leaving if phase == "coming" else list(itertools.compress(leaving, kept))
        for path in done:
            carry(world.live / path, inverse / FILES / path)
        for path in itertools.compress(coming, kept) if phase == "coming" else ():
            carry(old / FILES / path, world.live / path)

        transplant(world.live, old, inverse, Hasty())

        assert texts(world.live) == NEW
        assert texts(inverse / FILES) == {path: OLD[path] for path in leaving}


def carry(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    source.rename(target)


@pytest.mark.parametrize("path", ["a/both", "a/goes", "n/x"])
@pytest.mark.parametrize("changes", [0, 1, 2, 3, 4, 5, 6, 7, 8])
def test_a_file_of_somebody_else_is_neither_moved_nor_overwritten(
    tmp_path: Path, path: str, changes: int
) -> None:
    world = World(tmp_path)
    staged, inverse = staged_path(world.live), replaced_path(world.live)
    prepare(world.live, staged, inverse, Hasty())
    with pytest.raises(KeyboardInterrupt):
        transplant(world.live, staged, inverse, Dying(changes))
    had_come = (staged / FILES / path).exists() is False and path in NEW
    (world.live / path).parent.mkdir(exist_ok=True)
    (world.live / path).unlink(missing_ok=True)
    (world.live / path).write_text("of somebody else")
    before = texts(tmp_path)

    if had_come:
        transplant(world.live, staged, inverse, Hasty())
    else:
        with pytest.raises(IntegrityError, match="made or written to after"):
            transplant(world.live, staged, inverse, Hasty())
        assert texts(tmp_path) == before

    assert (world.live / path).read_text() == "of somebody else"


def test_a_file_that_nobody_knows_stays(world: World) -> None:
    (world.live / "b/c/another").write_text("committed since")

    world.swap(Hasty())

    assert texts(world.live) == NEW | {"b/c/another": "committed since"}
    world.undo(Hasty())
    assert texts(world.live) == OLD | {"b/c/another": "committed since"}


@pytest.mark.parametrize("path", ["a/goes", "n/x"])
def test_an_entry_that_is_no_file_is_named(world: World, path: str) -> None:
    (world.live / path).unlink(missing_ok=True)
    (world.live / path).mkdir(parents=True)

    with pytest.raises(IntegrityError, match="something else stands") as caught:
        world.swap(Hasty())

    assert caught.value.where == str(world.live / path)
    assert not world.journal.exists()


@pytest.mark.parametrize("lines", [b"1:1 - a/goes\nrubb", b"1:%s - a/goes\n" % (b"9" * 5000)])
def test_a_list_that_is_damaged_is_named(world: World, lines: bytes) -> None:
    (staged_path(world.live) / CHANGES).write_bytes(lines)

    with pytest.raises(IntegrityError, match="list of a restore is damaged"):
        world.swap(Hasty())

    assert texts(world.live) == OLD


def test_the_list_keeps_any_name(tmp_path: Path) -> None:
    names = [
        "a b",
        "new\nline",
        "back\\slash\\n",
        "- - x",
        b"\xff".decode("utf-8", "surrogateescape"),
    ]
    changes = [Change(name, None, (3, -1)) for name in names]

    write_changes(tmp_path, changes, Hasty())

    assert list(read_changes(tmp_path)) == changes


@pytest.mark.parametrize("what", ["replaced", "live"])
def test_half_of_it_is_not_undone(world: World, what: str) -> None:
    world.swap(Hasty())
    shutil.rmtree(replaced_path(world.live) if what == "replaced" else world.live)
    before = texts(world.root)

    with pytest.raises(NoRestorePoint, match="no longer whole"):
        world.undo(Hasty())

    assert texts(world.root) == before


def test_what_a_failed_restore_has_staged_is_not_what_an_undo_puts_back(make) -> None:
    world = make()
    old, _new = states_of(world)
    for move in world.moves:
        staged = staged_path(move.live)
        if move.live.is_dir():
            fill(staged, {"debris": "x", "files/debris": "x"})
        else:
            staged.write_text("debris")

    world.undo(Hasty())

    assert world.state() == old
