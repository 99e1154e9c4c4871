"""Restores: over what is live, beside it, in part, undone; refused where they must be."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from collective.recipe.backup import history, locking
from collective.recipe.backup.errors import (
    BackupError,
    CommandFailed,
    IntegrityError,
    InUse,
    NoRestorePoint,
)
from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage.fsindex import position
from collective.recipe.backup.operations.announcing import reached
from collective.recipe.backup.operations.doctor import examine
from collective.recipe.backup.operations.restore import describe, restore, stream
from collective.recipe.backup.operations.restoreorder import RestoreOrder
from collective.recipe.backup.operations.status import status
from collective.recipe.backup.operations.undo import give_up, let_go, undo
from collective.recipe.backup.restoring import swap
from collective.recipe.backup.restoring.journal import (
    DONE,
    FORM,
    LETTING_GO,
    REVERTING,
    SWAPPING,
    UNDOING,
    journal_path,
    write,
)
from collective.recipe.backup.restoring.moves import Move
from collective.recipe.backup.tests.blobtrees import content
from collective.recipe.backup.tests.faults.harness import Dying, FaultyFiles
from collective.recipe.backup.tests.repositoryruns import OperatedInRepository
from collective.recipe.backup.tests.runs import NOON, Operated, copied
from collective.recipe.backup.tests.samples import Site, contents_of
from collective.recipe.backup.tests.smallfiles import rewrite
from collective.recipe.backup.times import Tid, show_tid


class Measured(Files):
    """Files that count the bytes written into files."""

    written = 0

    def _change(self, operation, path, function, *args, **kwargs):
        result = super()._change(operation, path, function, *args, **kwargs)
        if operation == "write":
            self.written += result
        return result


class Watched(Files):
    """Files that note what others may do with each file while it is written."""

    def __init__(self) -> None:
        super().__init__()
        self.modes: dict[str, int] = {}

    def _change(self, operation, path, function, *args, **kwargs):
        result = super()._change(operation, path, function, *args, **kwargs)
        if operation in ("create", "write", "fsync", "rename") and path.is_file():
            self.modes[path.name] = self.modes.get(path.name, 0) | (path.stat().st_mode & 0o077)
        return result


@pytest.fixture
def operated(site: Site) -> Operated:
    """A site of 300 kB that was backed up yesterday and today."""
    site.commit({"large": os.urandom(300_000)}, {"b": os.urandom(100_000)}, at=NOON)
    operated = Operated(site)
    operated.backup()
    site.commit({"a": 1}, {"c": b"small"}, at=NOON + timedelta(minutes=90))
    operated.backup()
    return operated


def restored(operated: Operated, **order) -> int:
    """Restore and return how many bytes that wrote."""
    files = Measured()
    assert restore(operated.run("restore", files=files), RestoreOrder(**order))
    return files.written


def test_a_copy_of_yesterday_gets_only_what_is_new(operated: Operated) -> None:
    contents = operated.site.contents()
    operated.restore(NOON)

    assert restored(operated) < 10_000
    assert operated.site.contents() == contents


def test_a_later_state_loses_only_its_tail(operated: Operated) -> None:
    contents = operated.site.contents()
    operated.site.commit({"a": 2})

    assert restored(operated) < 10_000
    assert operated.site.contents() == contents
    undo(operated.run("restore"))
    assert operated.site.contents() != contents


@pytest.mark.parametrize("kind", [Operated, OperatedInRepository])
@pytest.mark.parametrize("all_blobs", [False, True])
def test_a_rotten_blob_with_its_old_size_and_time_is_put_right_by_all_blobs(
    site: Site, kind: type[Operated], all_blobs: bool
) -> None:
    operated = kind(site)
    site.commit({"a": 1}, {"b": b"blob 1", "c": b"blob 2"}, at=NOON)
    operated.backup()
    contents = site.contents()
    rotten = min(site.blobstorage.rglob("*.blob"))
    time = rotten.stat().st_mtime_ns
    rotten.chmod(0o600)
    rotten.write_bytes(b"Blob 1")
    os.utime(rotten, ns=(time, time))

    assert restore(operated.run("restore"), RestoreOrder(all_blobs=all_blobs))

    assert (site.contents() == contents) is all_blobs
    undo(operated.run("restore"))
    assert rotten.read_bytes() == b"Blob 1"


def test_blobs_that_are_right_stay_the_files_that_they_are(site: Site) -> None:
    operated = Operated(site)
    site.commit({"a": 1}, {f"b{number}": b"blob %d" % number for number in range(7)}, at=NOON)
    operated.backup()
    contents = site.contents()
    gone, other, *_rest = sorted(site.blobstorage.rglob("*.blob"))
    gone.unlink()
    before = other.stat()
    site.commit({"a": 2}, {"new": b"later"}, at=NOON + timedelta(minutes=90))
    live = site.filestorage.read_bytes(), sorted(site.blobstorage.rglob("*.blob"))

    operated.restore()

    assert site.contents() == contents
    assert (other.stat().st_ino, other.stat().st_ctime_ns) == (before.st_ino, before.st_ctime_ns)
    kept = site.blobstorage.with_name("blobstorage.replaced")
    assert [path.read_bytes() for path in kept.rglob("*.blob")] == [b"later"]
    undo(operated.run("restore"))
    assert (site.filestorage.read_bytes(), sorted(site.blobstorage.rglob("*.blob"))) == live


@pytest.mark.parametrize("part", ["both", "blobstorage"])
def test_after_a_pack_what_changed_in_place_is_not_undone(site: Site, part: str) -> None:
    operated = Operated(site)
    site.commit({"a": 1}, {f"b{number}": b"blob %d" % number for number in range(7)}, at=NOON)
    operated.backup()
    site.commit({"a": 2}, {"new": b"later"}, at=NOON + timedelta(minutes=90))
    operated.restore(filestorage=part == "both")
    if part == "blobstorage":
        assert len(list(site.blobstorage.rglob("*.blob"))) == 7
    site.pack()
    before = site.filestorage.read_bytes(), sorted(site.blobstorage.rglob("*"))

    with pytest.raises(NoRestorePoint, match="packed since then"):
        undo(operated.run("restore"))

    assert (site.filestorage.read_bytes(), sorted(site.blobstorage.rglob("*"))) == before


def test_a_damaged_tail_is_written_anew(operated: Operated) -> None:
    contents = operated.site.contents()
    with operated.site.filestorage.open("r+b") as file:
        file.seek(-40, os.SEEK_END)
        file.write(b"damage")

    assert restored(operated) < 10_000
    assert operated.site.contents() == contents


def test_damage_at_the_begin_is_written_anew(operated: Operated) -> None:
    contents = operated.site.contents()
    with operated.site.filestorage.open("r+b") as file:
        file.seek(100)
        file.write(b"damage")

    restored(operated)

    assert operated.site.contents() == contents


def test_another_name_of_the_live_file_keeps_its_content(operated: Operated) -> None:
    operated.site.commit({"a": 2})
    twin = operated.site.filestorage.with_name("twin")
    twin.hardlink_to(operated.site.filestorage)
    before = twin.read_bytes()

    restored(operated)

    assert twin.read_bytes() == before


def test_an_index_that_is_right_stays_and_one_that_is_not_goes(operated: Operated) -> None:
    index = operated.site.filestorage.with_name("Data.fs.index")
    with operated.site.opened():
        pass
    assert position(index) == operated.site.size

    operated.restore(NOON)

    assert (position(index) or 0) <= operated.site.size


def test_a_part_alone_is_restored(operated: Operated) -> None:
    blobs = sorted(operated.site.blobstorage.rglob("*.blob"))
    contents = operated.site.contents()
    blobs[0].unlink()
    operated.site.commit({"a": 2})
    changed = operated.site.filestorage.read_bytes()

    restored(operated, filestorage=False)

    assert operated.site.filestorage.read_bytes() == changed
    assert blobs[0].exists()

    restored(operated, blobstorage=False)

    assert operated.site.contents() == contents


def test_another_place_gets_all_and_the_site_is_left_alone(
    operated: Operated, tmp_path: Path
) -> None:
    before = operated.site.contents()
    operated.site.commit({"a": 2})

    restored(operated, to=tmp_path / "there")

    assert contents_of(tmp_path / "there/Data.fs", tmp_path / "there/blobstorage") == before
    assert operated.site.contents() != before


def test_a_dry_run_says_what_would_happen_and_changes_nothing(operated: Operated) -> None:
    files = Measured()
    before = sorted(operated.site.directory.rglob("*"))

    words = describe(operated.run("restore", files=files), RestoreOrder(when=NOON))

    assert str(operated.site.filestorage) in words
    assert "the restore point 2026-03-01-13-00-00" in words
    assert files.written == 0
    assert sorted(operated.site.directory.rglob("*")) == before


def test_what_was_replaced_is_put_back(operated: Operated) -> None:
    before = operated.site.contents()
    operated.restore(NOON)
    assert operated.site.contents() != before

    undo(operated.run("restore"))

    assert operated.site.contents() == before


def test_what_was_replaced_is_let_go(operated: Operated) -> None:
    operated.restore(NOON)

    let_go(operated.run("restore"))

    assert not list(operated.site.directory.rglob("*.replaced"))
    with pytest.raises(NoRestorePoint, match="nothing to undo"):
        undo(operated.run("restore"))


class Ending(Files):
    """Files that make no change once a journal tells of a *state*."""

    def __init__(self, journal: Path, state: str) -> None:
        super().__init__()
        self._journal = journal
        self._state = state

    def _change(self, *args, **kwargs):
        if self._journal.exists() and f'"{self._state}"' in self._journal.read_text():
            raise KeyboardInterrupt
        return super()._change(*args, **kwargs)


@pytest.mark.parametrize("state", [UNDOING, REVERTING])
def test_an_undo_that_was_broken_off_is_finished_by_another_and_not_taken_back(
    operated: Operated, state: str
) -> None:
    live = operated.site.contents()
    operated.restore(NOON)
    journal = journal_path(operated.site.filestorage)

    with pytest.raises(KeyboardInterrupt):
        undo(operated.run("restore", files=Ending(journal, state)))
    assert swap.is_undo(journal)
    assert undo(operated.run("restore"))

    assert operated.site.contents() == live
    assert undo(operated.run("restore"))
    assert operated.site.contents() != live


def test_an_undo_of_a_restore_that_was_broken_off_finishes_it_first(operated: Operated) -> None:
    live = operated.site.contents()
    operated.restore(NOON)
    broken_off(operated)

    assert undo(operated.run("restore"))

    assert operated.site.contents() == live


def test_letting_go_that_was_broken_off_goes_on(operated: Operated, caplog) -> None:
    operated.restore(NOON)
    journal = journal_path(operated.site.filestorage)
    with pytest.raises(KeyboardInterrupt):
        let_go(operated.run("restore", files=Ending(journal, LETTING_GO)))
    assert list(operated.site.directory.rglob("*.replaced"))
    with pytest.raises(NoRestorePoint, match="nothing to undo"):
        undo(operated.run("restore"))

    assert let_go(operated.run("restore"))

    assert not list(operated.site.directory.rglob("*.replaced"))
    assert not journal.exists()


@pytest.mark.parametrize("verb", [undo, let_go])
def test_temporary_names_of_one_that_died_are_gone_after_the_next(operated: Operated, verb) -> None:
    operated.restore(NOON)
    journal = journal_path(operated.site.filestorage)
    left = [
        journal.with_name(f"{journal.name}.0123abcd.partial"),
        operated.site.filestorage.parent / ".backup.0123abcd.partial",
        operated.site.filestorage.parent / "Data.fs.replaced.0123abcd.partial",
        operated.site.blobstorage.parent / ".backup.0123abcd.partial",
    ]
    for path in left:
        path.mkdir()

    assert verb(operated.run("restore"))

    assert not any(path.exists() for path in left)


def test_what_was_replaced_is_let_go_while_the_site_is_running(operated: Operated) -> None:
    operated.restore(NOON)

    with operated.site.opened():
        assert let_go(operated.run("restore"))

    assert not list(operated.site.directory.rglob("*.replaced"))
    assert operated.site.contents()["values"].keys() == {"large"}


def test_nothing_is_let_go_that_is_needed_to_finish_a_restore(operated: Operated) -> None:
    operated.restore(NOON)
    broken_off(operated)
    before = content(operated.site.directory / "var")

    with pytest.raises(BackupError, match="was broken off here") as caught:
        let_go(operated.run("restore"))

    assert "run the restore again" in caught.value.hint
    assert content(operated.site.directory / "var") == before


@pytest.mark.parametrize("verb", [restore, undo, let_go])
def test_only_one_of_those_who_change_what_was_replaced_is_at_work(
    operated: Operated, verb
) -> None:
    """A part for the blobs and one for the filestorage, say: their runs know no common lock."""
    operated.restore(NOON)
    directory = operated.site.filestorage.parent

    with locking.one_restore(directory), pytest.raises(InUse, match="a restore is at") as caught:
        verb(operated.run("restore"), *([RestoreOrder()] if verb is restore else []))

    assert f"process {os.getpid()}" in caught.value.what
    assert caught.value.where == str(directory)


def test_an_open_filestorage_is_refused(operated: Operated) -> None:
    with operated.site.opened(), pytest.raises(InUse, match="open by process") as caught:
        operated.restore()

    assert "stop the ZEO server" in caught.value.hint


def test_a_lock_beside_a_symbolic_link_counts(operated: Operated, tmp_path: Path) -> None:
    real = tmp_path / "elsewhere" / "Data.fs"
    real.parent.mkdir()
    operated.site.filestorage.rename(real)
    operated.site.filestorage.symlink_to(real)
    contents = operated.site.contents()
    with operated.site.opened(), pytest.raises(InUse):
        operated.restore()
    real.write_bytes(b"lost")

    operated.restore()

    assert operated.site.filestorage.is_symlink()
    assert operated.site.contents() == contents


@pytest.mark.parametrize("lost", [True, False], ids=["all", "difference"])
@pytest.mark.parametrize("older", [True, False], ids=["older", "ours"])
def test_what_cannot_be_compared_with_a_digest_is_said(
    site: Site, caplog, lost: bool, older: bool
) -> None:
    """A warning if a line of ours is gone; older releases wrote none at all."""
    caplog.set_level("INFO", "backup")
    operated = Operated(site)
    site.commit({}, {f"b{number}": b"blob %d" % number for number in range(7)})
    operated.backup()
    contents = site.contents()
    [checksums] = site.directory.glob("var/blobstoragebackups/blobstorage.*/checksums")
    lines = checksums.read_bytes().splitlines(keepends=True)
    checksums.write_bytes(b"".join(lines[:-1]))
    if older:
        checksums.unlink()
        checksums.with_name("about").unlink()
    if lost:
        site.lose()

    operated.restore()

    assert site.contents() == contents
    [said] = [each for each in caplog.records if "no digest" in each.message]
    assert said.levelname == ("INFO" if older else "WARNING")
    # the note of the layout is a file as well
    assert said.message.startswith("8 files of the blobs" if older else "1 file of the blobs")


@pytest.mark.parametrize("live", [b"", b"another file", None])
def test_a_private_filestorage_is_so_while_it_is_restored(
    operated: Operated, live: bytes | None
) -> None:
    """Nobody may look at what is staged who may not look at what it replaces."""
    if live is None:
        operated.site.commit({"later": "only the tail of it is replaced"})
    else:
        operated.site.filestorage.write_bytes(live)
    operated.site.filestorage.chmod(0o600)
    files = Watched()

    operated.restore(files=files)

    staged = {
        name: mode for name, mode in files.modes.items() if name.startswith("Data.fs.restoring")
    }
    assert any(name.endswith(".partial") for name in staged)
    assert set(staged.values()) == {0}
    assert operated.site.filestorage.stat().st_mode & 0o777 == 0o600


def test_a_restore_that_replaces_nothing_gives_back_the_permissions(operated: Operated) -> None:
    operated.site.filestorage.chmod(0o640)
    operated.backup()
    operated.site.filestorage.unlink()
    umask = os.umask(0)
    try:
        operated.restore()
    finally:
        os.umask(umask)
    assert operated.site.filestorage.stat().st_mode & 0o777 == 0o640


def test_a_backup_under_way_is_refused_and_named(operated: Operated) -> None:
    with (
        locking.one_writer(operated.place().filestorage, "backup, process 42"),
        pytest.raises(InUse, match="process 42"),
    ):
        operated.restore()


def test_a_no_to_a_restore_changes_nothing(operated: Operated) -> None:
    before = sorted(operated.site.directory.rglob("*"))
    asked: list[str] = []

    def no(question: str) -> bool:
        asked.append(question)
        return False

    assert not restore(operated.run("restore", ask=no), RestoreOrder())
    assert sorted(operated.site.directory.rglob("*")) == before
    assert "--undo puts it back" in asked[0]


def test_a_damaged_backup_leaves_the_site_as_it_is(operated: Operated) -> None:
    [part] = operated.place().filestorage.glob("*.fsz")
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    operated.site.commit({"a": 2})
    with operated.site.filestorage.open("r+b") as file:
        file.seek(100)
        file.write(b"damage")
    before = operated.site.filestorage.read_bytes()

    with pytest.raises(IntegrityError, match=part.name):
        operated.restore()

    assert operated.site.filestorage.read_bytes() == before
    assert not list(operated.site.directory.rglob("*.restoring*"))


def test_what_was_staged_does_not_stay_when_a_blob_is_damaged(operated: Operated) -> None:
    """The disk may be full of it, and nobody could restore anything else."""
    operated.site.commit({}, {f"b{number}": bytes(1000) for number in range(30)})
    operated.backup()
    *_others, blob = sorted(operated.place().blobstorage.glob("*.*/**/*.blob"))
    blob.chmod(0o600)
    blob.write_bytes(b"damage")
    operated.site.lose()

    with pytest.raises(IntegrityError, match=blob.name):
        operated.restore()

    assert not list(operated.site.directory.rglob("*.restoring*"))


def test_without_room_nothing_is_begun(operated: Operated, monkeypatch) -> None:
    operated.site.lose()
    real = os.statvfs

    def full(path):
        status = list(real(path))
        status[3] = status[4] = 0  # f_bfree and f_bavail
        return os.statvfs_result(status)

    monkeypatch.setattr(os, "statvfs", full)

    with pytest.raises(BackupError, match="not enough room"):
        operated.restore()


def test_a_stream_leaves_the_site_alone(operated: Operated) -> None:
    wanted = operated.site.filestorage.read_bytes()
    operated.site.commit({"a": 2})
    before = operated.site.filestorage.read_bytes()
    data = bytearray()

    with operated.site.opened():
        stream(operated.run("restore"), RestoreOrder(), data.extend)

    assert data == wanted
    assert operated.site.filestorage.read_bytes()[: len(before)] == before


def test_an_undo_does_not_mix_what_was_grafted_with_another_file(operated: Operated) -> None:
    operated.site.commit({"a": 2})
    restored(operated)
    assert operated.site.filestorage.with_name("Data.fs.replaced").exists()
    other = os.urandom(operated.site.size + 1000)
    operated.site.filestorage.write_bytes(other)  # the same inode, as cp does it

    with pytest.raises(NoRestorePoint, match="not the file that was restored"):
        undo(operated.run("restore"))

    assert operated.site.filestorage.read_bytes() == other


def test_an_undo_takes_off_what_was_committed_since(operated: Operated) -> None:
    operated.site.commit({"a": 2})
    before = operated.site.contents()
    restored(operated)
    operated.site.commit({"a": 3})

    undo(operated.run("restore"))

    assert operated.site.contents() == before


def broken_off(operated: Operated) -> str:
    """Let the journal say that the last restore was broken off; return what it said before."""
    journal = operated.site.filestorage.with_name("Data.fs.restore.json")
    text = journal.read_text()
    rewrite(journal, FORM, state=SWAPPING)
    return text


def test_a_copied_site_does_not_finish_the_restore_of_the_original(
    operated: Operated, tmp_path: Path, capsys
) -> None:
    operated.site.commit({"a": 2})
    restored(operated)
    text = broken_off(operated)
    copy = copied(operated, tmp_path / "copy")
    operated.site.filestorage.with_name("Data.fs.restore.json").write_text(text)
    before = operated.site.contents()

    with pytest.raises(IntegrityError, match="this site is a copy of the one in") as caught:
        copy.restore()

    assert str(operated.site.filestorage.parent) in caught.value.what
    assert "run bin/restore --give-up, " in caught.value.hint
    assert "then bin/restore again" in caught.value.hint
    [finding] = [it for it in examine(copy.run("doctor")) if it.where == caught.value.where]
    assert "this site is a copy of the one in" in finding.what
    assert "run bin/restore --give-up, then bin/restore again" in finding.hint
    assert give_up(copy.run("restore"))
    copy.restore()
    assert copy.site.contents() == operated.site.contents() == before


def test_a_copied_site_is_restored_whatever_was_restored_in_the_original(
    operated: Operated, tmp_path: Path
) -> None:
    """Staging by rsync: the journal comes along, and says nothing of this place."""
    operated.site.commit({"a": 2})
    restored(operated)
    kept = content(operated.site.directory / "var")
    copy = copied(operated, tmp_path / "copy")
    with pytest.raises(NoRestorePoint, match="nothing to undo"):
        undo(copy.run("restore"))

    copy.restore(NOON)

    assert copy.site.contents() != operated.site.contents()
    assert content(operated.site.directory / "var") == kept
    undo(copy.run("restore"))
    assert copy.site.contents() == operated.site.contents()


def test_letting_go_in_a_copied_site_leaves_the_original_alone(
    operated: Operated, tmp_path: Path
) -> None:
    operated.site.commit({"a": 2})
    restored(operated)
    kept = content(operated.site.directory / "var")
    copy = copied(operated, tmp_path / "copy")

    assert let_go(copy.run("restore"))

    assert content(operated.site.directory / "var") == kept
    assert not copy.site.filestorage.with_name("Data.fs.restore.json").exists()


# two parts on one filestorage


def test_a_part_without_blobs_restores_after_one_with_blobs(operated: Operated) -> None:
    contents = operated.site.contents()
    operated.site.commit({"a": 2}, {"d": b"later"}, at=NOON + timedelta(hours=5))
    operated.restore()  # with the blobs
    without = Operated(operated.site, blobs=False)

    without.restore(NOON)

    assert operated.site.contents()["values"].keys() == {"large"}
    without.restore()
    assert operated.site.contents() == contents


@pytest.mark.parametrize("first", ["filestorage", "blobs"])
def test_a_part_for_each_half_of_a_site(site: Site, first: str) -> None:
    """As ``filebackup`` and ``blobbackup`` have it: each restores after the other."""
    site.commit({"a": 1}, {"b": b"blob"}, at=NOON)
    contents = site.contents()
    filestorage = Operated(site, blobs=False)
    blobs = Operated(site, only_blobs=True)
    filestorage.backup()
    blobs.backup()
    site.commit({"a": 2}, {"c": b"later"}, at=NOON + timedelta(hours=5))
    parts = [filestorage, blobs] if first == "filestorage" else [blobs, filestorage]

    for _ in range(2):
        for part in parts:
            part.restore()

    assert site.contents() == contents


def test_what_another_part_was_restoring_is_finished(operated: Operated) -> None:
    contents = operated.site.contents()
    operated.site.commit({"a": 2}, {"d": b"later"}, at=NOON + timedelta(hours=5))
    journal = operated.site.filestorage.with_name("Data.fs.restore.json")
    changes = 0
    while not swap.is_pending(journal):
        changes += 5
        with pytest.raises(KeyboardInterrupt):
            operated.restore(files=Dying(changes))

    Operated(operated.site, blobs=False).restore()

    assert operated.site.contents() == contents


def test_the_filestorage_of_another_part_is_locked_while_its_restore_is_finished(
    operated: Operated, tmp_path: Path
) -> None:
    """A part with two filestorages died; one that knows the main one alone goes on."""
    other = tmp_path / "other" / "catalog.fs"
    other.parent.mkdir()
    other.write_text("restored")
    journal = journal_path(operated.site.filestorage)
    write(journal, SWAPPING, [Move(live=other)], Files())

    with locking.closed_filestorage(other), pytest.raises(InUse) as caught:
        operated.restore()

    assert caught.value.where == str(other)
    operated.restore()


@pytest.mark.parametrize("verb", [restore, undo, let_go, give_up])
def test_root_does_not_change_what_the_writer_of_the_journal_could_not(
    operated: Operated, tmp_path: Path, verb
) -> None:
    if os.geteuid():
        pytest.skip("root is not installed")
    precious = tmp_path / "precious"
    for name in ("precious", "precious.replaced", "precious.restoring"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "data").touch()
    journal = journal_path(operated.site.filestorage)
    state = SWAPPING if verb in (restore, give_up) else DONE
    write(journal, state, [Move(live=precious)], Files())
    os.chown(journal, 65534, 65534)
    var = operated.site.directory / "var"
    before = content(var), sorted(tmp_path.rglob("precious*"))

    with pytest.raises(IntegrityError, match=f"this names {precious}, which does not belong"):
        verb(operated.run("restore"), *([RestoreOrder()] if verb is restore else []))

    assert (content(var), sorted(tmp_path.rglob("precious*"))) == before


def died(operated: Operated, when: datetime | None = None) -> None:
    """Let a restore die while names are changing."""
    journal = journal_path(operated.site.filestorage)
    with pytest.raises(KeyboardInterrupt):
        operated.restore(when, files=Ending(journal, SWAPPING))
    assert swap.is_pending(journal)


def live_content(operated: Operated) -> tuple[bytes, dict]:
    return operated.site.filestorage.read_bytes(), content(operated.site.blobstorage)


def test_the_same_restore_again_finishes_it_and_does_no_more(operated: Operated, caplog) -> None:
    caplog.set_level("INFO", "backup")
    before = live_content(operated)
    died(operated, NOON)
    files = Measured()
    asked: list[str] = []

    def yes(question: str) -> bool:
        asked.append(question)
        return True

    run = operated.run("restore", files=files, ask=yes)
    assert restore(run, RestoreOrder(when=NOON))

    assert "This restore was broken off here, and is finished." in asked[0]
    assert operated.site.contents()["values"].keys() == {"large"}
    assert "finished a restore that had been broken off" in caplog.messages
    assert any(message.startswith("nothing else was left to do") for message in caplog.messages)
    assert files.written < 50_000
    undo(operated.run("restore"))
    assert live_content(operated) == before


def test_a_restore_of_another_state_takes_back_one_that_was_broken_off(
    operated: Operated, caplog
) -> None:
    before = live_content(operated)
    died(operated, NOON)
    asked: list[str] = []

    def no(question: str) -> bool:
        asked.append(question)
        return False

    assert not restore(operated.run("restore", ask=no), RestoreOrder())
    assert "A restore of another state was broken off here, and is taken back" in asked[0]
    assert swap.is_pending(journal_path(operated.site.filestorage))
    assert "A restore of another state" in describe(operated.run("restore"), RestoreOrder())

    operated.restore()

    assert operated.site.contents()["values"].keys() == {"large", "a"}
    assert any("took back a restore of another state" in message for message in caplog.messages)
    undo(operated.run("restore"))
    assert live_content(operated) == before


def test_other_parts_of_the_site_are_another_state(operated: Operated) -> None:
    before = live_content(operated)
    died(operated, NOON)

    operated.restore(NOON, blobstorage=False)

    assert operated.site.contents()["values"].keys() == {"large"}
    assert content(operated.site.blobstorage) == before[1]


def test_the_journal_of_the_release_before_does_not_say_what_it_restores(
    operated: Operated,
) -> None:
    before = live_content(operated)
    died(operated, NOON)
    journal = journal_path(operated.site.filestorage)
    rewrite(journal, FORM, chosen=None)

    operated.restore(NOON)

    assert operated.site.contents()["values"].keys() == {"large"}
    undo(operated.run("restore"))
    assert live_content(operated) == before


def test_a_restore_that_died_after_its_last_change_is_not_done_again(operated: Operated) -> None:
    before = live_content(operated)
    journal = journal_path(operated.site.filestorage)
    with pytest.raises(KeyboardInterrupt):
        operated.restore(NOON, files=Ending(journal, DONE))
    assert not swap.is_pending(journal)

    operated.restore()

    assert operated.site.contents()["values"].keys() == {"large", "a"}
    undo(operated.run("restore"))
    assert live_content(operated) == before


def test_what_was_used_since_a_restore_died_is_what_an_undo_brings_back(
    operated: Operated,
) -> None:
    journal = journal_path(operated.site.filestorage)
    with pytest.raises(KeyboardInterrupt):
        operated.restore(NOON, files=Ending(journal, DONE))
    operated.site.commit({"since": 1}, at=NOON + timedelta(hours=9))
    before = live_content(operated)

    operated.restore()

    undo(operated.run("restore"))
    assert live_content(operated) == before


def test_a_second_restore_is_another_one_once_the_first_came_to_its_end(
    operated: Operated,
) -> None:
    operated.restore(NOON)
    before = live_content(operated)

    operated.restore()

    undo(operated.run("restore"))
    assert live_content(operated) == before


def test_an_undo_is_in_the_history_and_no_command_runs_around_it(
    site: Site, tmp_path: Path
) -> None:
    operated = Operated(site, pre_command=f"touch {tmp_path}/ran")
    site.commit({"a": 1}, at=NOON)
    operated.backup()
    operated.restore()
    (tmp_path / "ran").unlink()

    undo(operated.run("restore"))

    last = history.read(operated.place().filestorage)[-1]
    assert (last.verb, last.outcome, last.exit_code) == ("undo", history.DONE, 0)
    assert not (tmp_path / "ran").exists()


def test_an_undo_makes_a_restore_good_that_failed(operated: Operated) -> None:
    with pytest.raises(CommandFailed):
        Operated(operated.site, post_command="false").restore()
    assert any("the restore of" in it.what for it in status(operated.run("status")).findings)

    undo(operated.run("restore"))

    assert not any("the restore of" in it.what for it in status(operated.run("status")).findings)


def test_an_undo_that_was_not_agreed_to_leaves_a_broken_off_restore_as_it_is(
    operated: Operated,
) -> None:
    died(operated, NOON)
    asked: list[str] = []

    def no(question: str) -> bool:
        asked.append(question)
        return False

    before = content(operated.site.directory / "var")
    assert not undo(operated.run("restore", ask=no))

    assert str(operated.site.blobstorage) in asked[0]
    assert content(operated.site.directory / "var") == before


def test_an_undo_asks_and_a_no_changes_nothing(operated: Operated) -> None:
    operated.restore(NOON)
    before = operated.site.contents()
    asked: list[str] = []

    def no(question: str) -> bool:
        asked.append(question)
        return False

    assert not undo(operated.run("restore", ask=no))
    assert not let_go(operated.run("restore", ask=no))
    assert operated.site.contents() == before
    assert len(asked) == 2
    assert "Data.fs.replaced" in asked[0]
    assert undo(operated.run("restore", ask=lambda _question: True))


def test_letting_go_of_nothing_says_so(operated: Operated, caplog) -> None:
    caplog.set_level("INFO", "backup")

    assert let_go(operated.run("restore"))

    assert "no restore has left anything to remove" in caplog.text


def test_a_dry_run_may_look_at_a_running_site(operated: Operated) -> None:
    with operated.site.opened():
        assert "will replace" in describe(operated.run("restore"), RestoreOrder())


def test_where_nothing_is_the_place_is_named(operated: Operated) -> None:
    for path in operated.place().filestorage.iterdir():
        path.unlink()

    with pytest.raises(NoRestorePoint, match="no restore point yet") as caught:
        operated.restore()

    assert caught.value.where == str(operated.place().filestorage)


def test_blobs_under_an_old_name_are_told_from_lost_ones(operated: Operated) -> None:
    other = replace(operated.config.sources[0], blobstorage=operated.site.blobstorage.parent / "b2")
    operated.site.blobstorage.rename(other.blobstorage)
    operated.config = replace(operated.config, sources=(other,))

    assert "let it end in blobstorage again" in operated.points()[-1].problems[0]


def test_a_moment_after_the_last_backup_may_be_had_after_another_one(operated, caplog):
    """A mistake of today, before today's backup: last night is not all that there is."""
    operated.backup()
    operated.site.commit({"a": "good"}, at=operated.now + timedelta(minutes=10))
    when = operated.now + timedelta(minutes=15)
    operated.site.commit({"a": "bad"}, at=operated.now + timedelta(minutes=20))
    operated.now += timedelta(minutes=30)

    describe(operated.run("restore"), RestoreOrder(when=when))

    [said] = [it.getMessage() for it in caplog.records if it.levelname == "WARNING"]
    assert "in no backup: run the backup first" in said
    caplog.clear()
    operated.backup()
    operated.restore(when)
    assert operated.site.contents()["values"]["a"] == "good"
    assert not [it for it in caplog.records if it.levelname == "WARNING"]


@pytest.mark.parametrize("lost", [True, False])
def test_nothing_is_said_where_the_site_knows_no_more(operated, caplog, lost):
    operated.backup()
    when = operated.now + timedelta(minutes=15)
    operated.now += timedelta(minutes=30)
    if lost:
        operated.site.lose()
    describe(operated.run("restore"), RestoreOrder(when=when))
    assert not [it for it in caplog.records if it.levelname == "WARNING"]


def test_a_restore_to_a_directory_that_is_broken_off_names_no_way_of_a_site(
    operated: Operated, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    operated.backup()
    order = RestoreOrder(to=tmp_path / "to")
    journal, told = journal_path(tmp_path / "to" / "Data.fs"), 0
    asked: list[str] = []

    def yes(question: str) -> bool:
        asked.append(question)
        return True

    total = FaultyFiles()
    assert restore(operated.run("restore", files=total), order)
    journals = [n for n, (_what, path) in enumerate(total.changes) if "restore.json" in path.name]
    for changes in range(journals[0], journals[-1] + 1):
        shutil.rmtree(tmp_path / "to")
        caplog.clear()
        with pytest.raises(KeyboardInterrupt):
            restore(operated.run("restore", files=Dying(changes)), order)
        if not swap.is_pending(journal):
            continue
        told += 1
        [warning] = [it.getMessage() for it in caplog.records if it.levelname == "WARNING"]
        assert "run the same command again, which finishes it" in warning
        assert "give-up" not in warning
        asked.clear()
        assert restore(operated.run("restore", ask=yes), order)
        assert contents_of(order.to / "Data.fs", order.to / "blobstorage") == (
            operated.site.contents()
        )
        assert not [each for each in asked if "undo" in each]
    assert told > 2
    for _twice in range(2):  # the last one may have been done but for its last word
        assert restore(operated.run("restore", ask=yes), order)
    assert asked[-1].endswith("What is there now is replaced.")


def test_the_question_tells_what_is_there_from_what_is_not(operated, tmp_path):
    operated.backup()
    asked = []

    def no(question: str) -> bool:
        asked.append(question)
        return False

    operated.site.filestorage.unlink()
    assert not restore(operated.run("restore", ask=no), RestoreOrder())
    operated.site.lose()
    assert not restore(operated.run("restore", ask=no), RestoreOrder())

    [live, lost] = asked
    assert f"{operated.site.filestorage}  (there is none now)\n" in live
    assert f"{operated.site.blobstorage}\n" in live
    assert live.endswith("--undo puts it back.")
    assert lost.count("(there is none now)") == 2
    assert lost.endswith(f"with the restore point {operated.points()[-1].stamp}.")


def test_a_restore_to_a_new_place_asks_nothing_unless_there_is_something_to_say(
    operated: Operated, tmp_path: Path
) -> None:
    asked: list[str] = []

    def no(question: str) -> bool:
        asked.append(question)
        return False

    aside = tmp_path / "aside"
    assert restore(operated.run("restore", ask=no), RestoreOrder(to=aside))
    assert asked == []
    assert not restore(operated.run("restore", ask=no), RestoreOrder(to=aside))
    assert f"This will replace:\n    {aside / 'Data.fs'}\n" in asked.pop()

    # one that no earlier backup has
    operated.site.commit({}, {"lost": b"lost at once"})
    [blob] = [it for it in operated.site.blobstorage.rglob("*.blob") if it.stat().st_size == 12]
    blob.unlink()
    with suppress(BackupError):
        operated.backup(full=True)
    assert not restore(operated.run("restore", ask=no), RestoreOrder(to=tmp_path / "other"))
    assert "Note: " in asked.pop()


# the state that was restored, in words


@pytest.mark.parametrize("by", ["moment", "tid"])
def test_a_moment_is_said_in_words_and_so_is_the_last_change_before_it(
    operated: Operated, by: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "backup")
    tid = operated.site.tids()[-1]
    operated.site.commit({"a": 3}, at=NOON + timedelta(minutes=100))
    operated.backup()
    when = NOON + timedelta(minutes=95) if by == "moment" else tid
    asked = f"2026-03-01 13:30:00 UTC (tid {show_tid(tid)})"
    if by == "moment":
        asked = "2026-03-01 13:35:00 UTC"

    said = describe(operated.run("restore"), RestoreOrder(when=when))
    assert f"with the state at {asked}, from the restore point " in said

    operated.restore(when)
    [line] = [it for it in caplog.messages if it.startswith("restored in")]
    change = f"2026-03-01 13:30:00 UTC (tid {show_tid(tid)}), the last change"
    assert f": this is the state at {change} " in line
    assert line.endswith("before your moment" if by == "moment" else "up to that tid")
    assert operated.site.tids()[-1] == tid


@pytest.mark.parametrize("order", [{}, {"when": NOON, "filestorage": False}])
def test_without_a_moment_or_a_filestorage_no_state_is_named(
    operated: Operated, order: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "backup")
    operated.restore(**order)
    assert "this is the state" not in caplog.text


def test_the_stamp_of_a_clock_that_was_behind_is_no_moment_after_the_last_change(
    operated: Operated, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "backup")
    operated.site.commit({"a": 3}, at=operated.now + timedelta(minutes=90))
    operated.backup()
    operated.restore(operated.now)
    assert operated.site.contents()["values"]["a"] == 3
    assert "this is the state" not in caplog.text


def test_a_transaction_that_is_no_moment_is_shown_as_it_is() -> None:
    thirtieth_of_february = (((126 * 12) + 1) * 31 + 29) * 24 * 60
    odd = Tid(thirtieth_of_february.to_bytes(4, "big") + bytes(4))
    assert reached([odd], odd).startswith(f": this is the state at tid {show_tid(odd)}, the last")
    assert reached([None], odd) == ""
