"""What earlier archives hold of blobs that the source has lost or changed since."""

from __future__ import annotations

import os

import pytest

from collective.recipe.backup.blobs.archives.archivereading import glances
from collective.recipe.backup.blobs.archives.earlier import differing, unpack
from collective.recipe.backup.blobs.layout import Layout
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.tests.archived import SECOND, THIRD, Archived
from collective.recipe.backup.tests.blobtrees import blob_id, content, tid
from collective.recipe.backup.tests.faults.harness import Hasty, failing_reads
from collective.recipe.backup.times import LAST_TID

A, B, C = blob_id(1, 1), blob_id(300, 2), blob_id(600, 3)


@pytest.fixture(params=[False, True], ids=["tar", "tar.gz"])
def archived(tmp_path, request):
    """A full archive with two blobs, and one with a third."""
    archived = Archived(tmp_path)
    archived.put(1, 1, os.urandom(3000))
    archived.put(300, 2, b"second")
    archived.full(compressed=request.param)
    archived.put(600, 3, b"third")
    archived.delta(SECOND, C, compressed=request.param)
    return archived


def spoil(archived, blob, data):
    path = archived.source / Layout.BUSHY.path(blob)
    path.chmod(0o600)
    path.write_bytes(data)


def found(archived, until=LAST_TID):
    return differing(archived.found(), archived.source, until)


def test_what_has_not_changed_does_not_differ(archived):
    assert found(archived) == []


@pytest.mark.parametrize("data", [b"", b"THIRD", b"third and more"])
def test_blobs_with_other_bytes_are_found_in_an_archive(archived, data):
    spoil(archived, C, data)
    spoil(archived, B, data)
    assert found(archived) == [B, C]
    assert found(archived, until=tid(2)) == [B]


def test_another_time_does_not(archived):
    for blob in (A, B, C):
        os.utime(archived.source / Layout.BUSHY.path(blob), (0, 0))
    assert found(archived) == []


def test_what_the_source_lacks_or_cannot_read_is_another_matter(archived):
    (archived.source / Layout.BUSHY.path(B)).unlink()
    spoil(archived, C, b"other")
    with failing_reads(archived.source / Layout.BUSHY.path(C)):
        assert found(archived) in ([], [C])


def test_of_several_copies_the_last_counts(archived):
    spoil(archived, C, b"other")
    archived.delta(THIRD, C)
    assert found(archived) == []
    spoil(archived, C, b"third")
    assert found(archived) == [C]


def test_blobs_of_earlier_archives_come_back(archived, tmp_path):
    before = content(archived.source)
    got = unpack(archived.found(), [A, C, blob_id(9, 9)], archived.source, tmp_path / "to", Hasty())
    assert got == [A, C]
    assert content(tmp_path / "to") == {
        Layout.BUSHY.path(blob): before[Layout.BUSHY.path(blob)] for blob in (A, C)
    }


def test_nothing_comes_out_of_a_damaged_archive(archived, tmp_path):
    full, delta = (archive.path for archive in archived.found())
    data = bytearray(full.read_bytes())
    data[len(data) // 2] ^= 1
    full.write_bytes(data)
    got = unpack(archived.found(), [A, B, C], archived.source, tmp_path / "to", Hasty())
    assert got == [C]
    assert list(content(tmp_path / "to")) == [Layout.BUSHY.path(C)]


def test_a_glance_sees_all_members(archived):
    names = [member.path for archive in archived.found() for member in glances(archive)]
    assert [name for name in names if name.endswith(".blob")] == [
        Layout.BUSHY.path(blob) for blob in (A, B, C)
    ]


def test_an_archive_that_is_cut_short_is_seen_by_a_glance(archived):
    [full, _delta] = archived.found()
    data = full.path.read_bytes()
    full.path.write_bytes(data[: len(data) // 2])
    with pytest.raises(IntegrityError):
        list(glances(full))
