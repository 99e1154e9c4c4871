"""A gzip file is read at any place, and coming back does not begin at its begin."""

from __future__ import annotations

import gzip
import random
import zlib
from pathlib import Path

import pytest

from collective.recipe.backup import seekablegzip
from collective.recipe.backup.gzipping import BAD_GZIP
from collective.recipe.backup.seekablegzip import SeekableGzip

CONTENT = random.Random(3).randbytes(300_000) + bytes(200_000) + b"text " * 60_000
SIZE = len(CONTENT)
FORMS = {
    "one member": gzip.compress(CONTENT),
    "many members": b"".join(
        gzip.compress(CONTENT[at : at + 70_000]) for at in range(0, SIZE, 70_000)
    ),
    "empty members": gzip.compress(b"") + gzip.compress(CONTENT) + gzip.compress(b""),
    "zeros at the end": gzip.compress(CONTENT) + bytes(200_000),
    "zeros between members": gzip.compress(CONTENT[:9]) + bytes(99) + gzip.compress(CONTENT[9:]),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data.gz"


@pytest.fixture
def near_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave points behind that are as near to each other as in a file of many gigabytes."""
    monkeypatch.setattr(seekablegzip, "_DISTANCE", 10_000)
    monkeypatch.setattr(seekablegzip, "_STEP", 4_000)
    monkeypatch.setattr(seekablegzip, "_READ", 1_000)


@pytest.mark.parametrize("data", FORMS.values(), ids=FORMS.keys())
@pytest.mark.usefixtures("near_points")
def test_any_place_of_any_gzip_is_what_gzip_says(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    assert gzip.decompress(data) == CONTENT
    seekable = SeekableGzip(path)
    chance = random.Random(7)
    for _turn in range(60):
        offset, size = chance.randrange(SIZE + 5), chance.choice([1, 100, 5_000, 250_000])
        assert seekable.read(offset, size) == CONTENT[offset : offset + size]
    assert seekable.read(0, SIZE + 1) == CONTENT
    assert seekable.read(SIZE, 1) == b""
    assert seekable.read(5, 0) == b""


def test_a_file_without_bytes_has_no_content(path: Path) -> None:
    path.touch()
    assert SeekableGzip(path).read(0, 10) == b""


@pytest.mark.usefixtures("near_points")
def test_coming_back_does_not_inflate_what_is_before_a_point(path: Path) -> None:
    path.write_bytes(FORMS["one member"])
    seekable = SeekableGzip(path)
    assert seekable.read(SIZE - 1, 1)
    with path.open("r+b") as file:
        file.write(bytes(200_000))  # nothing up to here can be inflated any more
    assert seekable.read(450_000, 1_000) == CONTENT[450_000:451_000]
    with pytest.raises(zlib.error):
        seekable.read(5_000, 10)


@pytest.mark.usefixtures("near_points")
def test_there_are_never_more_points_than_memory_should_hold(path: Path, monkeypatch) -> None:
    monkeypatch.setattr(seekablegzip, "_POINTS", 8)
    path.write_bytes(FORMS["many members"])
    seekable = SeekableGzip(path)
    most = 0
    for offset in range(0, SIZE, 5_000):
        assert seekable.read(offset, 5_000) == CONTENT[offset : offset + 5_000]
        most = max(most, len(seekable._points))
    assert most == 8
    assert seekable.read(1, 9) == CONTENT[1:10]


@pytest.mark.parametrize("at", [0, 5_000, len(FORMS["one member"]) - 6])
def test_damage_up_to_what_is_asked_for_is_damage(path: Path, at: int) -> None:
    data = bytearray(FORMS["one member"])
    data[at] ^= 0x55
    path.write_bytes(data)
    with pytest.raises(BAD_GZIP):
        SeekableGzip(path).read(0, SIZE + 1)


def test_a_file_that_is_cut_short_is_read_up_to_there(path: Path) -> None:
    path.write_bytes(FORMS["one member"][:-20])
    seekable = SeekableGzip(path)
    assert seekable.read(1_000, 100) == CONTENT[1_000:1_100]
    with pytest.raises(EOFError):
        seekable.read(0, SIZE + 1)


def test_zeros_in_the_place_of_a_file_are_no_gzip(path: Path) -> None:
    path.write_bytes(bytes(5_000))
    with pytest.raises(zlib.error):
        SeekableGzip(path).read(0, 1)


def test_a_file_that_is_gone_is_said_to_be(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        SeekableGzip(path).read(0, 1)
