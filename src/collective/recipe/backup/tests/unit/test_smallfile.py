"""One way to read a small file that anybody may have put there: never waiting, of limited size."""

from __future__ import annotations

import json
import os
import stat
from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collective.recipe.backup.jsonfile import (
    DEPTH,
    Form,
    LaterReleaseError,
    Table,
    UnreadableError,
    is_deep,
    loads,
)
from collective.recipe.backup.smallfile import (
    NotRegularError,
    UnfitError,
    open_regular,
    read_small,
    regular,
)

UNREADABLE = Path("/proc/self/mem")

FORM = Form(version=1)
UNCHECKED = Form(version=1, check=None)


def nested(depth: int, opening: str = "[", closing: str = "]") -> bytes:
    return (opening * depth + closing * depth).encode("ascii")


# reading


def test_the_bytes_of_a_small_file_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"data\r\n")
    assert read_small(tmp_path / "file") == b"data\r\n"


def test_an_error_of_reading_names_the_file() -> None:
    """It can be opened; no read of its begin succeeds, where a process has no memory."""
    with open_regular(UNREADABLE) as file:
        for read in (file.read, lambda: file.read(10), file.readline, lambda: next(iter(file))):
            with pytest.raises(OSError, match="Input/output error") as caught:
                read()
            assert caught.value.filename == str(UNREADABLE)


def test_a_link_to_a_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"data")
    (tmp_path / "link").symlink_to("file")
    assert read_small(tmp_path / "link") == b"data"


def test_a_small_file_that_is_missing_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"data")
    (tmp_path / "dangling").symlink_to("nothing")
    for name in ("missing", "file/below", "missing/below", "dangling"):
        assert read_small(tmp_path / name) is None


def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotRegularError, match="not a regular file"):
        read_small(tmp_path / "pipe")
    for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
        with pytest.raises(NotRegularError):
            regular(tmp_path / "pipe", flags)


def test_a_directory_a_socket_and_a_device_are_refused(tmp_path: Path) -> None:
    os.mknod(tmp_path / "socket", stat.S_IFSOCK | 0o600)
    for path in (tmp_path, tmp_path / "socket", Path("/dev/zero")):
        with pytest.raises(NotRegularError, match="not a regular file"):
            read_small(path)
        with pytest.raises(NotRegularError):
            open_regular(path)


def test_a_file_that_is_too_large_is_refused_without_being_read(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UnfitError, match="larger than 1000 bytes"):
        read_small(tmp_path / "file", 1000)


def test_a_file_of_just_the_limit_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(1000))
    assert read_small(tmp_path / "file", 1000) == bytes(1000)
    with pytest.raises(UnfitError):
        read_small(tmp_path / "file", 999)


def test_a_link_to_itself_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("link")
    with pytest.raises(OSError, match="symbolic links"):
        read_small(tmp_path / "link")


# JSON


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 100,
        b"{",
        b"\xff",
        b"[NaN]",
        b"[-Infinity]",
        b"1" * 5000,
        b'{"a": 1} more',
        "{}".encode("utf-16"),
    ],
    ids=lambda data: repr(data[:10]),
)
def test_what_is_no_json_is_refused_in_words(data: bytes) -> None:
    with pytest.raises(UnreadableError):
        loads(data)


@pytest.mark.parametrize("brackets", ["[]", '{"a":}', '[{"a":}]'])
@pytest.mark.parametrize("depth", [DEPTH + 1, 1000, 100_000])
def test_brackets_that_lie_too_deep_are_refused(brackets: str, depth: int) -> None:
    middle = len(brackets.rstrip("]}"))
    deep = nested(depth, brackets[:middle], brackets[middle:])
    for data in (deep, deep[:-1]):
        with pytest.raises(UnreadableError, match="deep in each other"):
            loads(data)


def test_many_brackets_that_do_not_lie_deep_are_read() -> None:
    assert loads(b"[" + b",".join([nested(DEPTH - 1)] * 100) + b"]")
    assert loads(json.dumps({"[{": ['"[' * 100, "\\" * 7, "]}" * 100]}).encode("ascii"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=30,
)


@given(value=JSON)
def test_what_is_not_deep_is_read_as_json_reads_it(value: object) -> None:
    assert loads(json.dumps(value).encode("ascii")) == value
    assert not is_deep(value)


@given(data=st.one_of(st.binary(), st.text('[]{}",:\\ ab01').map(str.encode)))
def test_any_bytes_are_read_or_refused_in_words(data: bytes) -> None:
    for read in (loads, FORM.decode, UNCHECKED.decode):
        try:
            read(data)
        except UnreadableError as error:
            assert str(error)


def test_a_value_that_lies_too_deep_is_seen_without_recursion() -> None:
    value: object = []
    for _level in range(100_000):
        value = {"a": [value]}
    assert is_deep(value)


# objects of ours


@given(content=st.dictionaries(st.text(max_size=5), JSON, max_size=4))
def test_encoded_json_is_decoded_to_equal_values(content: dict[str, object]) -> None:
    content = {key: value for key, value in content.items() if key not in ("format", "check")}
    for form in (FORM, UNCHECKED, Form(), Form(version=1, indent=1), Form(is_sorted=False)):
        data = form.encode(content)
        assert data.isascii()
        assert data.endswith(b"\n")
        table = form.decode(data)
        assert {key: table.value(key) for key in content} == content


@given(data=st.data())
def test_a_flipped_bit_is_found(data: st.DataObject) -> None:
    whole = FORM.encode({"moves": ["/srv/site/Data.fs"], "keep": 17})
    place = data.draw(st.integers(0, len(whole) - 2))
    damaged = bytearray(whole)
    damaged[place] ^= 1 << data.draw(st.integers(0, 7))
    try:
        table = FORM.decode(bytes(damaged))
    except UnreadableError as error:
        assert not isinstance(error, LaterReleaseError)  # noqa: PT017  it is no matter of which
    else:
        # white space between the values says nothing
        assert [table.value(key) for key in ("moves", "keep")] == [["/srv/site/Data.fs"], 17]


def test_a_file_of_zeros_is_damaged(tmp_path: Path) -> None:
    data = FORM.encode({"a": 1})
    for begin in range(len(data)):
        (tmp_path / "file").write_bytes(data[:begin] + bytes(len(data) - begin))
        with pytest.raises(UnreadableError):
            FORM.load(tmp_path / "file")


def test_a_later_format_is_told_from_damage() -> None:
    data = Form(version=2).encode({"a": 1})
    with pytest.raises(LaterReleaseError, match="its format is 2, this release knows 1"):
        FORM.decode(data)
    with pytest.raises(UnreadableError, match="its check does not fit") as caught:
        FORM.decode(data.replace(b'"a"', b'"b"'))
    assert not isinstance(caught.value, LaterReleaseError)


@pytest.mark.parametrize("version", [0, -1, True, "1", None, 1.0, [1]])
def test_a_format_that_never_was_is_damage(version: object) -> None:
    with pytest.raises(UnreadableError) as caught:
        UNCHECKED.decode(json.dumps({"format": version}).encode("ascii"))
    assert not isinstance(caught.value, LaterReleaseError)


def test_a_file_that_is_not_there_says_nothing_and_one_that_cannot_be_is_unreadable(
    tmp_path: Path,
) -> None:
    assert FORM.load(tmp_path / "missing") is None
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnreadableError, match="not a regular file"):
        FORM.load(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(FORM.encode({"a": "b" * 100}))
    with pytest.raises(UnreadableError, match="larger than 100 bytes"):
        FORM.load(tmp_path / "file", 100)


# values by their types

NEVER = [None, True, 1, 1.5, "text", "/a\0b", "/\ud800", 2**64, 10**400, [], [1], {}]


@pytest.mark.parametrize(
    ("method", "good"),
    [
        ("text", ["text", "/a\0b", "/\ud800"]),
        ("path", []),
        ("number", [1]),
        ("amount", [1, 1.5]),
        ("flag", [True]),
        ("moment", []),
        ("tables", [[]]),
        ("texts", [[]]),
    ],
)
def test_a_value_of_another_type_is_refused(method: str, good: list[object]) -> None:
    for value in NEVER:
        table = Table({"key": value})
        if any(type(value) is type(each) and value == each for each in good):
            assert getattr(table, method)("key") == value
        else:
            with pytest.raises(UnreadableError, match="key"):
                getattr(table, method)("key")


@pytest.mark.parametrize("method", ["text", "path", "number", "amount"])
def test_what_may_be_none_may_be_missing(method: str) -> None:
    assert getattr(Table({"key": None}), f"{method}_or_none")("key") is None
    assert getattr(Table({}), f"{method}_or_none")("key") is None
    with pytest.raises(UnreadableError):
        getattr(Table({"key": []}), f"{method}_or_none")("key")


def test_a_path_of_any_bytes_is_one() -> None:
    name = os.fsdecode(b"/srv/\xff\n")
    table = FORM.decode(FORM.encode({"key": name}))
    assert table.path("key") == Path(name)
    with pytest.raises(UnreadableError, match="no absolute path"):
        Table({"key": "srv"}).path("key")


def test_a_moment_has_a_zone_and_is_in_utc() -> None:
    moment = Table({"key": "2026-03-01T12:00:00+01:00"}).moment("key")
    assert moment == datetime(2026, 3, 1, 11, tzinfo=timezone.utc)
    assert moment.tzinfo is timezone.utc
    for text in ("2026-03-01T12:00:00", "yesterday", "0001-01-01T00:00:00+14:00"):
        with pytest.raises(UnreadableError, match="key"):
            Table({"key": text}).moment("key")


def test_rows_have_their_width() -> None:
    assert Table({"key": [["a", "b"]]}).rows("key", 2) == [["a", "b"]]
    for value in ([["a"]], [["a", 1]], ["ab"], {}, None):
        with pytest.raises(UnreadableError, match="key"):
            Table({"key": value}).rows("key", 2)
