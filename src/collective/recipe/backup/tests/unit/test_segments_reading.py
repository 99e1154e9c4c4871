"""The log of a state: each byte of it can be read, and none that is wrong is ever returned."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.filestorage.blobrecords import blobs
from collective.recipe.backup.filestorage.records import records_of
from collective.recipe.backup.filestorage.segments import (
    ChunkKind,
    LogState,
    RebuiltLog,
    read_log_state,
)
from collective.recipe.backup.filestorage.segments.pieces import SegmentPieces
from collective.recipe.backup.filestorage.segments.rebuilding import rebuilt
from collective.recipe.backup.filestorage.segments.spans import Rule, Span
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.tests import logs, segmentreader
from collective.recipe.backup.tests.samples import FOUNDED, Site
from collective.recipe.backup.tests.segmented import Captures, MemoryChunks, encoded, small_sizes
from collective.recipe.backup.times import LAST_TID, ZERO_TID

DAY = timedelta(days=1)


@pytest.fixture(scope="module", autouse=True)
def _small() -> Iterator[None]:
    with small_sizes():
        yield


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Return a site with blobs, an undo, a pack and something after it."""
    site = Site(tmp_path_factory.mktemp("site"))
    with site.opened():
        for number in range(1, 40):
            values = {str(key): f"{number} " * 150 for key in range(number % 4 + 1)}
            site.commit(values, {"blob": b"%d" % number}, at=day(number))
        site.commit({str(key): os.urandom(1500).hex() for key in range(6)}, at=day(40))
        site.undo(site.commit({"0": "wrong"}, at=day(41)), at=day(42))
        for number in range(43, 50):
            site.commit({"1": "x" * number}, at=day(number))
    return site


@pytest.fixture(scope="module")
def captures(site: Site) -> Captures:
    """Return the state before a pack, and the one after it."""
    captures = Captures()
    captures.capture(site.filestorage)
    site.pack(day(45))
    site.commit({"new": 1}, at=day(50))
    captures.capture(site.filestorage)
    assert {span.rule for span in spans(captures)} == set(Rule)
    return captures


def day(number: int) -> datetime:
    return FOUNDED + number * DAY


def spans(captures: Captures) -> list[Span]:
    assert captures.last
    return list(captures.last.all_spans(captures.chunks))


@settings(derandomize=True, max_examples=150)
@given(st.data())
def test_any_range_is_read_as_it_was(captures, draw):
    number = draw.draw(st.integers(0, 1))
    data = captures.taken[number][1]
    log = captures.rebuilt(number)
    for _read in range(draw.draw(st.integers(1, 4))):
        begin = draw.draw(st.integers(0, len(data) + 10))
        end = draw.draw(st.integers(begin, len(data) + 20))
        assert b"".join(log.stream(begin, end)) == data[begin:end]
        assert log.read_at(begin, end - begin) == data[begin:end]


def test_what_is_beyond_the_end_is_refused(captures):
    log = captures.rebuilt()
    with pytest.raises(IntegrityError, match="ends at byte"):
        log.read(log.size - 1, 2)


@pytest.mark.parametrize("number", [0, 1])
def test_transactions_records_and_blobs_are_those_of_the_log(captures, tmp_path, number):
    path = tmp_path / "Data.fs"
    path.write_bytes(captures.taken[number][1])
    found = []
    with TransactionLog(path) as live:
        for log in (live, captures.rebuilt(number)):
            transactions = list(log.transactions())
            records = [record for each in transactions for record in records_of(log, each)]
            found.append((transactions, records, list(blobs(log, 4, log.size)), log.end()))
    assert found[0] == found[1]
    assert len(found[0][2]) > 0


@pytest.mark.parametrize("number", [0, 1])
def test_a_state_can_be_cut_at_each_of_its_moments(captures, tmp_path, number):
    path = tmp_path / "Data.fs"
    path.write_bytes(captures.taken[number][1])
    with TransactionLog(path) as live:
        for tid in [ZERO_TID, *(each.tid for each in live.transactions()), LAST_TID]:
            expected = live.cut(tid)
            assert captures.rebuilt(number).cut(tid) == expected
        for number_of_day in range(52):
            assert captures.rebuilt(number).cut(day(number_of_day)) == live.cut(day(number_of_day))


def test_a_cut_gets_only_the_segments_that_it_needs(tmp_path):
    path = tmp_path / "Data.fs"
    path.write_bytes(logs.log(*[[b"x" * 50_000]] * 300))
    captures = Captures()
    with small_sizes(1 << 20):
        captures.capture(path)
        log = captures.rebuilt()
        assert log.cut(logs.tid(200)).tid == logs.tid(200)
        assert captures.chunks.got[ChunkKind.SEGMENT] <= 3


@pytest.mark.parametrize(("number", "times"), [(0, 1), (1, 2)])
def test_segments_are_got_once_or_twice_if_a_log_is_read_from_begin_to_end(captures, number, times):
    state = read_log_state(captures.taken[number][0])
    found = state.all_spans(captures.chunks)
    names = {piece.name for span in found for piece in span.segment.pieces}
    log = captures.rebuilt(number)
    captures.chunks.got.clear()
    for _part in log.stream():
        pass
    assert len(names) <= captures.chunks.got[ChunkKind.SEGMENT] <= times * len(names)


def test_of_a_large_transaction_only_the_pieces_that_are_asked_for_are_got(tmp_path):
    path = tmp_path / "Data.fs"
    data = logs.log([os.urandom(200_000)])
    path.write_bytes(data)
    captures = Captures()
    captures.capture(path)
    log = captures.rebuilt()
    assert log.read(150_000, 100) == data[150_000:150_100]
    assert captures.chunks.got[ChunkKind.SEGMENT] == 1


# a reader of its own


@pytest.mark.parametrize("number", [0, 1])
def test_a_reader_that_was_written_from_the_page_alone_reads_states(captures, number):
    root, data = captures.taken[number]
    read = segmentreader.filestorage(encoded(root), captures.chunks.held.__getitem__, block=4096)
    assert read == data


# damage


def damaged(state: LogState, chunks: MemoryChunks, kind: ChunkKind) -> Iterator[MemoryChunks]:
    """Yield *chunks* with a bit of one chunk flipped, for each one of a *kind*."""
    for each, name in dict.fromkeys(state.needed(chunks)):
        if each is kind:
            other = MemoryChunks()
            data = bytearray(chunks.held[name])
            data[len(data) // 2] ^= 4
            other.held = {**chunks.held, name: bytes(data)}
            yield other


def read_what_can_be_read(log: RebuiltLog, right: bytes) -> int:
    """Compare each kilobyte with what is right; return how many cannot be read."""
    refused = 0
    for offset in range(0, len(right), 1000):
        try:
            part = log.read_at(offset, 1000)
        except IntegrityError:
            refused += 1
        else:
            assert part == right[offset : offset + 1000]
    return refused


@pytest.mark.parametrize("number", [0, 1])
def test_a_damaged_segment_is_never_returned_and_the_rest_can_be_read(captures, number):
    root, right = captures.taken[number]
    state = read_log_state(root)
    refused = [
        read_what_can_be_read(RebuiltLog(state, chunks, Path("it")), right)
        for chunks in damaged(state, captures.chunks, ChunkKind.SEGMENT)
    ]
    # of a packed segment, the bit may be in a record that the state does not have
    assert sum(map(bool, refused)) > len(refused) / 2
    assert all(count <= len(right) / 1000 / 2 for count in refused)
    if number == 0:
        assert all(refused)


def test_a_missing_segment_is_named(captures):
    state = read_log_state(captures.taken[0][0])
    span = next(state.all_spans(captures.chunks))
    missing = MemoryChunks()
    missing.held = dict(captures.chunks.held)
    del missing.held[span.segment.pieces[0].name]
    with pytest.raises(IntegrityError, match=span.segment.pieces[0].name.hex()):
        RebuiltLog(state, missing, Path("it")).read(4, 10)


def test_a_state_needs_no_record_index_to_be_read(captures):
    root, right = captures.taken[1]
    bare = MemoryChunks()
    bare.held = {
        name: data for name, data in captures.chunks.held.items() if data[:8] != b"CRBINDEX"
    }
    assert b"".join(RebuiltLog(read_log_state(root), bare, Path("it")).stream()) == right


def changed(span: Span) -> Iterator[Span]:
    """Yield spans that differ from *span* in one field, and so cannot be right."""
    yield replace(span, digests=(bytes(32), *span.digests[1:]))
    yield replace(span, size=span.size + 1)
    yield replace(span, size=span.size - 1)
    yield replace(span, begin=span.begin + 1)
    yield replace(span, end=span.end - 1)
    yield replace(span, corrections=((0, b"\xff" * 8),))
    if span.chosen:
        yield replace(span, chosen=b"")
        yield replace(span, chosen=span.chosen[:-1])
        yield replace(span, chosen=bytes([span.chosen[0] ^ 1]) + span.chosen[1:])
    if span.loans:
        yield replace(span, loans=span.loans[1:])
    if span.pointers:
        yield replace(span, pointers=span.pointers[8:])
    if span.rule is Rule.MOVED:
        yield replace(span, rule=Rule.VERBATIM)
    if span.rule is Rule.VERBATIM:
        yield replace(span, rule=Rule.PACKED)


def test_a_span_that_is_not_right_is_refused(captures):
    pieces, offset, count = SegmentPieces(captures.chunks), 4, 0
    for span in spans(captures):
        for wrong in changed(span):
            with pytest.raises(IntegrityError):
                list(rebuilt(wrong, offset, pieces))
            count += 1
        offset += span.size
    assert count > 60


def test_pieces_that_are_read_ahead_are_those_that_were_asked_for():
    """Those of lenders come between, and some of those that were expected are not wanted."""
    chunks = MemoryChunks()
    names = [chunks.put(ChunkKind.SEGMENT, b"%d" % each) for each in range(20)]
    pieces = SegmentPieces(chunks)
    lost = names[5]
    del chunks.held[lost]
    with pieces.coming([*names[3:12], names[4], *names[13:]]):
        for number in (3, 4, 0, 6, 2, 6, 7, 4, 14, 13, 19, 12):
            assert pieces.get(names[number]) == b"%d" % number
        with pytest.raises(IntegrityError):
            pieces.get(lost)
    assert pieces.get(names[1]) == b"1"


def test_a_piece_that_is_expected_and_cannot_be_read_is_told_when_it_is_asked_for():
    chunks = MemoryChunks()
    names = [chunks.put(ChunkKind.SEGMENT, b"%d" % each) for each in range(4)]
    del chunks.held[names[2]]
    pieces = SegmentPieces(chunks)
    with pieces.coming(names):
        assert pieces.get(names[1]) == b"1"
        with pytest.raises(IntegrityError):
            pieces.get(names[2])
        assert pieces.get(names[3]) == b"3"
