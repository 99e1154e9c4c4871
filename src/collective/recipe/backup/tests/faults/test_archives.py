"""Archives when a run dies, the disk fills up or breaks: at each single change."""

from __future__ import annotations

import itertools
import shutil
from functools import partial
from pathlib import Path

import pytest

from collective.recipe.backup.blobs.archives.archivenames import find_chains, make_room, remove
from collective.recipe.backup.files import Files
from collective.recipe.backup.tests.archived import FIRST, SECOND, THIRD, Archived
from collective.recipe.backup.tests.blobtrees import blob_id, content
from collective.recipe.backup.tests.faults.harness import survive_every_fault

NEW = [blob_id(0, 11), blob_id(5, 11)]

each_form = pytest.mark.parametrize("compressed", [False, True], ids=["tar", "tar.gz"])


survive = partial(survive_every_fault, disk=lambda world: world.root)


@pytest.fixture
def make(tmp_path):
    numbers = itertools.count()

    def make() -> Archived:
        archived = Archived(tmp_path / str(next(numbers)))
        for number in range(3):
            archived.put(number * 300, number + 1)
        archived.full(FIRST)
        return archived

    return make


def sound(archived: Archived) -> None:
    """What was there before is as good as it was."""
    assert archived.problems() == []
    target, _copied = archived.restored(FIRST)
    assert len(content(target)) == 4


@each_form
def test_a_full_archive_appears_whole_or_not_at_all(make, compressed):
    def act(archived, files):
        archived.full(SECOND, compressed=compressed, files=files)

    def check(archived, outcome):
        sound(archived)
        keys = [each.key for each in archived.found()]
        assert keys == [FIRST, SECOND] if outcome is None else keys in ([FIRST], [FIRST, SECOND])
        act(archived, Files())
        assert content(archived.restored(SECOND)[0]) == content(archived.source)

    survive(make, act, check)


@each_form
def test_an_incremental_archive_appears_whole_or_not_at_all(make, compressed):
    def act(archived, files):
        for blob in NEW:
            archived.put(int.from_bytes(blob.oid, "big"), 11)
        archived.delta(SECOND, *NEW, compressed=compressed, files=files)

    def check(archived, outcome):
        sound(archived)
        if outcome is not None:
            act(archived, Files())
        assert content(archived.restored()[0]) == content(archived.source)

    survive(make, act, check)


def test_a_restore_that_fails_harms_neither_archives_nor_what_is_live(make):
    """What is in its target then, under a temporary name, nobody takes for anything."""

    def begin():
        archived = make()
        archived.put(0, 11)
        archived.delta(SECOND, NEW[0])
        return archived

    def act(archived, files):
        archived.restored(live=archived.source, files=files)

    def check(archived, outcome):
        before = content(archived.source)
        assert archived.problems() == []
        if outcome is None:
            assert content(archived.root / "restored") == before
        assert content(archived.restored(live=archived.source)[0]) == before
        assert content(archived.source) == before

    survive(begin, act, check)


def test_a_chain_that_is_removed_can_be_restored_as_long_as_it_is_there(make):
    def begin():
        archived = make()
        (archived.directory / f"{archived.storage}.{FIRST}.snar").write_bytes(b"GNU tar-1.34-2\n")
        archived.put(0, 11)
        archived.delta(SECOND, NEW[0])
        archived.full(THIRD)
        return archived

    def act(archived, files):
        for chain in find_chains(archived.found())[:-1]:
            for archive in reversed(chain):
                remove(archive, files)

    def check(archived, outcome):
        assert archived.problems() == []
        for archive in archived.found():
            archived.restored(archive.key)
        act(archived, Files())
        assert [each.key for each in archived.found()] == [THIRD]
        assert list(archived.directory.glob("*.snar")) == []

    survive(begin, act, check)


def test_a_rotation_loses_nothing(make):
    def begin():
        archived = make()
        for number in (2, 1, 0):
            shutil.copy(archived.planned(FIRST).path, archived.planned(number).path)
            with archived.planned(number).path.open("ab") as file:
                file.write(str(number).encode())
        return archived

    def act(archived, files):
        make_room(archived.found(), files)
        archived.full(0, files=files)

    def old(archived) -> list[bytes]:
        """What the last byte of each says it was once, oldest first."""
        paths = [each.path for each in archived.found() if each.number is not None]
        last: list[bytes] = [Path(path).read_bytes()[-1:] for path in paths]
        return [each for each in last if each in b"012"]

    def check(archived, outcome):
        assert old(archived) == [b"2", b"1", b"0"]
        act(archived, Files())
        assert old(archived) == [b"2", b"1", b"0"]
        newest = [each for each in archived.found() if each.number is not None][-1]
        assert newest.number == 0
        assert content(archived.restored(newest.key)[0]) == content(archived.source)

    survive(begin, act, check)
