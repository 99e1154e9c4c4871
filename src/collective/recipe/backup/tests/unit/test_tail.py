"""The bytes after the last complete transaction: a tail may be left out, damage may not."""

from __future__ import annotations

import random
import struct
from contextlib import suppress
from pathlib import Path

import pytest

from collective.recipe.backup import times
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.filestorage.logcut import LogEnd
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.tests import logs
from collective.recipe.backup.tests.samples import Site

CONTENTS = [[b"one", b"two"], [b"three"], [], [b"four" * 10], [b"five", b"six", b"x" * 90]]
LOG = logs.log(*CONTENTS)
ENDS = logs.ends(LOG)
BEGINS = [4, *ENDS[:-1]]
EMPTY = BEGINS[CONTENTS.index([])]


@pytest.fixture
def end_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write bytes as a filestorage and return where it ends."""
    monkeypatch.setattr(times, "pause", lambda _seconds: None)

    def end_of(data: bytes) -> LogEnd:
        path = tmp_path / "Data.fs"
        path.unlink(missing_ok=True)  # truncating it instead would wait for the disk
        path.write_bytes(data)
        with TransactionLog(path) as log:
            return log.end()

    return end_of


def changed(offset: int, new: bytes, data: bytes = LOG) -> bytes:
    return data[:offset] + new + data[offset + len(new) :]


def refusal(end_of, data: bytes) -> IntegrityError:
    with pytest.raises(IntegrityError) as caught:
        end_of(data)
    assert caught.value.where.endswith("Data.fs")
    assert "fsrecover" in caught.value.hint
    return caught.value


def test_a_log_cut_short_at_any_byte_ends_before_what_is_not_whole(end_of):
    for size in range(4, len(LOG) + 1):
        whole = max([4, *(end for end in ENDS if end <= size)])
        found = end_of(LOG[:size])
        assert (size, found.offset) == (size, whole)
        assert (size, found.tail) == (size, "" if size == whole else "cut short")


def test_a_real_log_cut_short_at_any_byte_of_its_last_transactions(end_of, tmp_path):
    site = Site(tmp_path)
    for number in range(3):
        site.commit({"key": number}, {"blob": b"%d" % number})
    data = site.filestorage.read_bytes()
    ends = logs.ends(data)
    for size in range(ends[-3], len(data)):
        assert end_of(data[:size]).offset == max(end for end in ends if end <= size)


@pytest.mark.parametrize("zeros", [1, 7, 8, 22, 23, 31, 4096, 3_000_000])
def test_zeros_that_a_power_cut_left_are_a_tail(end_of, zeros):
    assert end_of(LOG + bytes(zeros)) == LogEnd(
        len(LOG), logs.tid(len(ENDS)), BEGINS[-1], "cut short"
    )


def test_zeros_in_place_of_what_had_not_reached_the_disk_are_a_tail(end_of):
    for written in range(1, len(LOG) - ENDS[-2] - 7):
        data = LOG[: ENDS[-2] + written].ljust(len(LOG), b"\0")
        assert (written, end_of(data).offset) == (written, ENDS[-2])


def test_a_header_that_a_power_cut_lost_is_a_tail(end_of):
    assert end_of(changed(ENDS[-2], bytes(23))).offset == ENDS[-2]


def test_what_is_no_transaction_at_all_is_a_tail(end_of):
    garbage = random.Random(1).randbytes(3_000_000)
    assert end_of(LOG + garbage).tail == "cut short"


def test_a_tail_that_holds_a_filestorage_as_its_data_is_a_tail(end_of):
    data = logs.log(*[[b"data"] * 3] * 30, [LOG * 20])
    assert end_of(data[:-20]).offset == logs.ends(data)[-2]


@pytest.mark.parametrize("begin", BEGINS[:-1])
@pytest.mark.parametrize(
    ("at", "new"),
    [
        (0, bytes(8)),
        (0, b"\xff" * 8),
        (8, bytes(8)),
        (8, b"\xff" * 8),
        (8, struct.pack(">Q", 20)),
        (8, struct.pack(">Q", len(LOG) // 2)),
        (8, struct.pack(">Q", len(LOG) * 2)),
        (16, b"c"),
        (16, b"\0"),
        (16, b"X"),
        (17, b"\xff\xff"),
        (0, bytes(23)),
        (-8, bytes(8)),
        (-8, struct.pack(">Q", 31)),
    ],
)
def test_damage_within_the_log_hides_nothing(end_of, begin, at, new):
    if (begin, at, new) == (EMPTY, 0, b"\xff" * 8):
        assert end_of(changed(begin, new)).offset == len(LOG)  # nothing says that it is wrong
        return
    offset = begin + at if at >= 0 else ENDS[BEGINS.index(begin)] + at
    error = refusal(end_of, changed(offset, new))
    # a tid that is too great makes the next one seem too small
    assert str(error).split("at byte ")[1].split()[0] in {
        str(begin),
        str(ENDS[BEGINS.index(begin)]),
    }


@pytest.mark.parametrize("cut", [1, 5, 100, 170])
def test_damage_within_a_log_that_is_cut_short_hides_nothing(end_of, cut):
    data = logs.log(*CONTENTS, *CONTENTS)
    offset = logs.ends(data)[2] + 8
    refusal(end_of, changed(offset, b"\xff" * 8, data)[:-cut])


def test_damage_within_a_log_hides_nothing_while_a_transaction_is_being_written(end_of):
    data = changed(ENDS[0] + 8, b"\xff" * 8)
    data += logs.transaction(len(data), logs.tid(99), [b"more"], status=b"c")
    for size in range(len(LOG), len(data) + 1):
        refusal(end_of, data[:size])


@pytest.mark.parametrize(
    ("at", "new"),
    [(0, bytes(8)), (8, bytes(7) + b"\x40"), (8, b"\0\1"), (16, b"X"), (-8, bytes(7) + b"\x40")],
)
def test_a_last_transaction_that_was_written_to_its_end_is_damaged_not_cut_short(end_of, at, new):
    refusal(end_of, changed(ENDS[-2] + at if at >= 0 else len(LOG) + at, new))


def test_no_single_flipped_bit_makes_the_log_shorter(end_of):
    for offset in range(4, len(LOG)):
        for bit in range(8):
            data = changed(offset, bytes([LOG[offset] ^ 1 << bit]))
            with suppress(IntegrityError):
                assert (offset, bit, end_of(data).offset) == (offset, bit, len(LOG))


def test_lost_bytes_hide_nothing(end_of):
    for size in (1, 31, 40):
        refusal(end_of, LOG[: ENDS[1] - 10] + LOG[ENDS[1] - 10 + size :])


def test_bytes_that_stand_there_twice_hide_nothing(end_of):
    # as a repozo that died between data file and ledger used to restore them
    for begin in BEGINS[1:]:
        refusal(end_of, LOG + LOG[begin:])
    refusal(end_of, LOG[: ENDS[2]] + LOG[ENDS[0] - 20 :])


def test_damage_that_is_gone_at_a_second_look_was_a_writer_at_work(tmp_path, monkeypatch):
    path = tmp_path / "Data.fs"
    path.write_bytes(changed(ENDS[1] + 8, bytes(8)))
    monkeypatch.setattr(times, "pause", lambda _seconds: path.write_bytes(LOG))
    with TransactionLog(path) as log:
        assert log.end().offset == len(LOG)
