from __future__ import annotations

import os
import shutil
from functools import partial

import pytest

from collective.recipe.backup.blobs import sets
from collective.recipe.backup.blobs.blobset import BlobSet
from collective.recipe.backup.blobs.copying import Transfer
from collective.recipe.backup.blobs.layout import Layout
from collective.recipe.backup.blobs.setcheck import verify_contents, verify_names
from collective.recipe.backup.files import Files
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.tests.blobtrees import ODD_NAMES, blob_id, nobody, put, tid, tree
from collective.recipe.backup.times import LAST_TID

STAMP = "2026-03-01-12-00-00"


@pytest.fixture
def source(tmp_path):
    for number in range(5):
        put(tmp_path / "blobstorage", blob_id(number * 300, number + 1))
    for name in ODD_NAMES:
        (tmp_path / "blobstorage" / name).mkdir()
        (tmp_path / "blobstorage" / name / name).write_bytes(b"foreign")
    (tmp_path / "blobstorage" / "link").symlink_to("0x00")
    return tmp_path / "blobstorage"


@pytest.fixture
def blob_set(source, tmp_path):
    blob_set, _copied = sets.begin(
        source, tmp_path, STAMP, until=LAST_TID, previous=None, files=Files(), progress=Silent()
    )
    put(source, blob_id(3, 9))
    sets.extend(source, blob_set, [blob_id(3, 9)], files=Files(), progress=Silent())
    return blob_set


def by_name(blob_set, until=LAST_TID):
    return [(problem.where, problem.what) for problem in verify_names(blob_set, until=until)]


def by_content(blob_set, until=LAST_TID):
    found = verify_contents(blob_set, until=until, progress=Silent())
    return [(problem.where, problem.what) for problem in found]


def a_file(blob_set, number=1):
    return blob_set.root / Layout.BUSHY.path(blob_id(number * 300, number + 1))


def both(blob_set, until=LAST_TID):
    """Return what both say, which is the same where names and sizes can tell."""
    assert by_name(blob_set, until) == by_content(blob_set, until)
    return by_name(blob_set, until)


def test_a_sound_set_has_no_problems(blob_set):
    assert both(blob_set) == []


def test_verify_changes_no_file_of_a_blob_set(blob_set):
    before = tree(blob_set.path)
    both(blob_set)
    assert tree(blob_set.path) == before


def test_a_missing_blob_is_named(blob_set):
    a_file(blob_set).unlink()
    assert both(blob_set) == [(str(a_file(blob_set)), "missing")]


def test_a_missing_tree_is_many_missing_blobs(blob_set):
    shutil.rmtree(blob_set.root / "0x00")
    assert {what for _where, what in both(blob_set)} == {"missing"}
    assert len(both(blob_set)) == 6


def test_a_blob_that_was_cut_short_is_named(blob_set):
    a_file(blob_set).chmod(0o600)
    os.truncate(a_file(blob_set), 3)
    [(where, what)] = both(blob_set)
    assert where == str(a_file(blob_set))
    assert what.startswith("damaged: 3 bytes in place of")


@pytest.mark.parametrize("at", [0, 20, -1])
def test_a_flipped_byte_is_found_by_reading(blob_set, at):
    data = bytearray(a_file(blob_set).read_bytes())
    data[at] ^= 1
    a_file(blob_set).chmod(0o600)
    a_file(blob_set).write_bytes(data)
    assert by_name(blob_set) == []
    assert by_content(blob_set) == [(str(a_file(blob_set)), "damaged: its checksum differs")]


def test_the_hint_of_a_problem_leads_to_a_sound_set(blob_set, source, tmp_path):
    keep = a_file(blob_set).stat()
    a_file(blob_set).chmod(0o600)
    a_file(blob_set).write_bytes(b"X" * keep.st_size)
    os.utime(a_file(blob_set), ns=(keep.st_atime_ns, keep.st_mtime_ns))
    [problem] = verify_contents(blob_set, until=LAST_TID, progress=Silent())
    assert "run a backup" in problem.hint
    second, copied = sets.begin(
        source,
        tmp_path,
        "2026-03-02-12-00-00",
        until=LAST_TID,
        previous=blob_set,
        files=Files(),
        progress=Silent(),
        by=partial(Transfer, doubted=True),
    )
    assert copied.linked > 5
    assert both(second) == []


def test_two_blobs_that_changed_places_are_found(blob_set):
    one, other = a_file(blob_set, 1), a_file(blob_set, 2)
    one.rename(one.with_suffix(".x"))
    other.rename(one)
    one.with_suffix(".x").rename(other)
    assert [where for where, _what in by_content(blob_set)] == [str(one), str(other)]


def test_a_file_that_no_line_names_is_told(blob_set):
    (blob_set.root / "new").touch()
    assert both(blob_set) == [(str(blob_set.root / "new"), "not named in the checksums")]


def test_a_blob_of_a_run_that_died_is_no_problem(blob_set):
    """It is later than all restore points; the next run gives it its line."""
    path = put(blob_set.root, blob_id(77, 50))
    assert both(blob_set, until=tid(49)) == []
    assert both(blob_set, until=tid(50)) == [(str(path), "not named in the checksums")]


def test_a_link_with_another_text_is_found_by_reading(blob_set):
    (blob_set.root / "link").unlink()
    (blob_set.root / "link").symlink_to("0x01")
    assert by_name(blob_set) == []
    assert [where for where, _what in by_content(blob_set)] == [str(blob_set.root / "link")]


def test_a_link_in_the_place_of_a_file_is_told(blob_set):
    path = blob_set.root / "$(touch x)" / "$(touch x)"
    path.unlink()
    path.symlink_to("y")
    [(where, what)] = both(blob_set)
    assert where == str(path)
    assert "a symbolic link in place of 7 bytes" in what


@pytest.mark.parametrize("name", ["0x01", "0x00/0x01"])
def test_a_link_in_the_place_of_a_directory_is_told(blob_set, name):
    (blob_set.root / name).symlink_to("/etc")
    [(where, what)] = both(blob_set)
    assert where == str(blob_set.root / name)
    assert "symbolic link stands" in what


def test_a_directory_in_the_place_of_a_blob_is_damage(blob_set):
    a_file(blob_set).unlink()
    a_file(blob_set).mkdir()
    [(where, what)] = both(blob_set)
    assert (where, "directory in place of a file" in what) == (str(a_file(blob_set)), True)


def test_special_files_are_told_and_not_opened(blob_set):
    os.mkfifo(blob_set.root / "fifo")
    [(where, what)] = both(blob_set)
    assert (where, "neither file" in what) == (str(blob_set.root / "fifo"), True)


@pytest.mark.parametrize("name", ["checksums", "checksums.added"])
def test_damaged_checksums_are_told(blob_set, name):
    path = blob_set.path / name
    path.write_bytes(b"X" + path.read_bytes()[1:])
    found = both(blob_set)
    assert found[-1][0] == str(path)
    assert "damaged" in found[-1][1]


@pytest.mark.parametrize("name", ["about", "checksums"])
def test_what_is_missing_beside_the_tree_is_told(blob_set, name):
    (blob_set.path / name).unlink()
    assert (str(blob_set.path / name), "missing") in both(blob_set)


@pytest.mark.parametrize("at", range(len("blob set 1\nforeign 11\n")))
def test_any_flipped_bit_in_what_is_said_about_the_set_is_found(blob_set, at):
    data = bytearray(blob_set.about.read_bytes())
    data[at] ^= 1
    blob_set.about.write_bytes(data)
    assert [where for where, _what in both(blob_set)] == [str(blob_set.about)]


@pytest.mark.parametrize("at", range(0, 110, 9))
def test_any_flipped_bit_in_a_line_is_found(blob_set, at):
    path = blob_set.path / "checksums.added"
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)
    assert by_content(blob_set) != []


def test_what_cannot_be_read_is_told_and_the_rest_goes_on():
    with nobody() as place:
        for number in range(3):
            put(place / "b", blob_id(number, 1), layout=Layout.LAWN)
        blob_set, _copied = sets.begin(
            place / "b",
            place,
            STAMP,
            until=LAST_TID,
            previous=None,
            files=Files(),
            progress=Silent(),
        )
        (blob_set.root / "0x00" / "0x01.blob").chmod(0)
        (blob_set.root / "0x02" / "0x01.blob").unlink()
        assert [what for _where, what in by_content(blob_set)] == [
            "cannot be read: Permission denied",
            "missing",
        ]


class TestSetsOfOlderReleases:
    @pytest.fixture
    def theirs(self, source, tmp_path):
        blob_set = BlobSet(tmp_path / f"blobstorage.{STAMP}", "blobstorage")
        shutil.copytree(source, blob_set.root, symlinks=True)
        return blob_set

    def test_there_is_nothing_to_compare_with(self, theirs):
        a_file(theirs).unlink()
        assert both(theirs) == []

    def test_a_file_of_an_older_set_that_cannot_be_restored_is_a_problem(self, theirs):
        (theirs.root / "out").symlink_to("/etc")
        assert [where for where, _what in both(theirs)] == [str(theirs.root / "out")]
