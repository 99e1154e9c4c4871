"""The harness itself: a fault test is worth what its faults are."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from collective.recipe.backup.files.partials import is_partial
from collective.recipe.backup.tests.faults.harness import (
    Crash,
    Fault,
    FaultyFiles,
    every_fault,
    picture,
    survive_every_fault,
    told,
)

OLD, NEW = b"old" * 100, b"new" * 200


@pytest.fixture
def make(tmp_path):
    def make() -> Path:
        directory = tmp_path / os.urandom(8).hex()
        directory.mkdir()
        (directory / "a").write_bytes(OLD)
        return directory

    return make


def replace(directory, files):
    files.write(directory / "a", NEW)


def whole(directory, outcome):
    found = (directory / "a").read_bytes()
    assert found == NEW or (outcome and found == OLD)
    assert all(path.name == "a" or is_partial(path.name) for path in directory.iterdir())


def test_an_atomic_write_survives_every_fault(make):
    assert survive_every_fault(make, replace, whole) > 18


def test_each_change_is_struck_in_each_way(make):
    files = FaultyFiles()
    replace(make(), files)
    operations = [operation for operation, _path in files.changes]
    assert operations == ["create", "write", "fsync", "rename", "fsync"]
    struck = Counter(text.split()[0] for _world, _outcome, text in every_fault(make, replace))
    # dead after a change is dead before the next one; a power cut takes back what no fsync follows
    assert struck == {
        **{fault.name: len(operations) for fault in (Fault.BEFORE, Fault.NO_SPACE, Fault.EIO)},
        "DURING": 1,
        "AFTER": 1,
        "POWER_CUT": 3,
    }
    assert numbers_of(make, replace, Fault.AFTER) == {1, 2, 3, 4, 5}


def numbers_of(make, act, fault):
    """Return the numbers of the changes at which *fault*, alone, strikes."""
    struck = (text.split()[3] for *_world, text in every_fault(make, act, faults=[fault]))
    return {int(each.rstrip(":")) for each in struck}


def much(directory, files):
    """Change the disk in most of the ways that there are."""
    files.write(directory / "a", NEW)
    files.make_directory(directory / "b")
    files.write(directory / "b" / "c", OLD)
    files.append(directory / "log", b"one line")
    files.rename(directory / "b", directory / "d")
    files.write(directory / "b", NEW)
    files.sync_directory(directory)
    files.remove(directory / "a")
    files.remove_tree(directory / "d")
    files.append(directory / "log", b"another line")


def left(make, fault, at):
    """Return what *fault* leaves on the disk."""
    directory = make()
    with suppress(Crash):
        much(directory, FaultyFiles(fault, at))
    return {
        is_partial(path.name) or str(path.relative_to(directory)): path.is_file()
        and path.read_bytes()
        for path in sorted(directory.rglob("*"))
    }


def test_what_is_left_out_leaves_the_disk_as_another_fault_does(make):
    files = FaultyFiles(Fault.POWER_CUT)
    much(make(), files)
    changes = len(files.changes)
    assert 10 < len(files.taken_back) < changes - 10
    for at in range(1, changes):
        assert left(make, Fault.AFTER, at) == left(make, Fault.BEFORE, at + 1)
    for at in files.taken_back - {1}:
        assert left(make, Fault.POWER_CUT, at) == left(make, Fault.POWER_CUT, at - 1)
    assert all(left(make, Fault.POWER_CUT, at) for at in files.taken_back)


def test_what_changes_at_a_power_cut_is_struck(make):
    files = FaultyFiles(Fault.POWER_CUT)
    much(make(), files)
    differs = {
        at
        for at in range(2, len(files.changes) + 1)
        if left(make, Fault.POWER_CUT, at) != left(make, Fault.POWER_CUT, at - 1)
    }
    assert differs
    assert differs <= numbers_of(make, much, Fault.POWER_CUT)


def test_what_lies_on_a_disk_is_checked_once_however_many_faults_leave_it(make):
    def seen(**options):
        found = []

        def check(directory, outcome):
            found.append((type(outcome), *sorted(told(path.name) for path in directory.iterdir())))

        assert survive_every_fault(make, much, check, **options) >= len(found)
        return found

    each, once = seen(), seen(disk=lambda directory: directory)
    assert set(once) == set(each)
    assert len(once) < len(each)


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(OLD[:-1]),
        lambda path: path.write_bytes(OLD.replace(b"o", b"0", 1)),
        lambda path: path.chmod(0o640),
        lambda path: path.rename(path.with_name("b")),
        lambda path: path.with_name("b").mkdir(),
        lambda path: path.with_name("b").symlink_to("a"),
        lambda path: path.with_name("b").hardlink_to(path),
        lambda path: path.with_name("a.12345678.partial").touch(),
    ],
)
def test_a_disk_with_something_else_on_it_is_another(make, change):
    one, other = make(), make()
    assert list(picture(one)) == list(picture(other))
    change(other / "a")
    assert list(picture(one)) != list(picture(other))


def test_a_write_in_place_is_caught(make):
    def careless(directory, files):
        (directory / "a").unlink()
        files.append(directory / "a", NEW)

    with pytest.raises(AssertionError, match="after BEFORE at change 1"):
        survive_every_fault(make, careless, whole)


def test_a_missing_sync_of_a_directory_is_caught_by_a_power_cut(make):
    def forgetful(directory, files):
        files._change("rename", directory / "b", os.rename, directory / "a", directory / "b")
        files.append(directory / "log", b"renamed")  # fsynced, so it tells what is lost

    def check(directory, outcome):
        renamed = (directory / "log").exists() and (directory / "log").stat().st_size
        assert not renamed or (directory / "b").exists()

    survive_every_fault(make, forgetful, check, faults=[Fault.BEFORE, Fault.AFTER])
    directory = make()
    files = FaultyFiles(Fault.POWER_CUT, at=1)
    with pytest.raises(Crash):
        forgetful(directory, files)
    assert (directory / "a").exists()


def test_a_power_cut_loses_what_was_not_synced_and_nothing_else(make):
    directory = make()
    files = FaultyFiles(Fault.POWER_CUT, at=8)

    def act():
        files.write(directory / "durable", NEW)  # 5 changes
        files.make_directory(directory / "lost")
        files.remove(directory / "a")
        files.append(directory / "log", b"lost as well")

    with pytest.raises(Crash):
        act()
    assert sorted(path.name for path in directory.iterdir()) == ["a", "durable"]
    assert (directory / "a").read_bytes() == OLD
    assert (directory / "durable").read_bytes() == NEW


def test_a_directory_whose_removal_is_durable_does_not_come_back_with_what_was_in_it(make):
    directory = make()
    (directory / "full").mkdir()
    (directory / "full" / "b").write_bytes(OLD)
    files = FaultyFiles(Fault.POWER_CUT, at=4)

    def act():
        files.remove_tree(directory / "full")  # 2 changes
        files.sync_directory(directory)
        files.remove(directory / "a")

    with pytest.raises(Crash):
        act()
    assert [path.name for path in directory.iterdir()] == ["a"]


def test_bytes_that_were_not_synced_are_lost(make):
    directory = make()
    files = FaultyFiles(Fault.POWER_CUT, at=2)
    with pytest.raises(Crash):
        files.append(directory / "a", NEW)
    assert (directory / "a").read_bytes() == OLD


def test_the_dead_change_nothing_any_more(make):
    directory = make()
    files = FaultyFiles(Fault.BEFORE, at=1)
    for path in (directory / "b", directory / "c"):
        with pytest.raises(Crash):
            files.write(path, NEW)
    assert [path.name for path in directory.iterdir()] == ["a"]


def test_a_full_disk_still_removes(make):
    directory = make()
    files = FaultyFiles(Fault.NO_SPACE, at=2)
    with pytest.raises(OSError, match="No space left"):
        files.write(directory / "a", NEW)
    assert [path.name for path in directory.iterdir()] == ["a"]
    assert (directory / "a").read_bytes() == OLD


def test_a_fault_of_the_check_names_the_change(make):
    def check(directory, outcome):
        raise ValueError("what is wrong")

    with pytest.raises(AssertionError, match="BEFORE at change 1: create a.*what is wrong"):
        survive_every_fault(make, replace, check)
