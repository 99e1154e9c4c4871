"""Verify to the depth of records: what no checksum can tell, because it was written so."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from collective.recipe.backup.destinations import Depth
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.progress import Advance, Silent
from collective.recipe.backup.repozo import partreading
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.samples import Site


def problems(operated: Operated, **more) -> list[str]:
    return [str(each) for each in operated.destination().verify(Depth.RECORDS, **more)]


@pytest.fixture
def operated(site: Site) -> Operated:
    """A site with blobs, an undone change of one, and three restore points."""
    operated = Operated(site)
    site.commit({"a": "text" * 500}, {"b": b"first", "c": b"other"})
    operated.backup()
    tid = site.commit({"a": 2}, {"b": b"second"})
    operated.backup()
    site.undo(tid)
    site.commit({"d": list(range(1000))}, {"d": b"last"})
    operated.backup()
    return operated


def damage_a_record(site: Site, before: bytes, after: bytes) -> None:
    """Change the pickle of a record in the live site, where no checksum guards it."""
    data = site.filestorage.read_bytes()
    assert before in data and len(before) == len(after)
    site.filestorage.write_bytes(data.replace(before, after))


def test_a_whole_backup_has_no_problem_with_its_records(operated: Operated) -> None:
    assert problems(operated) == []


@pytest.mark.parametrize("size", [1, 7, 42, 50, 4096])
def test_records_may_be_cut_anywhere(
    operated: Operated, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(partreading, "PIECE", size)
    assert problems(operated) == []


def test_a_record_that_cannot_be_loaded_is_named(site: Site) -> None:
    site.commit({"a": "a text"})
    damage_a_record(site, b"X\x06\x00\x00\x00a text", b"X\xff\x00\x00\x00a text")
    operated = Operated(site)
    operated.backup()

    [problem] = problems(operated)

    assert ".fsz: the record of oid 0x" in problem
    assert "cut short" in problem
    assert list(operated.destination().verify(Depth.CHECKSUMS)) == []


def test_many_of_them_are_counted(site: Site) -> None:
    for number in range(150):
        site.commit({f"a{number}": "a text"})
    damage_a_record(site, b"X\x06\x00\x00\x00a text", b"X\xff\x00\x00\x00a text")
    operated = Operated(site)
    operated.backup()

    found = problems(operated)

    assert len(found) == 101
    assert "and 50 more" in found[-1]


def each_blob(operated: Operated) -> list[Path]:
    place = operated.place().blobstorage
    assert place is not None
    return sorted(place.rglob("*.blob"))


def test_every_blob_of_every_record_is_looked_for(operated: Operated, tmp_path: Path) -> None:
    paths = each_blob(operated)
    assert len(paths) == 5  # two, one more, its copy by the undo, the last
    for path in paths:
        path.rename(tmp_path / "away")
        forget_checksums(path)

        [problem] = [each for each in problems(operated) if "the blob of" in each]

        assert path.name.removesuffix(".blob") in problem
        assert "is missing" in problem
        (tmp_path / "away").rename(path)


def forget_checksums(path: Path) -> None:
    """Take the line of a blob out of the checksums, so that only its record names it."""
    blob_set = next(parent for parent in path.parents if (parent / "checksums").exists())
    for name in ("checksums", "checksums.added"):
        lists = blob_set / name
        if lists.exists():
            lines = lists.read_bytes().splitlines(keepends=True)
            kept = [line for line in lines if path.name.encode() not in line]
            lists.write_bytes(b"".join(kept))


def test_a_blob_that_the_site_had_lost_is_told_once(site: Site) -> None:
    site.commit({}, {"b": b"blob", "c": b"other"})
    sorted(site.blobstorage.rglob("*.blob"))[0].unlink()
    operated = Operated(site)
    with pytest.raises(IntegrityError):
        operated.backup()

    [problem] = problems(operated)

    assert "missing at the source" in problem


def test_a_blob_with_two_records_in_a_transaction_is_missed_once(site: Site) -> None:
    site.commit({}, {"b": b"blob"})
    site.commit_blob_twice("b", b"anew")
    operated = Operated(site)
    operated.backup()
    path = max(each_blob(operated), key=lambda path: path.name)
    path.unlink()
    forget_checksums(path)
    assert len([each for each in problems(operated) if "the blob of" in each]) == 1


def test_one_restore_point_may_be_looked_at_alone(operated: Operated) -> None:
    first, _second, last = operated.points()
    delta = next(operated.place().filestorage.glob(f"{last.stamp}.deltafsz"))
    delta.write_bytes(delta.read_bytes()[:-1])

    assert problems(operated, only=first) == []
    assert any(last.stamp in problem for problem in problems(operated, only=last))


def test_what_follows_a_damaged_part_is_still_looked_at(operated: Operated) -> None:
    first, second, last = operated.points()
    for point in (first, second):
        [data] = operated.place().filestorage.glob(f"{point.stamp}.*fsz")
        data.write_bytes(data.read_bytes()[:-1])
    each_blob(operated)[-1].unlink()

    found = [each for each in problems(operated) if "the blob of" in each]

    assert len(found) == 1
    assert last.stamp in found[0]


@pytest.mark.parametrize("marker", [b"bushi\n", b"\xff", b""])
def test_a_damaged_note_of_the_layout_is_a_problem_and_ends_nothing(
    operated: Operated, marker: bytes
) -> None:
    [blobs] = {point.blobs for point in operated.points()}
    [note] = operated.site.directory.glob(f"var/blobstoragebackups/{blobs}/blobstorage/.layout")
    note.write_bytes(marker)
    with (note.parent.parent / "checksums.added").open("ab") as added:
        added.write(b"what is told after it\n")

    found = problems(operated)

    assert any(
        f"{note}: this file names a layout that no blobstorage has" in each for each in found
    )
    assert len([each for each in found if "a layout that no blobstorage has" in each]) == 1
    assert any("checksums.added" in each for each in found)


@pytest.mark.parametrize("archive", ["full", "incremental"])
def test_a_damaged_archive_is_a_problem_and_ends_nothing(site: Site, archive: str) -> None:
    operated = Operated(site, archive_blob=True, incremental_blobs=archive == "incremental")
    site.commit({}, {"b": b"first" * 1000})
    operated.backup()
    [path] = (site.directory / "var" / "blobstoragebackups").glob("*.tar")
    data = bytearray(path.read_bytes())
    data[1500:1600] = b"x" * 100
    path.write_bytes(data)

    assert any(str(path) in each for each in problems(operated))


def test_memory_does_not_grow_with_the_filestorage(site: Site) -> None:
    operated = Operated(site, blobs=False, gzip=False)
    peaks = []
    for _number in range(2):
        with site.opened():
            for number in range(60):
                site.commit({f"{number}": "x" * 100_000, "y": "y" * 100_000})
        operated.backup(full=True)
        [newest] = operated.points()[-1:]
        tracemalloc.start()
        assert problems(operated, only=newest) == []
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # what waits between the threads is some pieces of 1 MiB more or less
    assert peaks[1] < peaks[0] + 4_000_000


def test_a_manifest_whose_data_are_gone_is_named(operated: Operated) -> None:
    directory = operated.place().filestorage
    for path in directory.glob("*"):
        if path.suffix != ".json" and path.is_file():
            path.unlink()

    found = problems(operated)

    assert len([each for each in found if "are gone" in each]) == 3


def test_a_damaged_manifest_does_not_end_the_search(operated: Operated) -> None:
    path = sorted(operated.place().filestorage.glob("*.json"))[1]
    path.write_bytes(path.read_bytes().replace(b'"end"', b'"dne"'))
    each_blob(operated)[0].unlink()

    found = problems(operated)

    assert any("manifest" in problem for problem in found)
    assert any("the blob of" in problem for problem in found)


class Read(Silent):
    """A Progress that adds up the bytes of filestorage that pass by."""

    size = 0

    @contextmanager
    def phase(self, title: str, total: int, unit: str = "B") -> Iterator[Advance]:
        before = self.size

        def advance(by: int) -> None:
            self.size += by if unit == "B" else 0

        yield advance
        assert self.size - before == (total if unit == "B" else 0)


@pytest.mark.parametrize("depth", [Depth.CHECKSUMS, Depth.RECORDS])
def test_each_data_file_is_read_once(operated: Operated, depth: Depth) -> None:
    run = replace(operated.run("verify"), progress=(read := Read()))
    [destination] = run.destinations()
    assert list(destination.verify(depth)) == []
    assert read.size == operated.site.size


@pytest.mark.parametrize("number", [0, 1, 2])
def test_what_is_damaged_is_told_once_and_hides_behind_no_records(
    operated: Operated, number: int
) -> None:
    path = sorted(operated.place().filestorage.glob("*fsz"))[number]
    data = bytearray(gzip.decompress(path.read_bytes()))
    at = data.index(b"persistent")
    data[at : at + 10] = b"PERSISTENT"
    path.write_bytes(gzip.compress(bytes(data)))
    found = [
        each for each in operated.destination().verify(Depth.RECORDS) if each.where == str(path)
    ]
    assert len([each for each in found if not each.inherited and "ledger" in each.what]) == 1


def test_how_a_part_is_stored_is_looked_at_as_well(operated: Operated) -> None:
    path = sorted(operated.place().filestorage.glob("*fsz"))[-1]
    data = bytearray(path.read_bytes())
    data[4] ^= 1  # the time in the head of a gzip file
    path.write_bytes(data)
    [problem] = operated.destination().verify(Depth.RECORDS)
    assert problem.harmless
    assert "not stored as it was written" in problem.what
