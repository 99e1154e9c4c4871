from __future__ import annotations

import os

import pytest

from collective.recipe.backup.blobs import checksums
from collective.recipe.backup.blobs.checksums import Checksum, Checksums, parse, side_by_side
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.files import Files
from collective.recipe.backup.tests.blobtrees import ODD_NAMES

A = Checksum("a", 1, "a" * 64)
B = Checksum("b/c", 22, "b" * 64)
C = Checksum("b-c", 333, "c" * 64)  # after b/c: the slash sorts before all else
LINK = Checksum("link", None, "d" * 64)


@pytest.fixture
def kept(tmp_path):
    """Checksums of A and C, in the sorted file."""
    with Files().writing(tmp_path / "checksums") as writer:
        checksums.write([A, C], writer)
    return Checksums(tmp_path)


class TestLines:
    @pytest.mark.parametrize("checksum", [A, B, LINK])
    def test_a_line_says_it_all(self, checksum):
        assert parse(checksum.line()) == checksum

    @pytest.mark.parametrize("name", [*ODD_NAMES, "\\", "\\\\n", "\n\n", "n", "a/\n/b"])
    def test_any_name_fits_into_one_line(self, name):
        line = Checksum(name, 0, "e" * 64).line()
        assert line.count(b"\n") == 1
        assert parse(line).path == name

    def test_a_line_can_be_read_by_a_person(self):
        assert B.line() == b"b" * 64 + b" 22 b/c\n"
        assert LINK.line() == b"d" * 64 + b" link link\n"

    @pytest.mark.parametrize(
        "line",
        [b"", b"\n", A.line()[1:], A.line()[:-1], b"x" * 64 + b" 1 a\n", b"a" * 64 + b" 1\n"],
    )
    def test_anything_else_is_no_line(self, line):
        with pytest.raises(ValueError, match="not a line"):
            parse(line)


class TestFiles:
    def test_a_set_without_checksums_has_none(self, tmp_path):
        assert not Checksums(tmp_path).exist()
        assert list(Checksums(tmp_path)) == []
        assert Checksums(tmp_path).count() == 0

    def test_checksums_come_in_the_order_of_the_walk(self, kept):
        kept.add([LINK, B], Files())
        assert kept.exist()
        assert list(kept) == [A, B, C, LINK]
        assert kept.count() == 4

    def test_the_last_line_for_a_path_is_right(self, kept):
        first, second = A._replace(digest="1" * 64), A._replace(digest="2" * 64)
        kept.add([first], Files())
        kept.add([second], Files())
        assert list(kept) == [second, C]

    def test_a_line_that_was_being_written_does_not_count(self, kept):
        kept.add([B], Files())
        with kept.added.open("ab") as file:
            file.write(LINK.line()[:-1])
        assert list(kept) == [A, B, C]

    def test_a_line_that_was_being_written_does_not_spoil_the_next_one(self, kept):
        kept.added.write_bytes(LINK.line()[:20])
        kept.add([B], Files())
        assert list(kept) == [A, B, C]

    def test_nothing_to_add_touches_nothing(self, kept):
        kept.add([], Files())
        assert not kept.added.exists()

    def test_what_was_added_is_merged_before_it_gets_long(self, kept, monkeypatch):
        monkeypatch.setattr(checksums, "ADDED_SIZE", 3 * len(B.line()))
        kept.add([B, B, B], Files())
        assert kept.added.exists()
        kept.add([LINK], Files())
        assert not kept.added.exists()
        assert kept.path.read_bytes() == b"".join(each.line() for each in (A, B, C, LINK))

    def test_a_merge_that_died_before_its_end_has_all_lines_twice(self, kept):
        kept.add([B], Files())
        added = kept.added.read_bytes()
        kept.merge(Files())
        kept.added.write_bytes(added)
        assert list(kept) == [A, B, C]

    @pytest.mark.parametrize("name", ["checksums", "checksums.added"])
    def test_a_damaged_line_is_an_error_that_names_the_file(self, kept, name):
        kept.add([B, LINK], Files())
        path = kept.path.with_name(name)
        path.write_bytes(b"X" + path.read_bytes()[1:])
        with pytest.raises(IntegrityError, match="damaged") as caught:
            list(kept)
        assert caught.value.where == str(path)

    @pytest.mark.parametrize("name", ["checksums", "checksums.added"])
    def test_a_line_without_an_end_is_not_read_to_the_end_of_the_file(self, kept, name):
        kept.add([B, LINK], Files())
        path = kept.path.with_name(name)
        path.write_bytes(b"")
        os.truncate(path, 1 << 40)
        with pytest.raises(IntegrityError, match="a line has 16384 bytes or more") as caught:
            list(kept)
        assert caught.value.where == str(path)

    def test_a_path_may_be_as_long_as_any_and_all_of_it_escaped(self, kept):
        longest = Checksum("\n" * 4095, 2**63, "0" * 64)
        kept.add([longest], Files())
        assert longest in list(kept)
        kept.merge(Files())
        assert longest in list(kept)

    def test_a_sorted_file_out_of_order_is_damaged(self, kept):
        kept.path.write_bytes(C.line() + A.line())
        with pytest.raises(IntegrityError, match="'a' is not in its order"):
            list(kept)


class TestOne:
    @pytest.fixture
    def long(self, tmp_path, monkeypatch):
        """Many checksums, some of them added later."""
        monkeypatch.setattr(checksums, "_BLOCK_SIZE", 100)  # so that there is a way to go
        paths = [f"{a}/{b:02}{c}" for a in "abc" for b in range(30) for c in "xyz"]
        lines = [Checksum(path, 1, "a" * 64) for path in paths]
        with Files().writing(tmp_path / "checksums") as writer:
            checksums.write([line for line in lines if "y" not in line.path], writer)
        long = Checksums(tmp_path)
        long.add(reversed([line for line in lines if "y" in line.path]), Files())
        assert list(long) == lines
        return long

    def test_each_is_found_as_it_is_among_all(self, long):
        assert [long.of(each.path) for each in long] == list(long)

    @pytest.mark.parametrize("path", ["", "a", "a/00", "a/00w", "a/15xx", "b/29zz", "d", "c/29z/d"])
    def test_what_is_not_named_is_not_found(self, long, path):
        assert long.of(path) is None

    def test_the_checksum_that_was_added_last_counts(self, long):
        new = Checksum("a/15x", 2, "b" * 64)
        long.add([Checksum("a/15x", 3, "c" * 64), new], Files())
        assert long.of("a/15x") == new

    def test_a_checksum_is_found_without_reading_all(self, long):
        damaged = long.path.read_bytes().replace(b"a/00x", b"a/\nx", 1)
        long.path.write_bytes(damaged)
        with pytest.raises(IntegrityError):
            list(long)
        assert long.of("c/29z") == Checksum("c/29z", 1, "a" * 64)

    def test_checksums_are_long_from_some_size_on(self, long, tmp_path, monkeypatch):
        assert not long.are_long()
        monkeypatch.setattr(checksums, "LONG", 1000)
        assert long.are_long()
        assert not Checksums(tmp_path / "nowhere").are_long()


class TestSideBySide:
    def test_each_meets_its_like(self):
        things = [("a", 1), ("b/a", 2), ("b/c", 3)]
        assert list(side_by_side(things, [A, B, C])) == [(1, A), (2, None), (3, B), (None, C)]

    def test_files_without_checksums_are_paired_with_none(self):
        assert list(side_by_side([("a", 1)], [])) == [(1, None)]

    def test_checksums_without_files_are_paired_with_none(self):
        assert list(side_by_side([], [A, B])) == [(None, A), (None, B)]
