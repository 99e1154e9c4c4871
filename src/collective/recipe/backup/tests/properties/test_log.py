"""Whatever a log holds and however it comes, its transactions are found, none is hidden."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st
from ZODB.blob import is_blob_record

from collective.recipe.backup import times
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.filestorage.blobrecords import is_blob
from collective.recipe.backup.filestorage.framing import Framing
from collective.recipe.backup.filestorage.logcut import LogEnd
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.tests import logs

contents = st.lists(st.lists(st.binary(min_size=1, max_size=60), max_size=4), max_size=8)


def end_of(data: bytes) -> LogEnd:
    with tempfile.TemporaryDirectory() as directory, patch.object(times, "pause"):
        path = Path(directory, "Data.fs")
        path.write_bytes(data)
        with TransactionLog(path) as log:
            return log.end()


@given(contents, st.data())
def test_a_log_cut_anywhere_ends_with_its_last_whole_transaction(contents, draw):
    data = logs.log(*contents)
    size = draw.draw(st.integers(4, len(data)))
    assert end_of(data[:size]).offset == max([4, *(e for e in logs.ends(data) if e <= size)])


@given(contents, st.data())
def test_changed_bytes_hide_no_later_transaction(contents, draw):
    data = logs.log(*contents, [b"data"], [b"data"])
    *_, begin, end = [4, *logs.ends(data)]
    offset = draw.draw(st.integers(4, begin - 1))
    new = draw.draw(st.binary(min_size=1, max_size=min(40, begin - offset)))
    with suppress(IntegrityError):
        assert end_of(data[:offset] + new + data[offset + len(new) :]).offset == end


@given(contents, st.binary(max_size=100))
def test_what_follows_a_log_takes_nothing_away_from_it(contents, more):
    data = logs.log(*contents)
    with suppress(IntegrityError):
        assert end_of(data + more).offset == len(data)


@given(contents, st.data())
def test_a_stream_in_any_cut_is_passed_on_up_to_the_moment(contents, draw):
    data = logs.log(*contents)
    until = draw.draw(st.integers(0, len(contents)))
    cuts = draw.draw(st.lists(st.integers(0, len(data))))
    framing = Framing(until=logs.tid(until), on_record=id)
    bounds = [0, *sorted(cuts), len(data)]
    passed = b"".join(
        bytes(framing.feed(data[begin:end])) for begin, end in zip(bounds, bounds[1:], strict=False)
    )
    framing.finish()
    assert passed == data[: [4, *logs.ends(data)][until]]
    assert (framing.count, framing.end) == (until, len(passed))


OPCODES = st.binary(max_size=3) | st.sampled_from(
    [b"cZODB.blob\nBlob\n", b"\x80\x02", b"\x80\x03", b"X\x09\0\0\0ZODB.blob", b"X\x04\0\0\0Blob"]
    + [b"q\x01", b"r\1\0\0\0", b"p1\n", b".", b"N", b"0", b"(", b")", b"h\x01", b"t", b"\x85"]
)


@given(st.lists(OPCODES, max_size=8).map(b"".join))
def test_only_what_zodb_calls_a_blob_record_is_one(data):
    assert is_blob(data) <= bool(is_blob_record(data))
