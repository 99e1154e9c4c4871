"""Restored data takes the place of live data: all of it, or none, and back again."""

from __future__ import annotations

import itertools
import os
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from collective.recipe.backup.errors import BackupError, IntegrityError, NoRestorePoint
from collective.recipe.backup.files import Files
from collective.recipe.backup.restoring import journal, letting_go, swap, undoing
from collective.recipe.backup.restoring.journal import journal_path, read
from collective.recipe.backup.restoring.moves import REPLACED_SUFFIX, STAGED_SUFFIX, Move
from collective.recipe.backup.tests.faults.harness import Dying, FaultyFiles, survive_every_fault
from collective.recipe.backup.tests.namespaces import mounted, tmpfs
from collective.recipe.backup.tests.smallfiles import of_later_release, rewrite

OLD = {"Data.fs": "old", "Data.fs.index": "old index", "blobs/1": "old blob"}
NEW = {"Data.fs": "new", "Data.fs.index": "new index", "blobs/2": "new blob"}


class Live:
    """A directory with live data in it and its replacement beside it."""

    new = NEW

    def __init__(self, root: Path, *, staged: dict[str, str] = NEW) -> None:
        self.root = root
        self.journal = journal_path(root / "Data.fs")
        self.moves = [
            Move(live=root / "blobs"),
            Move(live=root / "Data.fs", companion=root / "Data.fs.index"),
        ]
        self.fill(OLD, "")
        self.fill(staged, STAGED_SUFFIX)

    def fill(self, content: dict[str, str], suffix: str) -> None:
        for name, text in content.items():
            top, _slash, below = name.partition("/")
            path = self.root / (top + suffix) / below
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)

    def content(self, suffix: str = "") -> dict[str, str]:
        names = [f"{name}{suffix}" for name in ("Data.fs", "Data.fs.index")]
        found = {name: self.root / name for name in names}
        blobs = self.root / f"blobs{suffix}"
        found |= {f"blobs/{path.name}": path for path in blobs.glob("*")}
        return {
            name.removesuffix(suffix) if suffix else name: path.read_text()
            for name, path in found.items()
            if path.exists()
        }

    def swap(self, files: Files) -> None:
        swap.swap(self.journal, self.moves, files)


class Grafted(Live):
    """The same, where the live file is only to get another tail."""

    new = NEW | {"Data.fs": "old but" + 3 * " and longer" * 1000}

    def __init__(self, root: Path) -> None:
        super().__init__(root, staged=NEW | {"Data.fs": self.new["Data.fs"][2:]})
        self.moves[1] = Move(live=root / "Data.fs", companion=root / "Data.fs.index", keep=2)


@pytest.fixture(params=[Live, Grafted])
def kind(request) -> type[Live]:
    return request.param


@pytest.fixture
def live(tmp_path: Path) -> Live:
    return Live(tmp_path)


def test_what_was_staged_is_live_and_what_was_live_is_kept(live: Live) -> None:
    live.swap(Files())

    assert live.content() == NEW
    assert live.content(REPLACED_SUFFIX) == OLD
    assert not live.content(STAGED_SUFFIX)
    assert not swap.is_pending(live.journal)


def test_an_old_index_never_stands_beside_new_data(tmp_path: Path) -> None:
    live = Live(tmp_path, staged={"Data.fs": "new", "blobs/2": "new blob"})

    live.swap(Files())

    assert live.content() == {"Data.fs": "new", "blobs/2": "new blob"}


def test_data_comes_to_a_place_where_nothing_was(tmp_path: Path) -> None:
    live = Live(tmp_path)
    for path in (tmp_path / "Data.fs", tmp_path / "Data.fs.index", tmp_path / "blobs/1"):
        path.unlink()
    (tmp_path / "blobs").rmdir()

    live.swap(Files())

    assert live.content() == NEW
    assert undoing.replaced(live.journal) == []


def test_undo_puts_back_what_was_live_and_can_be_undone(live: Live) -> None:
    live.swap(Files())

    undoing.undo(live.journal, Files())

    assert live.content() == OLD
    assert live.content(REPLACED_SUFFIX) == NEW

    undoing.undo(live.journal, Files())

    assert live.content() == NEW


def test_undo_removes_what_stands_where_nothing_was(tmp_path: Path) -> None:
    live = Live(tmp_path)
    (tmp_path / "Data.fs.index").unlink()
    (tmp_path / "Data.fs").unlink()
    live.swap(Files())

    undoing.undo(live.journal, Files())

    assert live.content() == {"blobs/1": "old blob"}


def test_without_a_restore_there_is_nothing_to_undo(live: Live) -> None:
    with pytest.raises(NoRestorePoint, match="nothing to undo"):
        undoing.undo(live.journal, Files())


def test_a_restore_into_the_empty_is_not_undone_to_nothing(tmp_path: Path) -> None:
    live = Live(tmp_path)
    for path in (tmp_path / "Data.fs", tmp_path / "Data.fs.index", tmp_path / "blobs/1"):
        path.unlink()
    (tmp_path / "blobs").rmdir()
    live.swap(Files())

    with pytest.raises(NoRestorePoint, match="nothing to undo"):
        undoing.undo(live.journal, Files())

    assert live.content() == NEW


def test_a_second_restore_lets_go_what_the_first_replaced(live: Live) -> None:
    live.swap(Files())
    live.fill({"Data.fs": "newer", "blobs/3": "newer blob"}, STAGED_SUFFIX)

    live.swap(Files())

    assert live.content() == {"Data.fs": "newer", "blobs/3": "newer blob"}
    assert live.content(REPLACED_SUFFIX) == NEW


def test_let_go_removes_what_was_replaced(live: Live) -> None:
    live.swap(Files())

    letting_go.let_go(live.journal, Files())

    assert sorted(path.name for path in live.root.iterdir()) == [
        "Data.fs",
        "Data.fs.index",
        "blobs",
    ]


@pytest.mark.slow
def test_a_let_go_dies_or_fails_anywhere_and_is_finished(tmp_path: Path, kind: type[Live]) -> None:
    numbers = itertools.count()

    def make() -> Live:
        root = tmp_path / str(next(numbers))
        root.mkdir()
        return kind(root)

    def check(live: Live, outcome: BaseException | None) -> None:
        if outcome is None:
            assert live.content() == kind.new
        if not swap.finish(live.journal, Files()):
            assert live.content() in (OLD, kind.new)
            if live.content() == OLD:
                live.swap(Files())
        assert live.content() == kind.new
        if kind is Live:
            assert live.content(REPLACED_SUFFIX) == OLD
        undoing.undo(live.journal, Files())
        assert live.content() == OLD

    survive_every_fault(make, Live.swap, check)


@pytest.mark.slow
def test_an_undo_dies_or_fails_anywhere_and_is_finished(tmp_path: Path, kind: type[Live]) -> None:
    def make() -> Live:
        live = kind(Path(tempfile.mkdtemp(dir=tmp_path)))
        live.swap(Files())
        return live

    def act(live: Live, files: FaultyFiles) -> None:
        undoing.undo(live.journal, files)

    def check(live: Live, outcome: BaseException | None) -> None:
        if not swap.finish(live.journal, Files()) and live.content() == kind.new:
            undoing.undo(live.journal, Files())
        assert live.content() == OLD
        undoing.undo(live.journal, Files())
        assert live.content() == kind.new

    survive_every_fault(make, act, check)


@pytest.mark.slow
def test_a_swap_that_died_is_taken_back_whatever_dies_meanwhile(
    tmp_path: Path, kind: type[Live]
) -> None:
    total = FaultyFiles()
    kind(Path(tempfile.mkdtemp(dir=tmp_path))).swap(total)
    deaths = itertools.cycle(range(len(total.changes) + 1))

    def died() -> Live:
        while True:
            live = kind(Path(tempfile.mkdtemp(dir=tmp_path)))
            with suppress(KeyboardInterrupt):
                live.swap(Dying(next(deaths)))
            if swap.is_pending(live.journal):
                return live

    def act(live: Live, files: FaultyFiles) -> None:
        undoing.take_back(live.journal, files)

    def check(live: Live, outcome: BaseException | None) -> None:
        if outcome is not None and read(live.journal).state == journal.SWAPPING:
            undoing.take_back(live.journal, Files())
        swap.finish(live.journal, Files())
        assert live.content() == OLD

    survive_every_fault(died, act, check)


def test_a_swap_that_died_where_nothing_was_is_finished_instead_of_taken_back(
    tmp_path: Path,
) -> None:
    """Nothing would be left of a site that is lost."""
    live = Live(tmp_path)
    for path in (tmp_path / "Data.fs", tmp_path / "Data.fs.index", tmp_path / "blobs/1"):
        path.unlink()
    (tmp_path / "blobs").rmdir()
    changes = 0
    while not swap.is_pending(live.journal):
        changes += 1
        with suppress(KeyboardInterrupt):
            live.swap(Dying(changes))

    undoing.take_back(live.journal, Files())

    assert live.content() == NEW
    assert not swap.is_pending(live.journal)


def test_letting_go_dies_anywhere_offers_no_half_of_it_and_is_finished(tmp_path: Path) -> None:
    def make() -> Live:
        live = Live(Path(tempfile.mkdtemp(dir=tmp_path)))
        live.swap(Files())
        return live

    def act(live: Live, files: FaultyFiles) -> None:
        letting_go.let_go(live.journal, files)

    def check(live: Live, outcome: BaseException | None) -> None:
        assert live.content() == NEW
        if undoing.replaced(live.journal):
            assert live.content(REPLACED_SUFFIX) == OLD
        letting_go.let_go(live.journal, Files())
        assert live.content() == NEW
        assert live.content(REPLACED_SUFFIX) == {}
        assert not live.journal.exists()

    survive_every_fault(make, act, check)


def test_what_was_made_after_a_crash_is_never_overwritten(live: Live) -> None:
    files = FaultyFiles()
    live.swap(files)
    undoing.undo(live.journal, Files())
    live.fill({"Data.fs": "staged"}, STAGED_SUFFIX)
    rewrite(live.journal, journal.FORM, state=journal.SWAPPING)

    with pytest.raises(IntegrityError, match="made here after") as caught:
        swap.finish(live.journal, Files())

    assert ".replaced is what was live" in caught.value.hint
    assert live.content()["Data.fs"] == "old"


def test_a_new_swap_does_not_run_over_one_that_was_broken_off(live: Live) -> None:
    live.swap(Files())
    rewrite(live.journal, journal.FORM, state=journal.SWAPPING)

    with pytest.raises(BackupError, match="broken off"):
        live.swap(Files())


def test_a_damaged_journal_is_named(live: Live) -> None:
    live.journal.write_text("{")

    with pytest.raises(IntegrityError, match=r"Data\.fs\.restore\.json"):
        swap.finish(live.journal, Files())


def test_a_journal_of_a_later_release_is_refused_and_left_as_it_is(live: Live) -> None:
    """Whoever goes back to this release in the middle of a restore keeps what mends it."""
    live.swap(Files())
    rewrite(live.journal, journal.FORM, state=journal.SWAPPING)
    of_later_release(live.journal, journal.FORM)
    before = live.journal.read_bytes()

    for act in (swap.finish, undoing.undo, letting_go.let_go):
        with pytest.raises(IntegrityError, match="a later release wrote it") as caught:
            act(live.journal, Files())
        assert "with the release that began it" in caught.value.hint

    assert live.journal.read_bytes() == before


def test_a_journal_whose_paths_are_damaged_moves_nothing(live: Live) -> None:
    live.swap(Files())
    rewrite(live.journal, journal.FORM, state=journal.SWAPPING)
    content = live.content()
    live.journal.write_bytes(live.journal.read_bytes().replace(b"Data.fs", b"Date.fs"))

    with pytest.raises(IntegrityError, match="its check does not fit"):
        swap.finish(live.journal, Files())

    assert live.content() == content


def test_a_pipe_in_the_place_of_a_journal_is_not_waited_for(live: Live) -> None:
    os.mkfifo(live.journal)
    with pytest.raises(IntegrityError, match="not a regular file"):
        swap.is_pending(live.journal)


def test_a_tail_can_be_cut_off(tmp_path: Path) -> None:
    (tmp_path / "Data.fs").write_text("kept and more")
    (tmp_path / "Data.fs.restoring").write_text("")
    journal = journal_path(tmp_path / "Data.fs")

    swap.swap(journal, [Move(live=tmp_path / "Data.fs", keep=4)], Files())

    assert (tmp_path / "Data.fs").read_text() == "kept"
    undoing.undo(journal, Files())
    assert (tmp_path / "Data.fs").read_text() == "kept and more"


def test_a_file_that_was_written_to_meanwhile_gets_no_tail(tmp_path: Path) -> None:
    live = Grafted(tmp_path)
    live.swap(Files())
    live.fill({"Data.fs": "tail"}, STAGED_SUFFIX)
    (tmp_path / "Data.fs").write_text("old and somebody else's")
    (tmp_path / "Data.fs.index").unlink()
    rewrite(live.journal, journal.FORM, state=journal.SWAPPING)

    with pytest.raises(IntegrityError, match="written to after"):
        swap.finish(live.journal, Files())

    assert (tmp_path / "Data.fs").read_text() == "old and somebody else's"


@mounted
def test_no_disk_is_emptied_that_is_mounted_in_what_was_replaced(live: Live) -> None:
    live.swap(Files())
    (live.root / "blobs.replaced" / "disk").mkdir()
    tmpfs(live.root / "blobs.replaced" / "disk")
    (live.root / "blobs.replaced" / "disk" / "precious").touch()

    with pytest.raises(BackupError, match="would be emptied") as caught:
        letting_go.let_go(live.journal, Files())

    assert caught.value.where == str(live.root / "blobs.replaced" / "disk")
    assert (live.root / "blobs.replaced" / "disk" / "precious").exists()
