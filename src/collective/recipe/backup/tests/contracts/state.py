"""What every opened restore point must do.  Subclass it and give a ``kept`` fixture.

Each test reads what lies there and leaves it as it was, so the backups are made once for all.
"""

from __future__ import annotations

import gc
import hashlib
import os
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from collective.recipe.backup.blobs.digesting import checksum_of, same_time
from collective.recipe.backup.blobs.layout import MARKER, Kind, blob_of, order, walk
from collective.recipe.backup.errors import BackupError, IntegrityError
from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage.log import MAGIC_SIZE
from collective.recipe.backup.filestorage.manyplaces import places_between
from collective.recipe.backup.filestorage.storedlog import StoredLog
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.model import BlobId, Oid
from collective.recipe.backup.progress import Silent, ignore
from collective.recipe.backup.restorepoints import Choice, choose
from collective.recipe.backup.states import State
from collective.recipe.backup.tests.faults.harness import FaultyFiles
from collective.recipe.backup.tests.logs import each_of
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.times import LAST_TID, ZERO_TID, Tid


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What the site was once: SHA-256 of its filestorage and of each blob by its path."""

    when: datetime | Tid
    log: str | None  # None: it is not backed up
    blobs: Mapping[str, str] | None  # None: they are not backed up


@dataclass(frozen=True, kw_only=True)
class Kept(ABC):
    """Backups that nobody changes, and what they are of.  A subclass knows how they lie."""

    operated: Operated
    moments: tuple[Moment, ...]
    telltale: bool = True  # every damaged byte that is read can be told
    is_all_read: bool = True  # a state reads every byte of each piece that it needs

    def choice(self, when: datetime | Tid | None) -> Choice:
        return choose(self.operated.points(), when)

    @contextmanager
    def opened(self, when: datetime | Tid | None) -> Iterator[State]:
        """Open the state at *when*; the destination is gone by then."""
        destination = self.operated.destination()
        choice = choose(destination.restore_points(), when)
        gone = weakref.ref(destination)
        state = destination.open(choice)
        del destination
        assert gone is not None
        with state:
            yield state

    @abstractmethod
    def snapshot(self) -> object:
        """Return all that a look at them can tell."""

    @abstractmethod
    def copied(self, directory: Path) -> Kept:
        """Return the same with the site, in *directory*."""

    @abstractmethod
    def pieces(self) -> Sequence[str]:
        """Return the names of all that can be damaged by itself."""

    @abstractmethod
    def has_data(self, piece: str) -> bool:
        """Tell whether some of what was backed up is in it."""

    @abstractmethod
    def is_needed(self, piece: str, stamp: str) -> bool:
        """Tell whether the restore point *stamp* needs it."""

    @abstractmethod
    def damaged(self, piece: str, damage: str) -> AbstractContextManager[bool]:
        """Damage it inside the body; tell whether that changes anything."""

    @abstractmethod
    def is_named(self, piece: str, error: BackupError, choice: Choice) -> bool:
        """Tell whether *error*, met in the state of *choice*, says that it is damaged."""


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def all_of(log: StoredLog, begin: int = 0) -> bytes:
    return b"".join(bytes(piece) for piece in log.pieces(begin, ignore))


def blobs_in(state: State) -> dict[str, str]:
    """Return the SHA-256 of each blob, listed and opened."""
    assert state.blobs is not None
    found = {}
    for file in state.blobs.listed():
        if (blob := blob_of(file.path)) is not None:
            with state.blobs.open(blob) as opened:
                found[file.path] = sha(opened.read())
    return found


def everything(state: State) -> tuple[str | None, dict[str, str] | None]:
    """Read all that a state holds, in every way; return what it was."""
    log = None if state.log is None else sha(all_of(state.log))
    return log, None if state.blobs is None else blobs_in(state)


def offsets(log: StoredLog) -> list[int]:
    """Return the places from which to read: ends, boundaries, and what is beside them."""
    blocks = [block.offset for block in log.blocks()]
    marks = {0, MAGIC_SIZE, log.size // 2, log.size, *blocks}
    near = {mark + more for mark in marks for more in (-1, 0, 1)}
    return sorted(each for each in near if 0 <= each <= log.size)


def open_descriptors() -> list[str]:
    """Return what this process has open."""
    gc.collect()
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        except FileNotFoundError:
            continue  # that of the listing
    return sorted(found)


class StateContract:
    """A state is exactly what was, is read in any order, and changes nothing."""

    @pytest.fixture(autouse=True)
    def unchanged(self, kept: Kept) -> Iterator[None]:
        """See to it that not one change comes to the disk; damage is done to a copy."""
        before, descriptors = kept.snapshot(), open_descriptors()
        yield
        assert kept.snapshot() == before
        assert open_descriptors() == descriptors

    def test_each_moment_is_what_the_site_was(self, kept: Kept) -> None:
        for moment in kept.moments:
            with kept.opened(moment.when) as state:
                assert everything(state) == (moment.log, moment.blobs), moment.when

    def test_the_log_ends_where_its_last_transaction_does(self, kept: Kept, tmp_path: Path) -> None:
        for number, moment in enumerate(kept.moments):
            with kept.opened(moment.when) as state:
                if (log := state.log) is None:
                    continue
                before = log.end()
                size = log.size
                data = all_of(log)
                copy = tmp_path / str(number)
                copy.write_bytes(data)
                with TransactionLog(copy) as live:
                    end = live.end()
                for found in (before, log.end()):
                    assert (found.offset, found.tid, found.begin) == (end[0], end[1], end[2])
                assert size == log.size == end.offset == len(data)
                assert state.tid is None or end.tid is None or state.tid >= end.tid
            with kept.opened(moment.when) as state:  # nobody asked for the end before
                assert state.log is not None
                assert all_of(state.log) == data
                assert state.log.end()[:3] == end[:3]

    def test_the_log_is_read_from_any_place_on(self, kept: Kept) -> None:
        for moment in kept.moments:
            with kept.opened(moment.when) as state:
                if (log := state.log) is None:
                    continue
                data = all_of(log)
                for begin in offsets(log):
                    pieces = [bytes(piece) for piece in log.pieces(begin, ignore)]
                    assert b"".join(pieces) == data[begin:], begin
                    assert all(pieces)
                assert list(log.pieces(log.size + 7, ignore)) == []

    def test_the_log_is_read_at_any_place_in_any_order(self, kept: Kept) -> None:
        for moment in kept.moments:
            with kept.opened(moment.when) as state:
                if (log := state.log) is None:
                    continue
                ends = log.size
                first = log.read_at(0, ends)
                assert sha(first) == moment.log
                assert all_of(log) == first == all_of(log)
                for begin in reversed(offsets(log)):
                    assert log.read_at(begin, 5000) == first[begin : begin + 5000]
                    assert log.read(begin, ends - begin) == first[begin:]
                assert log.read_at(ends, 10) == log.read_at(ends + 10, 10) == b""
                with pytest.raises(IntegrityError):
                    log.read(ends - 1, 2)

    def test_transactions_are_walked_and_found_in_it(self, kept: Kept, tmp_path: Path) -> None:
        for number, moment in enumerate(kept.moments):
            with kept.opened(moment.when) as state:
                if (log := state.log) is None:
                    continue
                copy = tmp_path / str(number)
                log.copy_to(copy, Files(), ignore)
                assert sha(copy.read_bytes()) == moment.log
                with TransactionLog(copy) as live:
                    transactions = list(live.transactions())
                    assert list(log.transactions()) == transactions
                    for each in transactions:
                        assert log.before(each.end) == each
                        assert log.cut(each.tid)[:3] == live.cut(each.tid)[:3]

    def test_digests_say_what_its_blocks_must_be(self, kept: Kept) -> None:
        for moment in kept.moments:
            with kept.opened(moment.when) as state:
                if (log := state.log) is None:
                    continue
                data, end = all_of(log), 0
                for block in log.blocks():
                    assert block.offset == end
                    end += block.size
                    if end <= len(data):
                        assert log.digest_of(data[block.offset : end]) == block.digest

    def test_a_log_says_in_which_files_its_ranges_stand(self, kept: Kept) -> None:
        for moment in kept.moments[::2]:
            with kept.opened(moment.when) as state:
                if (log := state.log) is None:
                    continue
                data, end = all_of(log), 0
                while end < log.size:
                    found = log.range_at(end)
                    assert found.begin == end == log.range_at(found.end - 1).begin
                    end = found.end
                    if found.path is not None:
                        stored = found.path.read_bytes()[found.place :][: end - found.begin]
                        assert log.digest_of(stored) == found.digest
                        assert data[found.begin : end] == stored[: len(data) - found.begin]

    def test_a_log_tells_the_place_of_each_record(self, kept: Kept, tmp_path: Path) -> None:
        for number, moment in enumerate(kept.moments[::2]):
            with kept.opened(moment.when) as state:
                if (log := state.log) is None:
                    continue
                copy = tmp_path / str(number)
                copy.write_bytes(all_of(log))
                with TransactionLog(copy) as live:
                    expected = each_of(places_between(live, MAGIC_SIZE, live.size))
                assert each_of(log.places(MAGIC_SIZE)) == expected
                [*_others, last] = log.transactions()
                assert each_of(log.places(last.begin)) == [
                    (oid, place) for oid, place in expected if place > last.begin
                ]

    def test_a_blob_is_a_file_of_its_own_or_says_that_it_is_none(self, kept: Kept) -> None:
        for moment in kept.moments:
            with kept.opened(moment.when) as state:
                for path, digest in (moment.blobs or {}).items():
                    assert state.blobs is not None
                    if (blob := blob_of(path)) is not None:
                        file = state.blobs.file_of(blob)
                        assert file is None or sha(file.read_bytes()) == digest

    def test_the_size_of_each_blob_is_told_or_nothing(self, kept: Kept) -> None:
        """In any order, and for a blob of a later moment or of no moment nothing."""
        for moment in kept.moments:
            with kept.opened(moment.when) as state:
                if state.blobs is None:
                    continue
                listed = {blob_of(file.path): file.size for file in state.blobs.listed()}
                strangers = [BlobId(Oid(b"\x7f" * 8), tid) for tid in (ZERO_TID, LAST_TID)]
                blobs = [*strangers, *sorted(self._blobs_of(kept)), *sorted(self._blobs_of(kept))]
                blobs = blobs[::-1]
                found = list(state.blobs.sizes(blobs))
                if any(size is not None for size in found):
                    assert found == [listed.get(blob) for blob in blobs]
                else:
                    # an archive tells nothing, and where there is no blob there is nothing to tell
                    assert state.blobs.layout is None or not listed.keys() & set(blobs)

    def test_the_end_of_a_log_is_found_in_a_file_that_goes_on(
        self, kept: Kept, tmp_path: Path
    ) -> None:
        for number, moment in enumerate(kept.moments):
            choice = kept.choice(moment.when)
            with kept.operated.destination().open(Choice(point=choice.point)) as state:
                if state.log is None:
                    continue
                live = tmp_path / str(number)
                live.write_bytes(all_of(state.log))
            with TransactionLog(live) as there, kept.opened(moment.when) as state:
                assert state.log is not None
                found = state.log.end_within(there, there.size)
                assert found is not None
                assert found[:3] == state.log.end()[:3]
            with TransactionLog(live) as there, kept.opened(moment.when) as state:
                assert state.log is not None
                size = state.log.size
                assert state.log.end_within(there, size - 1) is None
                if (found := state.log.end_within(there, size)) is not None:
                    assert found.offset == size

    def test_blobs_are_listed_as_they_are_copied(self, kept: Kept, tmp_path: Path) -> None:
        for number, moment in enumerate(kept.moments):
            target = tmp_path / str(number)
            with kept.opened(moment.when) as state:
                if state.blobs is None:
                    continue
                listed = list(state.blobs.listed())
                state.blobs.copy_into(target, files=Files(), progress=Silent())
                assert list(state.blobs.listed()) == listed
                has_digests = state.blobs.has_digests
            copied = [each for each in walk(target) if each.path != MARKER]
            assert [(f.path, f.kind) for f in listed if f.path != MARKER] == copied
            assert [f.path for f in listed] == sorted((f.path for f in listed), key=order)
            for file in listed:
                path = target / file.path
                if file.path == MARKER or file.kind is Kind.DIRECTORY:
                    continue
                assert file.size == path.lstat().st_size
                if file.kind is not Kind.LINK:
                    assert same_time(file.time, path.lstat().st_mtime_ns)
                if has_digests or file.digest is not None:
                    assert file.digest == checksum_of(target, file.path).digest

    def test_all_blobs_are_read_at_once_or_some_of_them(self, kept: Kept) -> None:
        for moment in kept.moments:
            with kept.opened(moment.when) as state:
                if state.blobs is None or moment.blobs is None:
                    continue
                listed = {file.path: file._replace(digest=None) for file in state.blobs.listed()}
                found, contents = {}, {}
                for each in state.blobs.contents(lambda _path: True):
                    path = each.file.path
                    found[path] = each.file._replace(digest=None)
                    contents[path] = b"".join(map(bytes, each.pieces))
                    if each.same:
                        contents[path] = contents[each.same]
                    assert len(contents[path]) == each.file.size
                assert found == listed
                for path, expected in moment.blobs.items():
                    assert sha(contents[path]) == expected
                some = set(list(listed)[1::2])
                few = state.blobs.contents(some.__contains__)
                assert {each.file.path for each in few} == some

    def test_a_blob_that_is_not_in_it_is_none(self, kept: Kept) -> None:
        for moment in kept.moments:
            with kept.opened(moment.when) as state:
                if state.blobs is None:
                    continue
                there = {blob_of(file.path) for file in state.blobs.listed()}
                later = self._blobs_of(kept) - there
                strangers = [BlobId(Oid(b"\x7f" * 8), tid) for tid in (ZERO_TID, LAST_TID)]
                for blob in (*strangers, *sorted(later)):
                    with pytest.raises(KeyError):
                        state.blobs.open(blob)
                    with suppress(KeyError):
                        assert state.blobs.file_of(blob) is None

    def _blobs_of(self, kept: Kept) -> set[BlobId]:
        paths = (path for moment in kept.moments for path in moment.blobs or ())
        return {blob for path in paths if (blob := blob_of(path)) is not None}

    def test_some_of_the_blobs_are_copied_alone(self, kept: Kept, tmp_path: Path) -> None:
        for number, moment in enumerate(kept.moments):
            with kept.opened(moment.when) as state:
                if state.blobs is None or moment.blobs is None:
                    continue
                for step in (2, 3, 10_000):
                    some = list(state.blobs.listed())[1::step]
                    target = tmp_path / f"{number}-{step}"
                    state.blobs.copy_into(target, wanted=some, files=Files(), progress=Silent())
                    names = [file.path for file in some if file.kind is not Kind.DIRECTORY]
                    found = [e.path for e in walk(target) if e.kind is not Kind.DIRECTORY]
                    assert found == names
                    for path in names:
                        if path in moment.blobs:
                            assert sha((target / path).read_bytes()) == moment.blobs[path]

    def test_a_blob_need_not_be_read_to_its_end(self, kept: Kept) -> None:
        with kept.opened(None) as state:
            if state.blobs is None:
                return
            blobs = [blob for file in state.blobs.listed() if (blob := blob_of(file.path))]
            for blob in blobs:
                with state.blobs.open(blob) as opened:
                    begin = opened.read(1)
                with state.blobs.open(blob) as opened:
                    pieces = list(iter(lambda: opened.read(3), b""))
                    assert opened.read() == b""
                assert b"".join(pieces)[:1] == begin

    def test_several_are_open_at_once(self, kept: Kept) -> None:
        first, last = kept.moments[0], kept.moments[-1]
        with kept.opened(first.when) as one, kept.opened(last.when) as other:
            if one.log is not None and other.log is not None:
                pieces, others = one.log.pieces(0, ignore), other.log.pieces(0, ignore)
                data = bytes(next(pieces))
                more = bytes(next(others))
                assert sha(data + b"".join(map(bytes, pieces))) == first.log
                assert sha(more + b"".join(map(bytes, others))) == last.log
            assert everything(one) == (first.log, first.blobs)
            assert everything(other) == (last.log, last.blobs)

    def test_reading_a_state_writes_nothing(self, kept: Kept) -> None:
        files = FaultyFiles()
        [destination] = kept.operated.run("list", files=files).destinations()
        for moment in kept.moments:
            with destination.open(choose(destination.restore_points(), moment.when)) as state:
                everything(state)
        assert files.changes == []

    @pytest.mark.parametrize("damage", ["flip", "zeros", "cut", "gone"])
    def test_damage_is_named_and_never_served_as_good(
        self, kept: Kept, damage: str, tmp_path: Path
    ) -> None:
        kept = kept.copied(tmp_path / "site")
        newest, earlier = kept.moments[-1], kept.moments[len(kept.moments) // 2]
        # chosen while all is whole: what is chosen of damaged backups is not for a state to say
        choices = [(moment, kept.choice(moment.when)) for moment in (newest, earlier)]
        stamp = choices[0][1].point.stamp
        silent, needed = [], 0
        for piece in kept.pieces():
            is_needed = kept.is_needed(piece, stamp)
            with kept.damaged(piece, damage) as is_other:
                told = [self._tells(kept, moment, choice, piece) for moment, choice in choices]
            if is_other and is_needed and kept.has_data(piece):
                needed += 1
                if not told[0]:
                    silent.append(piece)
        assert needed
        if kept.telltale and (kept.is_all_read or damage in ("zeros", "gone")):
            assert silent == []

    def _tells(self, kept: Kept, moment: Moment, choice: Choice, piece: str) -> bool:
        """Read one moment; tell whether it said that *piece* is damaged."""
        destination = kept.operated.destination()
        try:
            with destination.open(choice) as state:
                found = everything(state)
        except BackupError as error:
            if isinstance(error, IntegrityError) and kept.has_data(piece):
                there = {each.stamp for each in destination.restore_points() if each.restorable}
                concerned = destination.problem_of(error).points
                # what a quick look shows is no news
                assert choice.point.stamp in concerned or choice.point.stamp not in there, piece
            return kept.is_named(piece, error, choice)
        if kept.telltale:
            assert found == (moment.log, moment.blobs), piece
        return False
