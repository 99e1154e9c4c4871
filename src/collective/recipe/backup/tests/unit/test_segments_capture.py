"""What a capture stores: what is new, once; after a pack a selection, and no record again."""

from __future__ import annotations

import os
import random
import struct
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from unittest.mock import patch

import pytest
import ZODB.FileStorage
from ZODB.serialize import referencesf

from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.filestorage.segments import (
    ChunkKind,
    LogState,
    capture,
    has_grown,
    newstate,
    read_log_state,
    strips,
)
from collective.recipe.backup.filestorage.segments.spans import Rule, Span
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.tests import logs
from collective.recipe.backup.tests.samples import FOUNDED, Site
from collective.recipe.backup.tests.segmented import Captures, small_sizes

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _small() -> Iterator[None]:
    with small_sizes():
        yield


@pytest.fixture
def captures() -> Captures:
    return Captures()


def day(number: int) -> datetime:
    return FOUNDED + number * DAY


def grow(site: Site, first: int, last: int, *, objects: int = 12) -> None:
    """Commit each day from *first* to *last*: three of *objects*, two kilobytes."""
    chance = random.Random(first)
    with site.opened():
        for number in range(first, last + 1):
            names = [str(chance.randrange(objects)) for _value in range(3)]
            values = {name: chance.randbytes(300).hex() for name in names}
            site.commit(values, at=day(number))


def spans(captures: Captures) -> list[Span]:
    assert captures.last
    return list(captures.last.all_spans(captures.chunks))


def segments(captures: Captures) -> set[bytes]:
    """Return the names of the segments that the last state needs."""
    assert captures.last
    return {
        name for kind, name in captures.last.needed(captures.chunks) if kind is ChunkKind.SEGMENT
    }


def check(captures: Captures) -> None:
    """Compare all states with the files that they were made of."""
    for number, (_root, data) in enumerate(captures.taken):
        assert b"".join(captures.rebuilt(number).stream()) == data


# a log that grows


def test_a_filestorage_without_transactions_has_no_spans(captures, tmp_path):
    path = tmp_path / "Data.fs"
    path.write_bytes(b"FS21")
    captured = captures.capture(path)
    assert captured.state.size == 4
    assert captured.state.span_count == captures.stored() == 0
    check(captures)


def test_a_state_says_what_the_filestorage_is(captures, site):
    grow(site, 1, 30)
    site.pack(day(20))
    state = captures.capture(site.filestorage).state
    with TransactionLog(site.filestorage) as log:
        end, found = log.end(), list(log.transactions())
    assert (state.size, state.last, state.packed) == (end.offset, end.tid, end.packed)
    assert (state.first, state.transactions) == (found[0].tid, len(found))
    assert state.magic == b"FS30"


def test_the_first_capture_stores_the_log_in_segments(captures, site):
    grow(site, 1, 60)
    captured = captures.capture(site.filestorage)
    assert (captured.kept, captured.selected) == (0, 0)
    assert captured.added == site.size - 4
    assert captures.chunks.stored[ChunkKind.SEGMENT] == site.size - 4
    assert {span.rule for span in spans(captures)} == {Rule.VERBATIM}
    check(captures)


@pytest.mark.parametrize("same_file", [True, False])
def test_nothing_is_stored_if_nothing_has_changed(captures, site, same_file):
    grow(site, 1, 60)
    captures.capture(site.filestorage)
    captures.stored()
    captured = captures.capture(site.filestorage, same_file=same_file)
    assert captures.stored() == captured.added == 0
    assert captures.taken[0] == captures.taken[1]


@pytest.mark.parametrize("same_file", [True, False])
def test_what_was_committed_since_is_stored_and_little_else(captures, site, same_file):
    grow(site, 1, 60)
    captures.capture(site.filestorage)
    before = site.size
    captures.stored()
    grow(site, 61, 62)
    captured = captures.capture(site.filestorage, same_file=same_file)
    # the short segments behind the last cut come once more, with what follows them
    new = site.size - before
    assert new <= captured.added <= captures.stored() <= new + 4096 + 500
    check(captures)


def test_a_capture_of_what_is_the_same_file_reads_only_its_begin_and_end(captures, tmp_path):
    path = tmp_path / "Data.fs"
    path.write_bytes(logs.log(*[[b"x" * 20_000]] * 400))
    captures.capture(path)
    with path.open("ab") as file:
        file.write(logs.transaction(file.tell(), logs.tid(401)))
    reads = []
    with TransactionLog(path) as log:
        end = log.end()

        def read_at(offset, size, read=log.read_at):
            reads.append(size)
            return read(offset, size)

        log.read_at = read_at
        assert has_grown(captures.last, captures.chunks, log, end.offset)
        captured = capture(log, end, captures.target, captures.last, grown=True)
    assert captured.added > 0
    assert sum(reads) < end.offset / 3


def test_a_hundred_captures_store_no_byte_more_than_a_few_times(captures, site):
    grow(site, 1, 40)
    captures.capture(site.filestorage)
    before = site.size
    captures.stored()
    with small_sizes(1 << 16):
        for number in range(41, 141):
            grow(site, number, number)
            captures.capture(site.filestorage, same_file=True)
            assert captures.last
            behind = [
                span for span in spans(captures) if span.segment.base >= captures.last.settled
            ]
            assert len(behind) <= 12
        assert captures.chunks.stored[ChunkKind.SEGMENT] < 6 * (site.size - before)
        check(captures)


def test_segments_do_not_depend_on_when_captures_were_made(site):
    often, once = Captures(), Captures()
    for number in range(1, 60):
        grow(site, number, number)
        often.capture(site.filestorage, same_file=number % 2 > 0)
    once.capture(site.filestorage)
    assert often.last
    assert once.last
    assert often.last.settled == once.last.settled
    settled = [span for span in spans(once) if span.segment.base < once.last.settled]
    assert len(settled) > 5
    assert spans(often)[: len(settled)] == settled


def test_another_host_without_a_cache_stores_no_segment_again(captures, site):
    grow(site, 1, 60)
    captures.capture(site.filestorage)
    captures.stored()
    captures.last = None
    captures.capture(site.filestorage)
    assert captures.stored() == 0


def test_after_a_pack_record_indexes_are_got_some_at_a_time_and_each_once(captures, site):
    grow(site, 1, 120)
    captures.capture(site.filestorage)
    names = {name for span in spans(captures) for name in span.segment.index}
    assert len(names) > 20
    site.pack(day(110))
    together = captures.chunks.together
    together.clear()
    captures.chunks.got.clear()
    captures.capture(site.filestorage)
    got = captures.chunks.got[ChunkKind.INDEX]
    assert 20 < sum(together) <= got <= len(names)
    assert got - sum(together) + len(together) < got / 4
    check(captures)


def test_a_record_index_that_is_lost_is_told_when_it_is_needed(captures, site):
    grow(site, 1, 120)
    captures.capture(site.filestorage)
    [*_some, name] = spans(captures)[10].segment.index
    site.pack(day(110))
    del captures.chunks.held[name]
    with pytest.raises(IntegrityError, match=f"record index {name.hex()} is missing"):
        captures.capture(site.filestorage)


def test_a_copy_of_a_packed_site_stores_nothing_given_the_state_of_the_site(captures, site):
    grow(site, 1, 60)
    captures.capture(site.filestorage)
    site.pack(day(30))
    captures.capture(site.filestorage)
    copy = site.directory / "copy.fs"
    copy.write_bytes(site.filestorage.read_bytes())
    captures.stored()
    captured = captures.capture(copy)
    assert captures.stored() == captured.added == captured.selected == 0


def test_a_transaction_that_is_larger_than_a_segment_is_one_of_several_pieces(captures, site):
    grow(site, 1, 5)
    site.commit({str(key): os.urandom(2000).hex() for key in range(10)}, at=day(6))
    grow(site, 7, 12)
    captures.capture(site.filestorage)
    [large] = [span for span in spans(captures) if len(span.segment.pieces) > 1]
    assert large.transactions == 1
    assert {piece.size for piece in large.segment.pieces[:-1]} == {4096}
    assert len(large.digests) == len(large.segment.pieces)
    site.pack(day(9))
    captured = captures.capture(site.filestorage)
    assert captured.added == 0
    check(captures)


# a pack


@pytest.mark.parametrize("packed", [1, 30, 59, 60], ids=lambda number: f"to day {number}")
def test_a_pack_stores_no_record_again(captures, site, packed):
    grow(site, 1, 60)
    captures.capture(site.filestorage)
    before = segments(captures)
    site.pack(day(packed))
    captures.stored()
    captured = captures.capture(site.filestorage)
    assert (captured.kept, captured.added) == (0, 0)
    assert captured.selected == site.size - 4
    assert captures.chunks.stored[ChunkKind.SEGMENT] == 0
    assert segments(captures) <= before
    assert not any(span.corrections for span in spans(captures))
    check(captures)


def test_ten_packs_later_a_state_still_selects_from_the_segments_of_the_log(captures, site):
    grow(site, 1, 20)
    captures.capture(site.filestorage)
    for number in range(21, 71, 5):
        grow(site, number, number + 4)
        added = captures.capture(site.filestorage, same_file=True).added
        # a day or the like, and what lay behind the last cut
        assert added < 15_000
        site.pack(day(number - 3))
        captured = captures.capture(site.filestorage)
        assert captured.added == 0
        assert not any(span.corrections for span in spans(captures))
    assert {span.rule for span in spans(captures)} >= {Rule.PACKED, Rule.MOVED}
    check(captures)


def test_what_follows_a_pack_is_cut_into_new_segments(captures, site):
    grow(site, 1, 40)
    captures.capture(site.filestorage)
    site.pack(day(30))
    before = site.size
    grow(site, 41, 50)
    captured = captures.capture(site.filestorage)
    assert captured.added == site.size - before
    grow(site, 51, 52)
    captured = captures.capture(site.filestorage, same_file=True)
    assert captured.kept >= before - 4
    check(captures)


def test_an_undone_record_that_a_pack_keeps_is_not_stored_again(captures, site):
    grow(site, 1, 10)
    changed = site.commit({"0": "changed", "1": "changed"}, at=day(11))
    site.undo(changed, at=day(12))
    captures.capture(site.filestorage)
    site.pack(day(13))
    captured = captures.capture(site.filestorage)
    assert captured.added == 0
    assert sum(len(span.loans) for span in spans(captures)) >= 2
    # and once more, now that the record that was borrowed from is gone
    grow(site, 14, 15)
    captures.capture(site.filestorage)
    site.pack(day(16))
    assert captures.capture(site.filestorage).added == 0
    check(captures)


def test_undo_across_the_pack_time_keeps_its_pointer(captures, site):
    grow(site, 1, 10)
    changed = site.commit({"0": "changed"}, at=day(11))
    site.undo(changed, at=day(20))
    captures.capture(site.filestorage)
    site.pack(day(15))
    captured = captures.capture(site.filestorage)
    assert captured.added == 0
    assert any(span.pointers for span in spans(captures) if span.rule is Rule.MOVED)
    check(captures)


def test_a_pack_without_garbage_collection_is_a_selection_as_well(captures, site):
    grow(site, 1, 40)
    captures.capture(site.filestorage)
    storage = ZODB.FileStorage.FileStorage(str(site.filestorage))
    storage.pack(day(30).timestamp(), referencesf, gc=False)
    storage.close()
    assert captures.capture(site.filestorage).added == 0
    check(captures)


def test_a_copy_by_zodbconvert_is_a_selection_as_well(captures, site):
    grow(site, 1, 40)
    captures.capture(site.filestorage)
    site.pack(day(20))
    captures.capture(site.filestorage)
    source = ZODB.FileStorage.FileStorage(str(site.filestorage), read_only=True)
    target = ZODB.FileStorage.FileStorage(str(site.directory / "copy.fs"))
    target.copyTransactionsFrom(source)
    source.close()
    target.close()
    captured = captures.capture(site.directory / "copy.fs")
    assert captured.added == 0
    check(captures)


def test_a_restore_to_an_earlier_moment_keeps_what_was_before(captures, site):
    grow(site, 1, 60)
    captures.capture(site.filestorage)
    with TransactionLog(site.filestorage) as log:
        end = log.cut(day(50)).offset
    os.truncate(site.filestorage, end)
    site.filestorage.with_name("Data.fs.index").unlink()
    grow(site, 61, 65)
    captured = captures.capture(site.filestorage, same_file=True)
    assert captured.kept + captured.selected == end - 4
    assert captured.kept > end - 4 - 5000
    assert not any(span.pointers or span.corrections for span in spans(captures))
    check(captures)


def test_the_log_from_before_a_pack_is_found_again_when_it_is_restored(captures, site):
    grow(site, 1, 60)
    captures.capture(site.filestorage)
    before = site.filestorage.read_bytes()
    site.pack(day(55))
    captures.capture(site.filestorage)
    captures.stored()
    site.filestorage.write_bytes(before)
    captures.capture(site.filestorage)
    assert captures.chunks.stored[ChunkKind.SEGMENT] == 0
    check(captures)


# what no rule gives


def test_other_data_under_known_ids_are_stored(captures, site):
    """As after a conversion of pickles, which keeps oid and tid."""
    grow(site, 1, 60)
    captures.capture(site.filestorage)
    data = bytearray(site.filestorage.read_bytes())
    with TransactionLog(site.filestorage) as log:
        changed = list(log.transactions())[30]
    data[changed.end - 20] ^= 1
    site.filestorage.write_bytes(data)
    captured = captures.capture(site.filestorage)
    assert 0 < captured.added < 10_000
    assert captured.kept > 0
    check(captures)


def test_a_field_that_no_rule_gives_is_corrected(captures, site):
    grow(site, 1, 60)
    captures.capture(site.filestorage)
    site.pack(day(30))
    with TransactionLog(site.filestorage) as log:
        packed, *_others, last = log.transactions()
    data = bytearray(site.filestorage.read_bytes())
    data[packed.records + 16 : packed.records + 24] = struct.pack(">Q", 4)
    data[last.records + 16 : last.records + 24] = struct.pack(">Q", packed.records)
    data[last.begin + 16] = ord("u")
    site.filestorage.write_bytes(data)
    captured = captures.capture(site.filestorage)
    check(captures)
    data[last.begin + 16] = ord(" ")
    site.filestorage.write_bytes(data)
    captures.last = read_log_state(captures.taken[0][0])
    captured = captures.capture(site.filestorage)
    assert captured.added == 0
    assert sum(len(span.corrections) for span in spans(captures)) == 2
    check(captures)


def test_a_span_that_would_need_many_corrections_is_stored_anew(captures, tmp_path):
    path = tmp_path / "Data.fs"
    path.write_bytes(logs.log(*[[b"x"] * 40] * 30))
    data = b"FS30"
    for number in range(1, 31):
        records = [
            logs.record(len(data), logs.tid(number), oid=oid, data=b"x", previous=4)
            for oid in range(1, 41)
        ]
        data += logs.framed(logs.tid(number), b"".join(records))
    with small_sizes(1 << 16):
        captures.capture(path)
        path.write_bytes(data)
        captured = captures.capture(path)
        assert captured.added == len(data) - 4
        check(captures)


@pytest.mark.parametrize("status", [b" ", b"p"])
def test_short_islands_between_new_transactions_are_stored_with_them(captures, tmp_path, status):
    path = tmp_path / "Data.fs"
    path.write_bytes(logs.log(*[[b"old"]] * 400, status=status))
    data = b"FS30"
    for number in range(1, 401):
        contents = [b"new"] if number % 2 else [b"old"]
        data += logs.transaction(len(data), logs.tid(number), contents, status=status)
    with small_sizes(1 << 16):
        captures.capture(path)
        path.write_bytes(data)
        captured = captures.capture(path)
        assert captured.added == len(data) - 4
        assert len(spans(captures)) < 5
        check(captures)


def test_what_an_undo_of_old_took_back_is_kept_as_it_is(captures, tmp_path):
    path = tmp_path / "Data.fs"
    data = logs.log([b"a" * 100])
    data += logs.transaction(len(data), logs.tid(2), [b"b" * 100], status=b"u")
    data += logs.transaction(len(data), logs.tid(3), [b"c" * 100])
    path.write_bytes(data)
    captures.capture(path)
    shorter = b"FS30" + logs.transaction(4, logs.tid(2), [b"b" * 100], status=b"u")
    shorter += logs.transaction(len(shorter), logs.tid(3), [b"c" * 100])
    path.write_bytes(shorter)
    captures.capture(path)
    check(captures)


@pytest.mark.parametrize("odd", ["undone", "other tid", "not later", "previous follows"])
def test_a_pack_that_leaves_out_what_no_rule_is_for_is_rebuilt_right(captures, tmp_path, odd):
    def transaction(data: bytes, number: int) -> bytes:
        return logs.transaction(len(data), logs.tid(number), [b"%d" % number * 50] * 3)

    def opaque(data: bytes) -> bytes:
        number = 3 if odd == "not later" else 5
        serial = logs.tid(9) if odd == "other tid" else logs.tid(number)
        previous = len(data) + 200 if odd == "previous follows" else 0
        records = logs.record(len(data), serial, data=b"odd" * 20, previous=previous)
        status = b"u" if odd == "undone" else b" "
        return logs.framed(logs.tid(number), records, status=status)

    path = tmp_path / "Data.fs"
    data = b"FS30"
    for number in range(1, 9):
        data += opaque(data) if number == 5 else transaction(data, number)
    path.write_bytes(data)
    captures.capture(path)
    for left_out in ({5}, {1, 4, 5}, {5, 8}):
        packed = b"FS30"
        for number in set(range(1, 9)) - left_out:
            contents = [b"%d" % number * 50] * (1 + number % 2)
            packed += logs.transaction(len(packed), logs.tid(number), contents, status=b"p")
        path.write_bytes(packed)
        captured = captures.capture(path)
        assert captured.added == 0
        captures.last = read_log_state(captures.taken[0][0])
    check(captures)


def test_records_with_tids_of_other_transactions_are_kept_as_they_are(captures, tmp_path):
    path = tmp_path / "Data.fs"
    odd = [logs.record(4, logs.tid(7), oid=1), logs.record(4, logs.tid(9), oid=2)]
    data = b"FS30" + logs.framed(logs.tid(9), b"".join(odd))
    data += logs.transaction(len(data), logs.tid(10), [b"c" * 100])
    path.write_bytes(data)
    captures.capture(path)
    path.write_bytes(b"FS21" + data[4:])
    captured = captures.capture(path)
    assert captured.state.magic == b"FS21"
    check(captures)


def test_transactions_without_records_do_not_survive_a_pack_nor_a_capture_of_one(
    captures, tmp_path
):
    path = tmp_path / "Data.fs"
    path.write_bytes(logs.log([b"a" * 100], [], [b"c" * 100], []))
    captures.capture(path)
    packed = b"FS30" + logs.transaction(4, logs.tid(1), [b"a" * 100], status=b"p")
    packed += logs.transaction(len(packed), logs.tid(3), [b"c" * 100], status=b"p")
    path.write_bytes(packed)
    assert captures.capture(path).added == 0
    # no pack writes this one
    odd = packed + logs.transaction(len(packed), logs.tid(4), [], status=b"p")
    path.write_bytes(odd)
    captures.capture(path)
    check(captures)


def test_a_damaged_log_is_not_captured(captures, tmp_path):
    path = tmp_path / "Data.fs"
    data = bytearray(logs.log([b"a"], [b"b"]))
    # the length of the first record's data
    data[4 + 23 + 7 + 41] ^= 64
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match="no data record that fits there"):
        captures.capture(path)


# room and memory


def test_segments_of_which_little_is_used_are_stored_anew_when_that_is_asked_for(captures, site):
    grow(site, 1, 200, objects=60)
    captures.capture(site.filestorage)
    site.pack(day(201))
    sparse = captures.capture(site.filestorage).state
    captures.target = replace(captures.target, least_share=0.5)
    dense = captures.capture(site.filestorage, same_file=True)
    assert dense.added > 0
    assert raw(dense.state, captures) < 2 * site.size < raw(sparse, captures)
    assert captures.capture(site.filestorage, same_file=True).added == 0
    check(captures)


def test_spans_that_take_much_room_are_in_smaller_pages_or_stored_anew(captures, site):
    grow(site, 1, 60, objects=20)
    with patch.object(newstate, "HEAVIEST", 1):
        state = captures.capture(site.filestorage).state
    assert {page.spans for page in state.pages} == {1}
    site.pack(day(50))
    with patch.object(strips, "HEAVIEST", 0):
        captures.capture(site.filestorage)
    assert not any(span.chosen or span.loans or span.pointers for span in spans(captures))
    check(captures)


def raw(state: LogState, captures: Captures) -> int:
    """Return the bytes of all segments that *state* needs."""
    found = {span.segment.pieces: span.segment.size for span in state.all_spans(captures.chunks)}
    return sum(found.values())


def test_memory_does_not_grow_with_the_log(tmp_path):
    peaks = []
    for count in (1_000, 8_000):
        path = tmp_path / f"{count}.fs"
        with path.open("wb") as file:
            file.write(b"FS30")
            for number in range(1, count + 1):
                file.write(logs.transaction(file.tell(), logs.tid(number), [b"x" * 200] * 3))
        captures = Captures()
        with small_sizes(1 << 16), TransactionLog(path) as log:
            end = log.end()
            put = {"put": lambda kind, data: bytes(32), "put_linked": lambda kind, data: bytes(32)}
            vars(captures.chunks).update(put)
            tracemalloc.start()
            capture(log, end, captures.target)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < peaks[0] + 500_000
