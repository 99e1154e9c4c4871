"""The formats of segments: what is written is read again, and anything else is refused."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.filestorage.segments import (
    ChunkKind,
    Keys,
    Linked,
    logstate,
    read_log_state,
    spans,
)
from collective.recipe.backup.filestorage.segments.fields import Fields, Names, number, string
from collective.recipe.backup.filestorage.segments.recordindex import IndexWriter, RecordIndex
from collective.recipe.backup.filestorage.segments.rows import RowReader
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.tests import logs
from collective.recipe.backup.tests.samples import FOUNDED, Site
from collective.recipe.backup.tests.segmented import (
    SECRET,
    Captures,
    decoded,
    encoded,
    small_sizes,
)


@pytest.fixture(scope="module", autouse=True)
def _small() -> Iterator[None]:
    with small_sizes():
        yield


# numbers and strings


@given(st.lists(st.integers(0, (1 << 64) - 1) | st.binary(max_size=300)))
def test_fields_are_read_as_they_were_written(items):
    data = b"".join(number(each) if isinstance(each, int) else string(each) for each in items)
    fields = Fields(data, "it")
    assert [
        fields.number() if isinstance(each, int) else fields.string() for each in items
    ] == items
    fields.finish()


@given(st.binary(max_size=12))
def test_each_number_can_be_written_in_one_way_only(data):
    fields = Fields(data, "it")
    try:
        value = fields.number()
    except IntegrityError:
        return
    assert number(value) == data[: len(data) - fields.left]


@pytest.mark.parametrize(
    "data",
    [b"", b"\x80", b"\x80\0", b"\xff" * 10, b"\xff" * 9 + b"\x02", b"\x81" * 11],
    ids=["empty", "no end", "not shortest", "endless", "2 ** 64", "too long"],
)
def test_bytes_that_are_no_number_are_refused(data):
    with pytest.raises(IntegrityError, match="it is damaged"):
        Fields(data, "it").number()


@pytest.mark.parametrize("read", [Fields.string, Fields.integer, lambda fields: fields.count(1)])
def test_a_length_beyond_the_end_is_refused(read):
    with pytest.raises(IntegrityError, match="it is damaged"):
        read(Fields(b"\x05abcd", "it"))


def test_bytes_after_the_last_field_are_refused():
    with pytest.raises(IntegrityError, match="2 bytes follow"):
        Fields(b"ab", "it").finish()


# record indexes


@pytest.fixture
def index(tmp_path: Path) -> bytes:
    """Return the record index of a log with three transactions, one of them without records."""
    path = tmp_path / "Data.fs"
    path.write_bytes(logs.log([b"a", b"bb" * 40], [], [b"ccc", b"ddd"]))
    writer = IndexWriter()
    with TransactionLog(path) as log:
        reader = RowReader(log, Keys(SECRET))
        for transaction in log.transactions():
            writer.add(reader.rows(transaction))
    return writer.encoded()


def test_an_index_has_the_transactions_and_records_of_its_log(index):
    data = logs.log([b"a", b"bb" * 40], [], [b"ccc", b"ddd"])
    read = RecordIndex(index)
    assert [read.number(logs.tid(n)) for n in range(5)] == [-1, 0, 1, 2, -1]
    assert list(read.starts) == [0, 2, 2, 4]
    assert [4 + begin for begin in read.begins] == [4, *logs.ends(data)]
    assert read.size == len(data) - 4
    assert [read.oid(row) for row in range(4)] == [struct.pack(">Q", n) for n in (1, 2, 1, 2)]
    assert list(read.sizes) == [1, 80, 3, 3]
    place = 4 + read.place(2, 3)
    assert data[place : place + 3] == b"ddd"


def test_an_index_tells_nothing_of_the_data_without_the_key(tmp_path):
    path = tmp_path / "Data.fs"
    path.write_bytes(logs.log([b"password"]))
    digests = []
    for secret in (SECRET, bytes(32)):
        with TransactionLog(path) as log:
            [transaction] = log.transactions()
            rows = RowReader(log, Keys(secret)).rows(transaction)
        digests += [rows.digest(0), rows.texts]
    assert len(set(digests)) == 4


@pytest.mark.parametrize(
    ("offset", "new", "flaw"),
    [
        (0, b"CRBSTATE", "begins as no record index"),
        (8, b"\0\2", "version 2 is not known"),
        (10, b"\0\1", "not known"),
        (12, b"\0\0\0\0", "no transaction"),
        (12, b"\xff\xff\xff\xff", "bytes and not"),
        (16, b"\xff" * 8, "bytes and not"),
        (24, b"\xff" * 8, "tids do not increase"),
        (48, b"\xff" * 8, "a length is too large"),
        (48, b"\0" * 8, "do not fill it"),
        (72, b"u", "a status is not known"),
        (75, b"\xff" * 8, "do not fill it"),
        (99, b"\xff" * 8, "not as many as it says"),
        (99, b"\0" * 7 + b"\1" + b"\0" * 7 + b"\1", "do not fill it"),
        (203, b"\xff" * 8, "do not fill it"),
    ],
)
def test_a_damaged_index_is_refused_in_words(index, offset, new, flaw):
    damaged = index[:offset] + new + index[offset + len(new) :]
    with pytest.raises(IntegrityError, match=flaw):
        RecordIndex(damaged)


def test_an_index_that_was_cut_or_extended_is_refused(index):
    for data in (*(index[:size] for size in range(len(index))), index + b"\0"):
        with pytest.raises(IntegrityError):
            RecordIndex(data)


# states


@pytest.fixture(scope="module")
def captures(_small: None, tmp_path_factory: pytest.TempPathFactory) -> Captures:
    """Return a state with spans of all rules, loans, pointers, corrections and pages."""
    site = Site(tmp_path_factory.mktemp("site"))
    captures = Captures()
    for day in range(2, 20):
        site.commit({f"{key}": f"{day}" * 300 for key in range(day % 5 + 3)}, at=_day(day))
    undone = site.commit({"0": "undone"}, at=_day(20))
    site.undo(undone, at=_day(21))
    for day in range(22, 26):
        site.commit({"2": "x" * day}, at=_day(day))
    captures.capture(site.filestorage)
    site.pack(_day(23))
    site.commit({"new": 1}, at=_day(27))
    # a pointer that no rule gives
    with site.filestorage.open("r+b") as file:
        file.seek(_first_record(site.filestorage) + 16)
        file.write(struct.pack(">Q", 4))
    captures.capture(site.filestorage)
    return captures


def _day(number: int):
    return FOUNDED.replace(day=number)


def _first_record(path: Path) -> int:
    with TransactionLog(path) as log:
        return next(log.transactions()).records


def test_a_state_is_read_as_it_was_written(captures):
    root, _data = captures.taken[-1]
    state = read_log_state(root)
    assert state.root() == root
    found = list(state.all_spans(captures.chunks))
    assert {span.rule for span in found} == set(spans.Rule)
    assert state.pages
    assert any(span.loans for span in found)
    assert any(span.pointers for span in found)
    assert any(span.corrections for span in found)
    assert state.span_count == len(found)


def test_a_state_names_each_chunk_that_it_needs(captures):
    state = read_log_state(captures.taken[-1][0])
    needed = {name for _kind, name in state.needed(captures.chunks)}
    forgotten = Captures()
    forgotten.chunks.held = {name: captures.chunks.held[name] for name in needed}
    forgotten.taken = captures.taken[-1:]
    assert b"".join(forgotten.rebuilt().stream()) == captures.taken[-1][1]
    for name in needed:
        held = forgotten.chunks.held.pop(name)
        is_index = held.startswith(b"CRBINDEX")
        try:
            b"".join(forgotten.rebuilt().stream())
        except IntegrityError:
            assert not is_index
        else:
            assert is_index, "what is read was not needed"
        forgotten.chunks.held[name] = held


@settings(derandomize=True, max_examples=400)
@given(st.data())
def test_a_damaged_state_is_read_or_refused_in_words(captures, draw):
    root = captures.taken[-1][0]
    changed = Linked(root.names, draw.draw(damaged(root.data)))
    try:
        state = read_log_state(changed)
    except IntegrityError:
        return
    assert state.root() == changed


@settings(derandomize=True, max_examples=400)
@given(st.data())
def test_a_damaged_page_is_refused(captures, draw):
    page = read_log_state(captures.taken[-1][0]).pages[0]
    right = decoded(captures.chunks.held[page.name])
    changed = Linked(right.names, draw.draw(damaged(right.data)))
    broken = Captures()
    broken.chunks.held[page.name] = encoded(changed)
    try:
        found = logstate.read_page(broken.chunks, page)
    except IntegrityError:
        return
    # only the content of fields can have changed, which the name of the chunk protects
    assert logstate.written_page(found) == changed


@pytest.mark.parametrize(
    "change",
    [
        lambda names: names[:-1],
        lambda names: (*names, bytes(32)),
        lambda names: (*names[:-1], names[0]),
        lambda names: (),
    ],
    ids=["one is missing", "one too many", "one comes twice", "all are missing"],
)
def test_names_that_are_not_those_that_are_mentioned_are_refused(captures, change):
    root, _data = captures.taken[-1]
    with pytest.raises(IntegrityError, match="name"):
        read_log_state(Linked(change(root.names), root.data))


def test_names_come_in_the_order_in_which_they_are_mentioned():
    names = Names()
    data = b"".join(map(names.name, (b"b", b"a", b"b")))
    assert names.linked(data) == ((b"b", b"a"), b"\0\1\0")
    with pytest.raises(IntegrityError, match="a name that it does not list"):
        Fields(b"\1\0", "it", (b"a", b"b")).name()


@st.composite
def damaged(draw, data: bytes) -> bytes:
    """Return *data* with some bytes changed, lost or put in."""
    begin = draw(st.integers(0, len(data)))
    end = min(len(data), begin + draw(st.integers(0, 12)))
    new = draw(st.binary(max_size=12) | st.just(data[begin:end] * 2))
    changed = data[:begin] + new + data[end:]
    return changed if changed != data else data + b"\0"


@pytest.mark.parametrize(
    ("offset", "new", "flaw"),
    [
        (0, b"CRBSPANS", "begins as none does"),
        (8, b"\0\2", "version 2 is not known"),
        (10, b"FS31", "do not fit together"),
        (14, b"\0" * 8, "do not fit together"),
        (22, b"\xff" * 8, "do not fit together"),
        (38, b"\0" * 8, "do not fit together"),
    ],
)
def test_a_state_that_does_not_fit_together_is_refused(captures, offset, new, flaw):
    names, data = captures.taken[-1][0]
    with pytest.raises(IntegrityError, match=flaw):
        read_log_state(Linked(names, data[:offset] + new + data[offset + len(new) :]))


def test_chunks_have_the_kinds_that_they_are_put_as(captures):
    state = read_log_state(captures.taken[-1][0])
    for kind, name in state.needed(captures.chunks):
        held = captures.chunks.held[name]
        assert (kind is ChunkKind.INDEX) == held.startswith(b"CRBINDEX")
        if kind is ChunkKind.SPANS:
            assert decoded(held).data.startswith(b"CRBSPANS")


def test_a_secret_of_another_length_is_refused():
    with pytest.raises(ValueError, match="32 bytes"):
        Keys(b"short")
