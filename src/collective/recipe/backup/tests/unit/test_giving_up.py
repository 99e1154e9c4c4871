"""A restore that cannot be finished is given up: nothing is lost, and it is said what is where."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from collective.recipe.backup.cli import main
from collective.recipe.backup.config import STANDARD
from collective.recipe.backup.errors import NoRestorePoint
from collective.recipe.backup.files import Files
from collective.recipe.backup.operations.undo import give_up
from collective.recipe.backup.restoring import giving_up, letting_go, swap, undoing
from collective.recipe.backup.restoring.journal import journal_path
from collective.recipe.backup.restoring.moves import Move
from collective.recipe.backup.tests.blobtrees import content
from collective.recipe.backup.tests.faults.harness import (
    Dying,
    FaultyFiles,
    Hasty,
    survive_every_fault,
)
from collective.recipe.backup.tests.runs import NOON, Operated
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.texttrees import fill, texts

STAMP = "2026-03-01-12-00-00"


class World:
    """A Data.fs with its index, and blobs, with what is to replace each of them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.journal = journal_path(root / "Data.fs")
        self.index = root / "Data.fs.index"
        self.moves = [
            Move(live=root / "blobs", inside=()),
            Move(live=root / "trees"),
            Move(live=root / "Data.fs", companion=self.index),
        ]
        for when, place, suffix in (
            ("old", "blobs", ""),
            ("new", "blobs/.backup.restoring", ".restoring"),
        ):
            fill(root, {f"{place}/a": f"{when} a", f"trees{suffix}/b": f"{when} b"})
            fill(root, {f"{name.name}{suffix}": when for name in (root / "Data.fs", self.index)})

    def give_up(self, files: Files) -> list[str]:
        lives = [self.root / "Data.fs", self.index, self.root / "trees", self.root / "blobs"]
        return giving_up.give_up(self.journal, lives, STAMP, files)


def died(root: Path, changes: int) -> World:
    world = World(root)
    with pytest.raises(KeyboardInterrupt):
        swap.swap(world.journal, world.moves, Dying(changes))
    return world


def died_with(directory: Path, name: str) -> World:
    """Return a world that died as soon as there was something of that name in it."""
    return died(directory / "it", changes_until(directory, name))


def changes_until(directory: Path, name: str) -> int:
    """Return after how many changes there is something of that name in a world."""
    for changes in itertools.count():
        world = died(directory / str(changes), changes)
        if os.path.lexists(world.root / name):
            return changes
    raise AssertionError


def contents_of(world: World) -> list[str]:
    """Return what is in all files, whatever they are called."""
    return sorted(texts(world.root).values())


def all_changes(directory: Path) -> int:
    files = FaultyFiles()
    world = World(directory / "whole")
    swap.swap(world.journal, world.moves, files)
    return len(files.changes)


def test_wherever_it_was_broken_off_nothing_is_lost_and_a_restore_works(tmp_path: Path) -> None:
    worlds = (died(tmp_path / str(at), at) for at in range(all_changes(tmp_path)))
    pending = [world for world in worlds if swap.is_pending(world.journal)]
    assert len(pending) > 5
    for world in pending:
        before = contents_of(world)

        lines = world.give_up(Files())

        assert contents_of(world) == before
        said = [Path(line.partition(": ")[0].strip()) for line in lines]
        asides = {path for path in said if path.name.endswith(STAMP)}
        assert all(os.path.lexists(path) for path in asides)
        fill(world.root, {"Data.fs.restoring": "newest"})
        swap.swap(world.journal, [Move(live=world.root / "Data.fs")], Files())
        letting_go.let_go(world.journal, Files())
        assert (world.root / "Data.fs").read_text() == "newest"
        assert all(os.path.lexists(path) for path in asides)


def test_giving_up_says_what_each_file_is(tmp_path: Path) -> None:
    world = died_with(tmp_path, "trees.replaced")

    assert [line.replace(str(world.root), "") for line in world.give_up(Files())] == [
        "/blobs: what was restored",
        f"    /blobs/.backup.replaced.{STAMP}: what was live before",
        "/trees: nothing is here now",
        f"    /trees.restoring.{STAMP}: what was to become live",
        f"    /trees.replaced.{STAMP}: what was live before",
        "/Data.fs: what was here before, or a mixture",
        f"    /Data.fs.restoring.{STAMP}: what was to become live",
        "/Data.fs.index: what was here before, or a mixture",
        f"    /Data.fs.index.restoring.{STAMP}: what was to become live",
    ]


def test_what_cannot_be_renamed_is_said_and_the_rest_goes_on(tmp_path: Path) -> None:
    class Stuck(Files):
        def _change(self, operation, path, function, *args, **kwargs):
            if operation == "rename" and Path(args[0]).name == "trees.restoring":
                raise OSError(16, "Device or resource busy", os.fspath(path))
            return super()._change(operation, path, function, *args, **kwargs)

    world = died_with(tmp_path, "Data.fs.restore.json")

    lines = world.give_up(Stuck())

    [line] = [line for line in lines if "cannot be renamed" in line]
    assert f"{world.root / 'trees.restoring'}: what was to become live" in line
    assert "Device or resource busy" in line
    assert not world.journal.exists()


def test_giving_up_dies_anywhere_and_can_be_done_again(tmp_path: Path) -> None:
    numbers = itertools.count()
    changes = changes_until(tmp_path / "first", "trees.replaced")
    before = contents_of(died(tmp_path / "it", changes))

    def make() -> World:
        return died(tmp_path / f"number {next(numbers)}", changes)

    def check(world: World, outcome: BaseException | None) -> None:
        if world.journal.exists():
            world.give_up(Hasty())
        assert not world.journal.exists()
        assert [text for text in contents_of(world) if "{" not in text] == [
            text for text in before if "{" not in text
        ]

    survive_every_fault(make, lambda world, files: world.give_up(files), check)


def test_an_undo_that_was_broken_off_leaves_what_was_live_before(tmp_path: Path) -> None:
    world = World(tmp_path)
    swap.swap(world.journal, world.moves, Hasty())
    changes = 0
    while not swap.is_pending(world.journal):
        changes += 1
        with pytest.raises(KeyboardInterrupt):
            undoing.undo(world.journal, Dying(changes))

    lines = [line.replace(str(world.root), "") for line in world.give_up(Files())]

    assert lines[2:5] == [
        "/trees: what the last restore had made of it",
        f"    /trees.replaced.{STAMP}: what was live before",
        "/Data.fs: what the last restore had made of it",
    ]


def test_without_a_broken_off_restore_there_is_nothing_to_give_up(tmp_path: Path) -> None:
    world = World(tmp_path)
    with pytest.raises(NoRestorePoint, match="nothing to give up"):
        world.give_up(Files())
    swap.swap(world.journal, world.moves, Files())
    with pytest.raises(NoRestorePoint, match="nothing to give up"):
        world.give_up(Files())
    assert len(undoing.replaced(world.journal)) == 4


def test_with_a_damaged_journal_all_that_is_there_is_set_aside(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.journal.write_text("{")
    before = sorted(texts(tmp_path).values())

    lines = world.give_up(Files())

    assert sorted(texts(tmp_path).values()) == before
    assert sum(line.startswith("    ") for line in lines) == 4
    assert (tmp_path / "blobs" / f".backup.restoring.{STAMP}" / "a").exists()


# the command


@pytest.fixture
def broken_off(site: Site) -> Operated:
    operated = Operated(site)
    site.commit({"a": 1}, {"b": b"blob"}, at=NOON)
    operated.backup()
    site.commit({"a": 2}, {"b": b"other"}, at=operated.now)
    journal = journal_path(site.filestorage)
    changes = 0
    while not swap.is_pending(journal):
        changes += 5
        with pytest.raises(KeyboardInterrupt):
            operated.restore(files=Dying(changes))
    return operated


def test_the_command_sets_it_aside_and_a_restore_works_again(broken_off, capsys) -> None:
    stamped = f"Data.fs.restore.json.{broken_off.now:%Y}"

    assert main("restore", STANDARD, broken_off.config_path, ["-n", "--give-up"]) == 0

    directory = broken_off.site.filestorage.parent
    assert f"{broken_off.site.blobstorage}: " in capsys.readouterr().out
    assert [name for name in os.listdir(directory) if name.startswith(stamped[:20])]
    broken_off.restore()
    assert broken_off.site.contents()["values"] == {"a": 1}


def test_a_no_to_giving_up_changes_nothing(broken_off) -> None:
    asked: list[str] = []
    before = content(broken_off.site.directory / "var")
    run = broken_off.run("restore", ask=lambda question: bool(asked.append(question)))

    assert give_up(run) is None

    assert "removes nothing" in asked[0]
    assert content(broken_off.site.directory / "var") == before


def test_where_no_restore_was_broken_off_nobody_is_asked(site: Site) -> None:
    operated = Operated(site)
    with pytest.raises(NoRestorePoint, match="nothing to give up"):
        give_up(operated.run("restore", ask=lambda _question: pytest.fail("it asked")))
