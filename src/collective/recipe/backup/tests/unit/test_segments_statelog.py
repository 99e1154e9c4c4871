"""The log that a state holds up to a moment: what a restore reads."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice, takewhile
from pathlib import Path
from typing import NamedTuple

import pytest

from collective.recipe.backup.errors import IntegrityError, NoRestorePoint
from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage.format import MAGIC_SIZE, RECORD
from collective.recipe.backup.filestorage.manyplaces import places_between
from collective.recipe.backup.filestorage.records import RecordReader
from collective.recipe.backup.filestorage.segments import (
    ChunkKind,
    StateLog,
    StateMoment,
    read_log_state,
)
from collective.recipe.backup.filestorage.segments.pieces import SegmentLog, SegmentPieces
from collective.recipe.backup.filestorage.segments.rebuilding import rebuilt
from collective.recipe.backup.filestorage.segments.segment import Extent
from collective.recipe.backup.filestorage.segments.spans import Rule
from collective.recipe.backup.filestorage.storedlog import StoredLog
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.progress import Silent, ignore
from collective.recipe.backup.restoring.stagedlog import intact
from collective.recipe.backup.tests.logs import each_of
from collective.recipe.backup.tests.samples import FOUNDED, Site
from collective.recipe.backup.tests.segmented import DAY, Captures, small_sizes
from collective.recipe.backup.times import LAST_TID, ZERO_TID, Tid


@pytest.fixture(scope="module", autouse=True)
def _small() -> Iterator[None]:
    with small_sizes():
        yield


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> Captures:
    """Return the state of a site before a pack, and the one after it."""
    site = Site(tmp_path_factory.mktemp("site"))
    captures = Captures()
    with site.opened():
        for number in range(1, 40):
            values = {str(key): f"{number} " * 150 for key in range(number % 4 + 1)}
            site.commit(values, at=FOUNDED + number * DAY)
        site.undo(site.commit({"0": "wrong"}, at=FOUNDED + 41 * DAY), at=FOUNDED + 42 * DAY)
    captures.capture(site.filestorage)
    site.pack(FOUNDED + 25 * DAY)
    site.commit({"new": 1}, at=FOUNDED + 50 * DAY)
    captures.capture(site.filestorage)
    return captures


class Case(NamedTuple):
    """A moment of a state, and the bytes that the filestorage had then."""

    number: int
    until: Tid | None
    right: bytes


@pytest.fixture(scope="module")
def cases(captures: Captures, tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    path = tmp_path_factory.mktemp("cases") / "Data.fs"
    found = []
    for number, (root, data) in enumerate(captures.taken):
        path.write_bytes(data)
        packed = read_log_state(root).packed
        with TransactionLog(path) as live:
            tids = [each.tid for each in live.transactions() if each.tid >= packed]
            found += [Case(number, tid, data[: live.cut(tid).offset]) for tid in tids]
        found += [Case(number, LAST_TID, data), Case(number, None, data)]
    assert len(found) > 50
    return found


def opened(captures: Captures, case: Case) -> StateLog:
    state = read_log_state(captures.taken[case.number][0])
    moment = StateMoment(state=state, path=Path("it"), mode=0o640, until=case.until)
    return StateLog(moment, captures.chunks)


def all_of(log: StoredLog, begin: int = 0) -> bytes:
    pieces = [bytes(piece) for piece in log.pieces(begin, ignore)]
    assert all(pieces)
    return b"".join(pieces)


def test_each_moment_is_what_the_filestorage_was(captures, cases, tmp_path):
    for number, case in enumerate(cases):
        target = tmp_path / str(number)
        opened(captures, case).copy_to(target, Files(), ignore)
        assert target.read_bytes() == case.right
        with TransactionLog(target) as live:
            log = opened(captures, case)
            assert log.size == live.size
            assert log.end()[:3] == live.end()[:3]
            assert list(log.transactions()) == list(live.transactions())
            for each in live.transactions():
                assert log.before(each.end) == each
                assert log.cut(each.tid)[:3] == live.cut(each.tid)[:3]
                assert log.end(each.end)[:2] == live.end(each.end)[:2]


def test_the_log_of_a_state_is_read_from_any_place_on_and_at_any_place(captures, cases):
    for case in cases[::7]:
        log, right = opened(captures, case), case.right
        for begin in (0, 1, 4, 5, len(right) // 2, len(right) - 1, len(right), len(right) + 7):
            assert all_of(log, begin) == right[begin:]
            assert log.read_at(begin, 5000) == right[begin : begin + 5000]
        with pytest.raises(IntegrityError):
            log.read(len(right) - 1, 2)


def test_blocks_say_what_a_live_file_must_be(captures, cases, tmp_path):
    path = tmp_path / "live.fs"
    for case in (cases[0], cases[30], cases[-1]):
        whole = captures.taken[case.number][1]
        log, end = opened(captures, case), 0
        for block in log.blocks():
            assert block.offset == end
            end += block.size
            assert log.digest_of(whole[block.offset : end]) == block.digest
        assert end == len(whole)
        middle = bytearray(whole)
        middle[len(whole) // 2] ^= 1
        path.write_bytes(middle)
        captures.chunks.got.clear()
        with TransactionLog(path) as live:
            found = intact(live, log, Silent())
        assert whole[:found] == middle[:found]
        assert len(whole) // 2 - 8192 < found <= len(whole) // 2
        assert captures.chunks.got[ChunkKind.SEGMENT] == 0


def test_the_end_of_a_state_is_found_in_a_file_that_goes_on_and_nothing_stored_is_read(
    captures, cases, tmp_path
):
    path = tmp_path / "live.fs"
    for case in cases:
        path.write_bytes(captures.taken[case.number][1])
        captures.chunks.got.clear()
        with TransactionLog(path) as live:
            log = opened(captures, case)
            found = log.end_within(live, live.size)
            assert captures.chunks.got[ChunkKind.SEGMENT] == 0
            assert found is not None
            assert found[:3] == log.end()[:3]
            assert log.end_within(live, log.size - 1) is None
            assert log.end_within(live, 4) is None


def test_a_moment_that_a_pack_rewrote_is_refused(captures):
    packed = read_log_state(captures.taken[1][0]).packed
    before = Tid((int.from_bytes(packed, "big") - 1).to_bytes(8, "big"))
    with pytest.raises(NoRestorePoint, match="a pack rewrote"):
        opened(captures, Case(1, before, b""))
    assert opened(captures, Case(0, before, b"")).size > 4


def test_the_log_of_a_state_has_the_permissions_of_the_file_and_no_index(captures, cases):
    log = opened(captures, cases[0])
    assert log.mode == 0o640
    assert log.saved_index() is None


def test_record_indexes_tell_where_the_records_are(
    captures: Captures, cases: list[Case], tmp_path: Path
) -> None:
    """Those of a pack too, which left some out and put data in the place of backpointers."""
    for case in cases[::5]:
        log = opened(captures, case)
        (tmp_path / "Data.fs").write_bytes(case.right)
        with TransactionLog(tmp_path / "Data.fs") as right:
            expected = each_of(places_between(right, MAGIC_SIZE, len(case.right)))
        assert each_of(log.places(MAGIC_SIZE)) == expected
        later = [place for _oid, place in expected]
        for transaction in islice(log.transactions(), 0, None, 7):
            begin = transaction.begin
            assert [place for _oid, place in each_of(log.places(begin))] == [
                place for place in later if place > begin
            ]


def test_the_places_of_records_need_no_segment(captures: Captures) -> None:
    state = read_log_state(captures.taken[0][0])
    log = StateLog(StateMoment(state=state, path=Path("it"), mode=0o600), captures.chunks)
    captures.chunks.got.clear()
    assert len(each_of(log.places(MAGIC_SIZE))) == state.records
    assert captures.chunks.got[ChunkKind.INDEX] > 0
    assert captures.chunks.got[ChunkKind.SEGMENT] == 0


def test_where_a_record_index_is_gone_the_records_are_found_in_the_log(captures: Captures) -> None:
    for root, _data in captures.taken:
        state = read_log_state(root)
        moment = StateMoment(state=state, path=Path("it"), mode=0o600)
        expected = each_of(StateLog(moment, captures.chunks).places(MAGIC_SIZE))
        names = [name for span in state.all_spans(captures.chunks) for name in span.segment.index]
        for name in {names[0], names[len(names) // 2], names[-1]}:
            lost = captures.chunks.held.pop(name)
            try:
                assert each_of(StateLog(moment, captures.chunks).places(MAGIC_SIZE)) == expected
            finally:
                captures.chunks.held[name] = lost


@pytest.fixture(scope="module")
def packed_often(tmp_path_factory: pytest.TempPathFactory) -> Captures:
    """Return the states of a site that is packed again and again, with undo and changes between."""
    site = Site(tmp_path_factory.mktemp("often"))
    captures = Captures()
    number = 0
    for pack in range(4):
        with site.opened():
            for _ in range(25):
                number += 1
                values = {str(key): f"{number} " * 150 for key in range(number % 5 + 1)}
                site.commit({f"once {number}": "stays " * 100, **values}, at=FOUNDED + number * DAY)
            site.undo(
                site.commit({"0": "wrong"}, at=FOUNDED + (number + 0.3) * DAY),
                at=FOUNDED + (number + 0.6) * DAY,
            )
        captures.capture(site.filestorage)
        site.pack(FOUNDED + (number - 5 * (pack % 2)) * DAY)
        captures.capture(site.filestorage)
    return captures


def pieces_near(captures: Captures, number: int, live: Path, begin: int = 0) -> tuple[bytes, int]:
    """Return a state from *begin* on, with *live* on this machine, and how much was got."""
    state = read_log_state(captures.taken[number][0])
    log = StateLog(StateMoment(state=state, path=Path("it"), mode=0o600), captures.chunks)
    captures.chunks.got.clear()
    with TransactionLog(live) as near:
        data = b"".join(bytes(piece) for piece in log.pieces(begin, ignore, near))
    return data, captures.chunks.got[ChunkKind.SEGMENT]


def test_of_a_pack_only_those_segments_are_got_that_the_live_log_lacks(
    packed_often: Captures, tmp_path: Path
) -> None:
    live = tmp_path / "live.fs"
    for number, (_root, right) in enumerate(packed_often.taken[1:], 1):
        live.write_bytes(packed_often.taken[number - 1][1])
        data, got = pieces_near(packed_often, number, live)
        live.write_bytes(b"FS30")
        alone, all_got = pieces_near(packed_often, number, live)
        assert data == alone == right
        assert all_got > 10
        if number % 2:
            assert got == 0, "a pack adds nothing"
        else:
            assert got < 0.6 * all_got
        assert pieces_near(packed_often, number, live, 1000)[0] == right[1000:]


def test_a_live_log_that_lacks_most_is_not_looked_through_to_its_end(
    packed_often: Captures, tmp_path: Path
) -> None:
    """Its last pack has dropped what an earlier state needs: record indexes are got in vain."""
    live = tmp_path / "live.fs"
    live.write_bytes(packed_often.taken[7][1])
    data, _got = pieces_near(packed_often, 0, live)
    looked = packed_often.chunks.got[ChunkKind.INDEX]
    state = read_log_state(packed_often.taken[0][0])
    assert data == packed_often.taken[0][1]
    assert 8 < looked < len(list(state.all_spans(packed_often.chunks))) / 2


def test_whatever_the_live_log_has_the_right_bytes_come(
    packed_often: Captures, captures: Captures, tmp_path: Path
) -> None:
    before, right = packed_often.taken[2][1], packed_often.taken[3][1]
    damaged = bytearray(before)
    for at in range(5000, len(damaged), 9001):
        damaged[at] ^= 0xFF
    live = tmp_path / "live.fs"
    for near in (bytes(damaged), before[:-100], before[: len(before) // 2], captures.taken[0][1]):
        live.write_bytes(near)
        assert pieces_near(packed_often, 3, live)[0] == right


@pytest.mark.parametrize("forged", ["distances that lead before the log", "texts of a terabyte"])
def test_a_record_index_that_says_what_cannot_be_is_not_used(
    packed_often: Captures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forged: str
) -> None:
    """A writer with the key of a repository can make one that fits together, and lies."""
    held = packed_often.chunks.held
    for name, data in list(held.items()):
        if data.startswith(b"CRBINDEX"):
            lying = bytearray(data)
            transactions, records = struct.unpack_from(">IQ", data, 12)
            if forged.startswith("distances"):
                at = 24 + 49 * transactions + 16 * records
                lying[at : at + 8 * records] = (1 << 62).to_bytes(8, "big") * records
            else:
                for at in (24 + 8 * transactions, 24 + 17 * transactions):  # length, texts
                    (size,) = struct.unpack_from(">Q", data, at)
                    struct.pack_into(">Q", lying, at, size + (1 << 40))
            monkeypatch.setitem(held, name, bytes(lying))
    live = tmp_path / "live.fs"
    live.write_bytes(packed_often.taken[2][1])
    data, got = pieces_near(packed_often, 3, live)
    assert data == packed_often.taken[3][1]
    assert got > 10


def test_a_pointer_that_no_log_can_have_is_damage(packed_often: Captures) -> None:
    state = read_log_state(packed_often.taken[3][0])
    chunks = packed_often.chunks
    span = next(each for each in state.all_spans(chunks) if each.rule is Rule.MOVED)
    log = SegmentLog(span.segment, SegmentPieces(chunks))
    reader = RecordReader(log)
    data = next(
        place[3]
        for transaction in log.walk(span.segment.base + span.begin, ZERO_TID)
        for place in reader.places(transaction)
        if place[5]
    )
    at = data - RECORD.size + 16 - span.segment.base  # where its pointer stands

    class Forged(SegmentPieces):
        def extent(self, extent: Extent) -> bytes:
            found = bytearray(super().extent(extent))
            before = takewhile(lambda each: each.name != extent.name, span.segment.pieces)
            first = sum(each.size for each in before) + extent.offset
            for byte in range(at - first, at - first + 8):
                if 0 <= byte < len(found):
                    found[byte] = 0xFF
            return bytes(found)

    with pytest.raises(IntegrityError):
        list(rebuilt(span, 1 << 40, Forged(chunks)))
