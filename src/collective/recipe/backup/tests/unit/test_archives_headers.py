from __future__ import annotations

import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collective.recipe.backup.blobs.archives.headers import (
    BLOCK_SIZE,
    NAME_SIZE,
    TarHeader,
    Type,
    decode,
    extended,
    parse_records,
    parse_time,
    show_time,
)

NUMBERS = st.integers(0, 2**60)
SHORT = st.binary(max_size=31).filter(lambda text: b"\0" not in text)
NAMES = st.binary(min_size=1, max_size=NAME_SIZE).filter(lambda name: b"\0" not in name)


@given(
    st.builds(
        TarHeader,
        type=st.sampled_from([Type.FILE, Type.DIRECTORY, Type.SYMBOLIC_LINK, Type.HARD_LINK]),
        name=NAMES,
        size=NUMBERS,
        mode=st.integers(0, 0o7777),
        uid=st.integers(0, 2**40),
        gid=st.integers(0, 2**40),
        mtime=st.integers(-(2**40), 2**60),
        link=SHORT,
        user=SHORT,
        group=SHORT,
    )
)
def test_a_header_is_read_as_it_was_written(header):
    block = header.encode()
    assert len(block) == BLOCK_SIZE
    assert decode(block) == header


@given(
    st.builds(
        TarHeader,
        type=st.just(Type.FILE),
        name=NAMES,
        size=NUMBERS,
        mode=st.integers(0, 0o7777),
        uid=st.integers(0, 2**32),
        gid=st.integers(0, 2**32),
        mtime=st.integers(-9, 2**50),
        link=st.just(b""),
    )
)
def test_python_reads_the_same(header):
    theirs = tarfile.TarInfo.frombuf(header.encode(), "utf-8", "surrogateescape")
    name = theirs.name.encode("utf-8", "surrogateescape")
    # tarfile takes a file whose name ends in a slash for a directory
    assert name.rstrip(b"/") == header.name.rstrip(b"/")
    assert (theirs.size, theirs.mtime) == (header.size, header.mtime)


def test_a_name_that_is_too_long_comes_before():
    blocks = TarHeader(Type.SYMBOLIC_LINK, b"n" * 101, link=b"l" * 300).encode()
    assert len(blocks) == 5 * BLOCK_SIZE
    assert decode(blocks[:512]).type is Type.GNU_LONG_NAME
    assert blocks[512:1024].rstrip(b"\0") == b"n" * 101
    assert decode(blocks[1024:1536]).type is Type.GNU_LONG_LINK
    assert decode(blocks[-512:]).name == b"n" * 100


def test_a_prefix_is_part_of_the_name_but_not_where_gnu_keeps_times():
    theirs = tarfile.TarInfo("d" * 90 + "/" + "f" * 90)
    assert decode(theirs.tobuf(tarfile.USTAR_FORMAT)).name == theirs.name.encode()
    block = bytearray(TarHeader(Type.FILE, b"name").encode())
    block[257:265] = b"ustar  \0"
    block[345:357] = b"15300655253\0"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    assert decode(bytes(block)).name == b"name"


def test_before_there_were_types_a_directory_was_a_name_with_a_slash():
    assert decode(TarHeader(Type.OLD_FILE, b"./a/").encode()).type is Type.DIRECTORY
    assert decode(TarHeader(Type.OLD_FILE, b"./a").encode()).type is Type.OLD_FILE


@pytest.mark.parametrize("offset", range(0, BLOCK_SIZE, 7))
def test_a_damaged_header_is_no_header(offset):
    block = bytearray(TarHeader(Type.FILE, b"name", 7, user=b"user").encode())
    block[offset] ^= 0x11
    with pytest.raises(ValueError, match=r"checksum|number"):
        decode(bytes(block))


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (TarHeader(Type.FILE, b"name", -1), "negative"),
        (TarHeader(Type.FILE, b"name")._replace(size=-(2**40)), "negative"),
    ],
)
def test_a_header_with_impossible_values_is_damage(header, why):
    with pytest.raises(ValueError, match=why):
        decode(header.encode())


def test_a_block_that_is_cut_short_is_damage():
    with pytest.raises(ValueError, match="cut short"):
        decode(TarHeader(Type.FILE, b"name").encode()[:511])


KEYS = st.binary(min_size=1, max_size=30).filter(lambda key: not set(key) & set(b"=\n"))


@given(st.dictionaries(KEYS, st.binary(max_size=200)))
def test_records_are_read_as_they_were_written(records):
    blocks = extended(records)
    header = decode(blocks[:512])
    assert header.type is Type.EXTENDED
    assert parse_records(blocks[512 : 512 + header.size]) == records


@pytest.mark.parametrize("size", [1, 8, 9, 96, 97, 98, 99, 996, 997, 998])
def test_the_length_of_a_record_counts_itself(size):
    blocks = extended({b"k": b"v" * size})
    length, rest = blocks[512:].rstrip(b"\0").split(b" ", 1)
    assert int(length) == len(length) + 1 + len(rest)


@pytest.mark.parametrize(
    "data",
    [
        b"6 a=b",
        b"99 a=b\n",
        b"5 a=b\n",
        b"a=b\n",
        b"0 a=b\n",
        b"6 ab\n\n",
        b"\0",
        b"4 =\n",
        b"-6 a=b\n",
    ],
)
def test_damaged_records_are_damage(data):
    with pytest.raises(ValueError, match="damaged"):
        parse_records(data)


@given(st.integers(-(2**70), 2**70))
def test_times_keep_their_nanoseconds(time):
    assert parse_time(show_time(time)) == time


@pytest.mark.parametrize(
    ("text", "time"),
    [
        (b"7", 7 * 10**9),
        (b"7.5", 7_500_000_000),
        (b"-1.5", -1_500_000_000),
        (b"1.1234567891", 1_123_456_789),
    ],
)
def test_times_of_others_are_understood(text, time):
    assert parse_time(text) == time


@pytest.mark.parametrize("text", [b"", b"x", b"1e9", b"1,5", b"0x10", b"1 "])
def test_what_is_no_time_is_damage(text):
    with pytest.raises(ValueError, match="no valid time"):
        parse_time(text)
