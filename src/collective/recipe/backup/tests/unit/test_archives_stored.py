from __future__ import annotations

import grp
import pwd
import re

import pytest

from collective.recipe.backup.blobs.archives import owners
from collective.recipe.backup.blobs.archives.archivenames import planned
from collective.recipe.backup.blobs.archives.stored import Stored, Stream
from collective.recipe.backup.errors import BackupError
from collective.recipe.backup.tests.archived import FIRST


@pytest.fixture
def stream(tmp_path):
    stream = Stream(planned(tmp_path, "b", FIRST), (each for each in (b"ab", b"c", b"defgh", b"i")))
    yield stream
    stream.close()


class TestStream:
    def test_what_is_read_may_lie_in_several_pieces(self, stream):
        assert stream.read(1) == b"a"
        assert stream.read(4) == b"bcde"
        assert stream.read(2) == b"fg"
        assert stream.read(9) == b"hi"
        assert stream.read(1) == b""

    def test_some_is_as_much_as_is_at_hand(self, stream):
        assert [bytes(stream.some(3)) for _each in range(6)] == [
            b"ab",
            b"c",
            b"def",
            b"gh",
            b"i",
            b"",
        ]


def test_progress_is_told_of_every_stored_byte(tmp_path):
    archive = planned(tmp_path, "b", FIRST)
    archive.path.write_bytes(b"x" * 5_000_000)
    told = []
    stored = Stored(archive, told.append)
    assert sum(len(piece) for piece in stored.pieces()) == sum(told) == 5_000_000
    assert max(told) <= 1 << 20
    stored.close()


def test_an_archive_that_cannot_be_read_is_named(tmp_path):
    from collective.recipe.backup.blobs.archives.archivereading import members

    archive = planned(tmp_path, "b", FIRST)
    archive.path.mkdir()
    with pytest.raises(BackupError, match=f"cannot read the archive.*{re.escape(str(tmp_path))}"):
        list(members(archive, lambda _size: None))


class TestOwners:
    """Root restores to the owner of that name, wherever it has another number."""

    def test_a_name_that_is_known_here_counts(self):
        user, group = pwd.getpwall()[-1], grp.getgrall()[-1]
        assert owners.user_id(user.pw_name.encode(), 4_000_000) == user.pw_uid
        assert owners.group_id(group.gr_name.encode(), 4_000_000) == group.gr_gid

    def test_an_unknown_name_of_an_owner_gives_way_to_the_number(self):
        assert owners.user_id(b"nobody has this name", 4_000_000) == 4_000_000
        assert owners.group_id(b"nobody has this name", 4_000_000) == 4_000_000
        assert owners.user_id(b"", 0) == owners.group_id(b"", 0) == 0

    def test_an_owner_without_a_name_has_a_number(self):
        assert owners.user_name(4_000_000) == owners.group_name(4_000_000) == b""
