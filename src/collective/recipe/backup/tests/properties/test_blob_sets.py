"""Blob sets against a dict: whatever a site and its backups went through, it comes back."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from collective.recipe.backup.blobs import blobset, checksums, sets
from collective.recipe.backup.blobs.checksums import Checksum, Checksums, parse, side_by_side
from collective.recipe.backup.blobs.layout import Layout, blob_of, order, walk
from collective.recipe.backup.blobs.setcheck import verify_contents
from collective.recipe.backup.blobs.setstaging import stage
from collective.recipe.backup.model import BlobId
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.tests.blobtrees import blob_id, put, tid
from collective.recipe.backup.tests.faults.harness import Hasty
from collective.recipe.backup.tests.lengths import examples
from collective.recipe.backup.times import LAST_TID

names = st.binary(min_size=1, max_size=6).filter(
    lambda name: not set(name) & {0, 47} and name not in (b".", b"..")
)
paths = st.lists(names, min_size=1, max_size=3).map(lambda parts: os.fsdecode(b"/".join(parts)))
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
lines = st.builds(Checksum, paths, st.none() | st.integers(0, 2**63), digests)


@given(lines)
def test_a_line_is_read_as_it_was_written(line):
    assert parse(line.line()) == line


@settings(max_examples=examples(50))
@given(st.lists(lines), st.lists(st.lists(lines, max_size=5), max_size=5), st.booleans())
def test_the_last_checksum_of_each_path_counts(first, additions, merged):
    expected = {line.path: line for line in first}
    with tempfile.TemporaryDirectory() as name:
        kept = Checksums(Path(name))
        with Hasty().writing(kept.path) as writer:
            checksums.write(sorted(expected.values(), key=lambda line: order(line.path)), writer)
        for addition in additions:
            kept.add(addition, Hasty())
            expected.update((line.path, line) for line in addition)
        if merged and kept.added.exists():
            kept.merge(Hasty())
        assert {line.path: line for line in kept} == expected
        assert [line.path for line in kept] == sorted(expected, key=order)


@given(st.dictionaries(paths, st.integers()), st.lists(lines, unique_by=lambda line: line.path))
def test_side_by_side_is_an_outer_join(things, known):
    by_path = {line.path: line for line in known}
    found = list(
        side_by_side(
            sorted(things.items(), key=lambda item: order(item[0])),
            sorted(known, key=lambda line: order(line.path)),
        )
    )
    every = sorted({*things, *by_path}, key=order)
    assert found == [(things.get(path), by_path.get(path)) for path in every]


@settings(max_examples=examples(50))
@given(st.sets(paths, max_size=12))
def test_a_walk_finds_every_file_in_its_order(paths):
    with tempfile.TemporaryDirectory() as name:
        root, made = Path(name), []
        for path in paths:
            place = root / path
            if not any(parent.is_file() for parent in place.parents) and not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                place.touch()
                made.append(path)
        found = [entry.path for entry in walk(root) if (root / entry.path).is_file()]
        at_the_root = {"tmp", ".removed", "check_size.lock", "lost+found"}
        expected = [path for path in made if path.split("/")[0] not in at_the_root]
        assert found == sorted(expected, key=order)


class BlobStorage(RuleBasedStateMachine):
    """Commits, packs, chains and incremental backups of a blobstorage, and crashes between.

    ``live`` is what the source has, ``log`` every blob since the chain began, ``kept`` what
    the newest restore point must give back.
    """

    @initialize(layout=st.sampled_from(Layout))
    def begin_a_site(self, layout):
        self.place = Path(tempfile.mkdtemp())
        self.source = self.place / "blobstorage"
        self.source.mkdir()
        (self.source / ".layout").write_text(layout.value)
        self.layout = layout
        self.tid = 0
        self.chains = 0
        self.live: dict[BlobId, bytes] = {}
        self.new: list[BlobId] = []
        self.kept: dict[BlobId, bytes] | None = None
        self.until = 0

    def teardown(self):
        shutil.rmtree(self.place)

    @rule(oids=st.sets(st.integers(0, 600), min_size=1, max_size=4))
    def commit(self, oids):
        self.tid += 1
        for oid in oids:
            blob = blob_id(oid, self.tid)
            put(self.source, blob, layout=self.layout)
            self.live[blob] = str(blob).encode("ascii")
            self.new.append(blob)

    @rule()
    def pack(self):
        """Only the newest revision of each object stays."""
        newest = {blob.oid: blob for blob in sorted(self.live, key=lambda blob: blob.tid)}
        for blob in set(self.live) - set(newest.values()):
            path = self.source / self.layout.path(blob)
            path.unlink()
            del self.live[blob]

    @rule()
    def full_backup(self):
        self.chains += 1
        found = blobset.find_sets(self.place, "blobstorage")
        sets.begin(
            self.source,
            self.place,
            f"2026-01-01-00-{self.chains // 60:02}-{self.chains % 60:02}",
            until=tid(self.tid),
            previous=found[-1] if found else None,
            files=Hasty(),
            progress=Silent(),
        )
        self.kept, self.new, self.until = dict(self.live), [], self.tid

    @precondition(lambda self: self.kept is not None)
    @rule(part=st.integers(0, 3), died=st.booleans())
    def incremental_backup(self, part, died):
        """The run before may have died when it had added only some."""
        newest = blobset.find_sets(self.place, "blobstorage")[-1]
        if died:
            sets.extend(self.source, newest, self.new[:part], files=Hasty(), progress=Silent())
            self.kept.update(
                (blob, self.live[blob]) for blob in self.new[:part] if blob in self.live
            )
        copied = sets.extend(self.source, newest, self.new, files=Hasty(), progress=Silent())
        self.kept.update((blob, self.live[blob]) for blob in self.new if blob in self.live)
        assert set(copied.missing) == set(self.new) - set(self.kept)
        assert copied.lost == len(copied.missing)
        self.new, self.until = [], self.tid

    @precondition(lambda self: self.kept is not None)
    @rule(over=st.booleans(), back=st.integers(0, 3))
    def restore(self, over, back):
        newest = blobset.find_sets(self.place, "blobstorage")[-1]
        until = max(self.until - back, 0)
        target = self.place / "restored"
        stage(
            newest,
            target,
            live=self.source if over else None,
            until=tid(until),
            files=Hasty(),
            progress=Silent(),
        )
        found = {
            blob_of(entry.path): (target / entry.path).read_bytes()
            for entry in walk(target)
            if entry.blob
        }
        assert found == {blob: data for blob, data in self.kept.items() if blob.tid <= tid(until)}
        shutil.rmtree(target)

    @invariant()
    def every_set_is_sound(self):
        for found in blobset.find_sets(self.place, "blobstorage"):
            assert list(verify_contents(found, until=LAST_TID, progress=Silent())) == []


TestBlobStorage = BlobStorage.TestCase
TestBlobStorage.settings = settings(max_examples=examples(25), stateful_step_count=20)
