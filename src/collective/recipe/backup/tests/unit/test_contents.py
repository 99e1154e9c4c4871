"""What lies in a directory that stays is exchanged, whatever was done before the machine died."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from collective.recipe.backup import contents
from collective.recipe.backup.contents import laid_out_in, lay_out, places_of
from collective.recipe.backup.errors import BackupError, IntegrityError, NoRestorePoint
from collective.recipe.backup.files import Files
from collective.recipe.backup.restoring import letting_go, swap, undoing
from collective.recipe.backup.restoring.journal import SWAPPING, journal_path, read
from collective.recipe.backup.restoring.moves import Move
from collective.recipe.backup.tests.faults.harness import (
    Dying,
    Fault,
    FaultyFiles,
    Hasty,
    survive_every_fault,
)
from collective.recipe.backup.tests.namespaces import (
    bind,
    make_read_only,
    mounted,
    overlay,
    tmpfs,
    unmount,
)
from collective.recipe.backup.tests.texttrees import fill, texts

SAME = {"0x01/3": "same"}
OLD = SAME | {".layout": "bushy", "0x00/0x00/1": "old", "0x00/0x01/2": "goes", "note": "m"}
NEW = SAME | {".layout": "lawn", "0x00/0x00/1": "new", "0x00/0x02/4": "comes", "0x05/5": "n"}
BELOW = ("0x00/0x00",)


class World:
    """A tree whose top and one directory below have to stay, and a Data.fs that need not.

    What is to come is staged in it.
    """

    def __init__(self, root: Path, below: tuple[str, ...] = BELOW, old: dict[str, str] = OLD):
        self.root = root
        self.live = root / "blobs"
        self.journal = journal_path(root / "Data.fs")
        self.moves = [Move(live=self.live, inside=below), Move(live=root / "Data.fs")]
        self.places = places_of(self.live, below)
        fill(self.live, old)
        for path in ("", *below):
            (self.live / path).mkdir(parents=True, exist_ok=True)
        (root / "Data.fs").write_text("old")

    def stage(self, new: dict[str, str] = NEW) -> World:
        lay_out(self.places, Hasty())
        fill(self.places[0].staged, new)
        (self.root / "Data.fs.restoring").write_text("new")
        return self

    def swap(self, files: Files) -> None:
        swap.swap(self.journal, self.moves, files)

    def undo(self, files: Files) -> None:
        undoing.undo(self.journal, files)

    def state(self) -> dict[str, str]:
        found = texts(self.live)
        rooms = (contents.STAGED, contents.LEAVING, contents.REPLACED)
        found = {name: text for name, text in found.items() if not set(rooms) & {*Path(name).parts}}
        return found | {"Data.fs": (self.root / "Data.fs").read_text()}


BEFORE, AFTER = OLD | {"Data.fs": "old"}, NEW | {"Data.fs": "new"}


@pytest.fixture
def make(tmp_path: Path) -> Callable[[], World]:
    numbers = itertools.count()

    def make() -> World:
        return World(tmp_path / str(next(numbers))).stage()

    return make


def test_what_comes_is_there_and_what_was_there_is_kept(make) -> None:
    world = make()
    stays = [place.root.stat().st_ino for place in world.places]

    world.swap(Files())

    assert world.state() == AFTER
    assert [place.root.stat().st_ino for place in world.places] == stays
    assert undoing.replaced(world.journal) == [
        *(place.replaced for place in world.places),
        world.root / "Data.fs.replaced",
    ]
    kept = [texts(place.replaced) for place in world.places]
    assert kept == [{name: OLD[name] for name in OLD if name != "0x00/0x00/1"}, {"1": "old"}]
    assert not list(world.root.rglob("*.partial"))


def test_an_undo_puts_all_back_and_can_be_undone(make) -> None:
    world = make()
    world.swap(Files())

    world.undo(Files())
    assert world.state() == BEFORE

    world.undo(Files())
    assert world.state() == AFTER


def test_what_was_replaced_is_let_go(make) -> None:
    world = make()
    world.swap(Files())

    letting_go.let_go(world.journal, Files())

    assert texts(world.root) == {f"blobs/{name}": NEW[name] for name in NEW} | {"Data.fs": "new"}


def test_the_second_exchange_lets_go_what_the_first_replaced(make) -> None:
    world = make()
    world.swap(Files())
    world.stage({"0x00/0x00/9": "newest"})

    world.swap(Files())

    assert world.state() == {"0x00/0x00/9": "newest", "Data.fs": "new"}
    world.undo(Files())
    assert world.state() == AFTER


def test_into_the_empty_nothing_is_replaced(tmp_path: Path) -> None:
    world = World(tmp_path, (), {})
    (tmp_path / "Data.fs").unlink()
    world.stage().swap(Files())

    assert world.state() == AFTER
    assert undoing.replaced(world.journal) == []
    with pytest.raises(NoRestorePoint, match="nothing to undo"):
        world.undo(Files())


@pytest.mark.slow
def test_a_restore_dies_or_fails_anywhere_and_is_finished(make) -> None:
    def check(world: World, outcome: BaseException | None) -> None:
        if outcome is None:
            assert world.state() == AFTER
        if not swap.finish(world.journal, Hasty()):
            assert world.state() in (BEFORE, AFTER)
            if world.state() == BEFORE:
                world.swap(Hasty())
        assert world.state() == AFTER
        world.undo(Hasty())
        assert world.state() == BEFORE

    survive_every_fault(make, World.swap, check)


@pytest.mark.slow
def test_an_undo_dies_or_fails_anywhere_and_is_finished(make) -> None:
    def restored() -> World:
        world = make()
        world.swap(Hasty())
        return world

    def check(world: World, outcome: BaseException | None) -> None:
        if not swap.finish(world.journal, Hasty()) and world.state() == AFTER:
            world.undo(Hasty())
        assert world.state() == BEFORE
        world.undo(Hasty())
        assert world.state() == AFTER

    survive_every_fault(restored, World.undo, check, faults=(Fault.POWER_CUT, Fault.EIO))


def test_finishing_dies_or_fails_anywhere_as_well(make) -> None:
    total = FaultyFiles()
    make().swap(total)

    def died() -> World:
        world = make()
        with pytest.raises(KeyboardInterrupt):
            world.swap(Dying(len(total.changes) // 2))
        return world

    def check(world: World, outcome: BaseException | None) -> None:
        swap.finish(world.journal, Hasty())
        assert world.state() == AFTER

    survive_every_fault(died, lambda world, files: swap.finish(world.journal, files), check)


@pytest.mark.slow
def test_an_exchange_that_died_is_taken_back_whatever_dies_meanwhile(make) -> None:
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
        assert world.state() == BEFORE

    survive_every_fault(
        died,
        lambda world, files: undoing.take_back(world.journal, files),
        check,
        faults=(Fault.POWER_CUT, Fault.EIO),
    )


def test_what_has_left_is_durable_before_anything_comes(tmp_path: Path) -> None:
    world = World(tmp_path, ()).stage()
    [place] = world.places
    files = FaultyFiles()

    contents.exchange(place, files)

    renamed = [path for what, path in files.changes if what == "rename"]
    last, first = renamed.index(place.replaced), renamed.index(place.root / ".layout")
    assert last < first
    at = files.changes.index(("rename", place.replaced))
    assert files.changes[at - 1] == ("syncfs", place.root)
    assert files.changes[at + 1] == ("fsync", place.root)


@pytest.mark.parametrize("changes", range(8, 40, 3))
def test_what_was_made_since_the_crash_is_not_written_over(make, changes: int) -> None:
    world = make()
    with pytest.raises(KeyboardInterrupt):
        world.swap(Dying(changes))
    if not world.journal.exists() or (world.live / ".layout").exists():
        return
    if not world.places[0].replaced.exists():
        return  # what leaves takes along what was made since
    fill(world.live, {".layout": "of somebody else"})

    with pytest.raises(IntegrityError, match="made here after") as caught:
        swap.finish(world.journal, Hasty())

    assert caught.value.where == str(world.live / ".layout")
    assert (world.live / ".layout").read_text() == "of somebody else"
    (world.live / ".layout").unlink()
    swap.finish(world.journal, Hasty())
    assert world.state() == AFTER


def test_what_belongs_to_the_disk_stays(tmp_path: Path) -> None:
    world = World(tmp_path, ()).stage()
    fill(world.live, {"lost+found/x": "y"})

    world.swap(Files())

    assert world.state() == AFTER | {"lost+found/x": "y"}


def test_what_a_trial_left_that_died_is_no_content(tmp_path: Path) -> None:
    world = World(tmp_path, ()).stage()
    fill(world.live, {".backup.0123abcd.partial/.backup/x": "y"})

    world.swap(Files())

    assert world.state() == AFTER | {".backup.0123abcd.partial/.backup/x": "y"}
    assert not (world.places[0].replaced / ".backup.0123abcd.partial").exists()


class Stuck(Files):
    """Files on a disk on which some things cannot be renamed."""

    def __init__(self, *names: str, number: int = errno.EACCES) -> None:
        super().__init__()
        self._names = names
        self._number = number

    def _change(self, operation, path, function, *args, **kwargs):
        if operation in ("try", "rename") and Path(args[0]).name in self._names:
            raise OSError(self._number, os.strerror(self._number), os.fspath(path))
        return super()._change(operation, path, function, *args, **kwargs)


def test_what_cannot_leave_is_told_before_anything_has_changed(make) -> None:
    world = make()

    with pytest.raises(BackupError, match="Permission denied") as caught:
        world.swap(Stuck("0x01"))

    assert caught.value.where == str(world.live / "0x01")
    assert not world.journal.exists()
    assert world.state() == BEFORE


def test_what_cannot_leave_and_is_in_no_way_stays_and_is_named(make, caplog) -> None:
    world = make()

    world.swap(Stuck("note"))

    assert world.state() == AFTER | {"note": "m"}
    assert f"stays where it is: {world.live / 'note'}" in caplog.text


def test_an_undo_tries_as_well_before_anything_has_changed(make) -> None:
    world = make()
    world.swap(Files())

    with pytest.raises(BackupError, match="Permission denied"):
        world.undo(Stuck("0x01"))

    assert world.state() == AFTER
    assert not swap.is_pending(world.journal)


@mounted
def test_on_real_mounts_each_thing_stays_on_its_disk(tmp_path: Path) -> None:
    (tmp_path / "blobs" / "0x00" / "0x00").mkdir(parents=True)
    (tmp_path / "second").mkdir()
    tmpfs(tmp_path / "blobs")
    (tmp_path / "blobs" / "0x00" / "0x00").mkdir(parents=True)
    bind(tmp_path / "second", tmp_path / "blobs" / "0x00" / "0x00")
    world = World(tmp_path).stage()

    world.swap(Files())

    assert world.state() == AFTER
    assert (tmp_path / "second" / "1").read_text() == "new"
    world.undo(Files())
    assert world.state() == BEFORE
    assert (tmp_path / "second" / "1").read_text() == "old"
    letting_go.let_go(world.journal, Files())
    assert list((tmp_path / "second").iterdir()) == [tmp_path / "second" / "1"]


@pytest.mark.slow
@mounted
def test_on_real_mounts_it_dies_anywhere_and_is_finished(tmp_path: Path) -> None:
    numbers = itertools.count()

    def make() -> World:
        root = tmp_path / str(next(numbers))
        for disk in ("blobs", "second"):
            (root / disk).mkdir(parents=True)
            bind(root / disk, root / disk)
        (root / "blobs" / "0x00" / "0x00").mkdir(parents=True)
        bind(root / "second", root / "blobs" / "0x00" / "0x00")
        return World(root).stage()

    def check(world: World, outcome: BaseException | None) -> None:
        if not swap.finish(world.journal, Hasty()) and world.state() == BEFORE:
            world.swap(Hasty())
        assert world.state() == AFTER
        world.undo(Hasty())
        assert world.state() == BEFORE

    survive_every_fault(make, World.swap, check, faults=(Fault.AFTER, Fault.EIO))


@mounted
def test_in_a_layer_of_a_container_directories_are_emptied_and_filled(tmp_path: Path) -> None:
    fill(tmp_path / "lower" / "blobs", OLD)
    (tmp_path / "merged").mkdir()
    tmpfs(tmp_path / "merged")  # an overlay is not laid over every file system
    for name in ("lower", "scratch", "merged"):
        (tmp_path / "merged" / name).mkdir()
    shutil.copytree(tmp_path / "lower", tmp_path / "merged" / "lower", dirs_exist_ok=True)
    top = tmp_path / "merged" / "merged"
    overlay(top, tmp_path / "merged" / "lower", tmp_path / "merged" / "scratch")
    with pytest.raises(OSError, match="cross-device"):
        (top / "blobs").rename(top / "other")
    world = World(top, ()).stage()

    world.swap(Files())

    assert world.state() == AFTER
    world.undo(Files())
    assert world.state() == BEFORE


@mounted
@pytest.mark.parametrize("act", [swap.finish, undoing.undo])
def test_a_disk_that_is_not_mounted_any_more_is_waited_for(
    tmp_path: Path, act: Callable[[Path, Files], object]
) -> None:
    (tmp_path / "blobs" / "0x00" / "0x00").mkdir(parents=True)
    (tmp_path / "second").mkdir()
    bind(tmp_path / "second", tmp_path / "blobs" / "0x00" / "0x00")
    world = World(tmp_path).stage()
    if act is swap.finish:
        with pytest.raises(KeyboardInterrupt):
            world.swap(Dying(40))
        assert swap.is_pending(world.journal)
    else:
        world.swap(Hasty())
    unmount(tmp_path / "blobs" / "0x00" / "0x00")
    before = texts(tmp_path)

    with pytest.raises(BackupError, match="was mounted, and is not now") as caught:
        act(world.journal, Files())

    assert caught.value.where == str(tmp_path / "blobs" / "0x00" / "0x00")
    assert texts(tmp_path) == before
    bind(tmp_path / "second", tmp_path / "blobs" / "0x00" / "0x00")
    act(world.journal, Files())
    assert world.state() == (AFTER if act is swap.finish else BEFORE)


@mounted
def test_a_disk_that_is_mounted_over_it_since_then_is_told(tmp_path: Path) -> None:
    world = World(tmp_path, ()).stage()
    world.swap(Hasty())
    tmpfs(world.live)

    with pytest.raises(BackupError, match="is mounted, and was not") as caught:
        world.undo(Files())

    assert caught.value.where == str(world.live)
    unmount(world.live)
    world.undo(Files())
    assert world.state() == BEFORE


@mounted
def test_a_disk_that_is_read_only_is_told_before_anything_has_changed(tmp_path: Path) -> None:
    world = World(tmp_path, ()).stage()
    bind(world.live, world.live)
    make_read_only(world.live)

    with pytest.raises(BackupError, match="Read-only file system") as caught:
        world.swap(Files())

    assert caught.value.where == str(world.live)
    assert world.state() == BEFORE


def test_only_rooms_that_were_laid_out_may_be_filled(tmp_path: Path) -> None:
    assert laid_out_in(tmp_path / "none") == frozenset()
    world = World(tmp_path)
    lay_out(world.places, Files())
    assert laid_out_in(world.places[0].staged) == frozenset(BELOW)
    fill(world.places[0].staged, {"0x01/x": "y"})
    assert laid_out_in(world.places[0].staged) is None
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "a").symlink_to("/etc")
    assert laid_out_in(tmp_path / "links") is None
    (tmp_path / "link").symlink_to(tmp_path)
    assert laid_out_in(tmp_path / "link") is None
