"""The log as a stream: the same rules, in any cut of bytes."""

from __future__ import annotations

import tracemalloc

import pytest

from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.filestorage.format import DataRecord
from collective.recipe.backup.filestorage.framing import Framing
from collective.recipe.backup.filestorage.records import records_of
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.tests import logs
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.times import ZERO_TID

LOG = logs.log([b"one", b"two"], [b"three"], [], [b"four" * 10], [b"five", b"x" * 90])
ENDS = logs.ends(LOG)
SIZES = [1, 2, 7, 8, 23, 31, 64, 1000]


def streamed(framing: Framing, data: bytes, size: int = 10**6) -> bytes:
    """Feed all of *data* in pieces of *size* bytes; return what was passed on."""
    pieces = [data[begin : begin + size] for begin in range(0, len(data), size)]
    passed = b"".join(bytes(framing.feed(piece)) for piece in pieces)
    framing.finish()
    return passed


def refusal(data: bytes, size: int = 10**6, **options: object) -> str:
    with pytest.raises(IntegrityError) as caught:
        streamed(Framing(where="a.fsz", **options), data, size)
    assert caught.value.where == "a.fsz"
    assert caught.value.hint
    return str(caught.value)


@pytest.mark.parametrize("size", SIZES)
def test_all_of_a_sound_log_is_passed_on(size):
    framing = Framing()
    assert streamed(framing, LOG, size) == LOG
    assert (framing.end, framing.begin, framing.tid) == (len(LOG), ENDS[-2], logs.tid(5))
    assert (framing.count, framing.packed, framing.done) == (5, None, False)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_kind_of_bytes_will_do(kind):
    framing = Framing()
    passed = b"".join(bytes(framing.feed(kind(LOG[at : at + 10]))) for at in range(0, 10**4, 10))
    assert passed == LOG


@pytest.mark.parametrize("size", SIZES)
def test_nothing_later_than_the_moment_is_passed_on(size):
    for number, end in enumerate(ENDS, 1):
        framing = Framing(until=logs.tid(number))
        assert streamed(framing, LOG, size) == LOG[:end]
        assert (framing.end, framing.tid) == (end, logs.tid(number))
        assert framing.done == (end != len(LOG))


def test_a_moment_before_all_leaves_a_log_without_transactions():
    framing = Framing(until=ZERO_TID)
    assert streamed(framing, LOG) == LOG[:4]
    assert (framing.end, framing.tid, framing.done) == (4, None, True)


def test_nothing_is_passed_on_after_the_cut():
    framing = Framing(until=logs.tid(2))
    assert bytes(framing.feed(LOG)) == LOG[: ENDS[1]]
    assert bytes(framing.feed(LOG)) == b""
    framing.finish()


def test_damage_after_the_cut_is_no_concern_of_it():
    assert streamed(Framing(until=logs.tid(1)), LOG[:-5] + b"other") == LOG[: ENDS[0]]


def test_a_stream_may_go_on_where_another_ended():
    for number, end in enumerate(ENDS[:-1], 1):
        framing = Framing()
        framing.resume(end, logs.tid(number))
        assert streamed(framing, LOG[end:], 7) == LOG[end:]
        assert (framing.end, framing.tid, framing.count) == (len(LOG), logs.tid(5), 5 - number)


def test_a_stream_that_does_not_go_on_there_is_refused():
    framing = Framing()
    framing.resume(ENDS[2], logs.tid(3))
    with pytest.raises(IntegrityError, match="written for another place"):
        framing.feed(LOG[ENDS[1] :])


def test_what_a_pack_rewrote_is_known():
    data = logs.log([b"one"], [b"two"], status=b"p")
    data += logs.transaction(len(data), logs.tid(3))
    framing = Framing()
    streamed(framing, data)
    assert framing.packed == logs.tid(2)


def test_a_pack_that_rewrote_transactions_after_the_cut_is_known():
    """Then the state at the cut is not what it was."""
    data = logs.log([b"one"], [b"two"], [b"three"], status=b"p")
    framing = Framing(until=logs.tid(1))
    streamed(framing, data)
    assert (framing.tid, framing.packed) == (logs.tid(1), logs.tid(2))


@pytest.mark.parametrize("size", [1, 1000])
def test_a_stream_that_ends_within_a_transaction_is_refused(size):
    for end in range(len(LOG)):
        if end in (4, *ENDS):
            assert streamed(Framing(), LOG[:end], size) == LOG[:end]
        else:
            refusal(LOG[:end], size)


def test_a_stream_that_ends_before_the_cut_must_end_whole():
    refusal(LOG[:-1], until=logs.tid(5))


@pytest.mark.parametrize("data", [b"", b"FS", b"PK\3\4" + LOG[4:], bytes(100)])
def test_a_file_that_is_no_filestorage_is_refused(data):
    assert "at byte 0" in refusal(data)


@pytest.mark.parametrize("status", [b"c", b"X", b"\0"])
def test_a_transaction_that_was_not_finished_is_refused(status):
    data = LOG + logs.transaction(len(LOG), logs.tid(9), status=status)
    assert f"at byte {len(LOG)}: its status" in refusal(data)


def test_bytes_that_stand_there_twice_are_refused():
    """Their data records say that they were written for another place."""
    for begin in ENDS[:-1]:
        assert "data that were written for another place" in refusal(LOG + LOG[begin:])


def test_a_flipped_bit_in_a_length_is_refused():
    for begin, end in zip([4, *ENDS], ENDS, strict=False):
        for offset in (*range(begin + 8, begin + 16), *range(end - 8, end)):
            for bit in range(8):
                data = bytearray(LOG)
                data[offset] ^= 1 << bit
                refusal(bytes(data))


# data records


@pytest.mark.parametrize("size", SIZES)
def test_records_are_those_of_the_log(tmp_path, size):
    site = Site(tmp_path)
    for number in range(3):
        site.commit({"key": number}, {"blob": b"%d" % number})
    site.undo(site.commit({"key": 9}))
    with TransactionLog(site.filestorage) as log:
        expected = [
            record for transaction in log.transactions() for record in records_of(log, transaction)
        ]
    found: list[DataRecord] = []
    data = site.filestorage.read_bytes()
    assert streamed(Framing(on_record=found.append), data, size) == data
    assert found == expected
    assert any(record.backpointer for record in found)


def test_records_of_an_undone_transaction_do_not_count():
    data = logs.log([b"one"])
    data += logs.transaction(len(data), logs.tid(2), [b"two"], status=b"u")
    data += logs.transaction(len(data), logs.tid(3), [b"three"])
    found: list[DataRecord] = []
    streamed(Framing(on_record=found.append), data)
    assert [record.tid for record in found] == [logs.tid(1), logs.tid(3)]


@pytest.mark.parametrize("size", [1, 1000])
def test_records_that_do_not_fit_are_refused_when_they_are_looked_at(size):
    serial = logs.tid(1)
    for records in (
        logs.record(5, serial),
        logs.record(4, serial)[:-1],
        logs.record(4, serial) + b"more",
        logs.record(4, serial)[:32] + b"\0\1" + logs.record(4, serial)[34:],
    ):
        data = b"FS30" + logs.framed(serial, records)
        assert streamed(Framing(), data, size) == data
        assert "no data record fits there" in refusal(data, size, on_record=id)


def test_memory_does_not_grow_with_a_transaction():
    data = logs.log([b"x" * 20_000_000])
    pieces = [data[begin : begin + 100_000] for begin in range(0, len(data), 100_000)]
    framing = Framing(on_record=id)
    tracemalloc.start()
    try:
        for piece in pieces:
            framing.feed(piece)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert framing.end == len(data)
    assert peak < 100_000
