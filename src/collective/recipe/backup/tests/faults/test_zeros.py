"""Zeros over what is read back: what a power cut, a bad disk or a network file system leaves."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from datetime import timedelta
from fractions import Fraction
from pathlib import Path

import pytest

from collective.recipe.backup import history, locking
from collective.recipe.backup.destinations import Depth, ownermarks
from collective.recipe.backup.errors import BackupError, IntegrityError
from collective.recipe.backup.operations import missingdisk, sampling
from collective.recipe.backup.operations.status import status
from collective.recipe.backup.operations.verify import VerifyOrder, verify
from collective.recipe.backup.tests.archived import FIRST, Archived
from collective.recipe.backup.tests.faults.harness import Hasty
from collective.recipe.backup.tests.runs import NOON, Operated, copied
from collective.recipe.backup.tests.samples import Site, contents_of

STYLES = {
    "chain": {},
    "not-compressed": {"gzip": False, "blob_snapshots": "each"},
    "numbered": {"blob_timestamps": False},
    "archives": {"archive_blob": True},
    "numbered-archives": {"archive_blob": True, "blob_timestamps": False},
    "incremental": {"archive_blob": True, "incremental_blobs": True},
    "incremental-compressed": {
        "archive_blob": True,
        "incremental_blobs": True,
        "compress_blob": True,
    },
}
NO_PART_OF_A_BACKUP = ".backup"
"""What the names of lock, history, mark and the like begin with."""

BLOCK = 512
NOTICED = "damage was found in the newest chain"


@pytest.fixture(params=STYLES)
def operated(request, tmp_path: Path) -> Operated:
    """A site with a full backup and two incremental ones."""
    site = Site(tmp_path / "site")
    operated = Operated(site, **STYLES[request.param])
    with site.opened():
        for number in range(3):
            blobs = {f"b{number}": b"blob %d " % number * 300, f"c{number}": b"%d" % number}
            at = NOON + timedelta(minutes=60 * number + 30)
            site.commit({"a": "x" * 300 * number}, blobs, at=at)
            operated.backup(files=Hasty())
    return operated


def stored(operated: Operated) -> list[Path]:
    """Return one file of each kind that the backups have, by suffix and by size."""
    place = operated.place()
    assert place.blobstorage is not None
    files = [
        path
        for directory in (place.filestorage, place.blobstorage)
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.is_symlink()
        if not path.name.startswith(NO_PART_OF_A_BACKUP)
    ]
    # the newest of those that are alike
    return list({(path.suffix or path.name, path.stat().st_size): path for path in files}.values())


def zeroed(data: bytes) -> Iterator[bytes]:
    """Yield *data* with zeros over the first block, from some blocks on, and over all of it."""
    yield bytes(min(BLOCK, len(data))) + data[BLOCK:]
    for begin in sorted({0, BLOCK, len(data) // 2, len(data) - 1}):
        if 0 <= begin < len(data):
            yield data[:begin] + bytes(len(data) - begin)


def overwrite(path: Path, data: bytes) -> None:
    """Change the bytes as a disk does: the times stay."""
    status = path.stat()
    path.chmod(0o644)
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_zeros_over_any_stored_file_are_told_and_never_restored(
    operated: Operated, tmp_path: Path
) -> None:
    contents = operated.site.contents()
    to = tmp_path / "to"
    for path in stored(operated):
        whole = path.read_bytes()
        for data in zeroed(whole):
            if data == whole:
                continue
            overwrite(path, data)
            try:
                operated.restore(to=to, files=Hasty())
            except BackupError as error:
                assert error.exit_code in (3, 4), path  # noqa: PT017
            else:
                assert contents_of(to / "Data.fs", to / "blobstorage") == contents, path
            shutil.rmtree(to, ignore_errors=True)
            assert list(operated.destination().verify(Depth.CHECKSUMS)), path
        overwrite(path, whole)


def test_zeros_over_any_stored_file_do_not_end_the_next_backup(
    operated: Operated, tmp_path: Path
) -> None:
    noticed = 0
    for number, path in enumerate(stored(operated)):
        twin = copied(operated, tmp_path / f"twin{number}")
        there = twin.site.directory / path.relative_to(operated.site.directory)
        overwrite(there, bytes(there.stat().st_size))
        twin.site.commit({"new": 1}, {"new": b"a new blob"}, at=NOON + timedelta(hours=9))
        outcome = twin.backup(files=Hasty())
        if NOTICED in outcome.summary:
            noticed += 1
            to = tmp_path / f"to{number}"
            twin.restore(to=to, files=Hasty())
            assert contents_of(to / "Data.fs", to / "blobstorage") == twin.site.contents()
    assert noticed


class TestArchive:
    """An archive alone, with zeros over the first block, or from each block on."""

    def restored(self, archived: Archived) -> str:
        """Return what restoring says, after it has compared that with what verify says."""
        with pytest.raises(IntegrityError) as caught:
            archived.restored(FIRST)
        assert [problem.where for problem in archived.problems()] == [caught.value.where]
        return caught.value.what

    def archive(self, archived: Archived, maker: str) -> Path:
        for number in range(3):
            archived.put(number * 300, number + 1, bytes([65 + number]) * 700)
        if maker == "ours":
            return archived.full(FIRST)[0].path
        return archived.tar(FIRST).path

    @pytest.mark.parametrize("maker", ["ours", "GNU tar"])
    def test_zeros_over_all_of_it(self, tmp_path: Path, maker: str) -> None:
        archived = Archived(tmp_path)
        path = self.archive(archived, maker)
        overwrite(path, bytes(path.stat().st_size))
        assert "it holds nothing but its end" in self.restored(archived)

    @pytest.mark.parametrize("maker", ["ours", "GNU tar"])
    @pytest.mark.parametrize("blocks", [1, 2, 3, 4, 5])
    def test_zeros_over_its_first_blocks(self, tmp_path: Path, maker: str, blocks: int) -> None:
        archived = Archived(tmp_path)
        path = self.archive(archived, maker)
        overwrite(path, bytes(blocks * BLOCK) + path.read_bytes()[blocks * BLOCK :])
        assert "the archive cannot be used" in self.restored(archived)

    def test_zeros_from_each_block_of_ours_on(self, tmp_path: Path) -> None:
        archived = Archived(tmp_path)
        path = self.archive(archived, "ours")
        whole = path.read_bytes()
        for begin in range(0, len(whole), BLOCK):
            overwrite(path, whole[:begin] + bytes(len(whole) - begin))
            assert "the archive cannot be used" in self.restored(archived)

    def test_zeros_in_the_place_of_members_of_another_tar(self, tmp_path: Path) -> None:
        """As many zeros as its last record may have are an end; more are none."""
        archived = Archived(tmp_path)
        archived.put(0, 1, b"A" * 30_000)
        path = archived.tar(FIRST).path
        whole = path.read_bytes()
        overwrite(path, whole[:BLOCK] + bytes(len(whole) - BLOCK))  # the directory alone is left
        assert "bytes follow the mark of its end" in self.restored(archived)


def test_an_archive_in_the_place_of_another_is_told(site: Site, tmp_path: Path) -> None:
    """Whole and sealed, but not what was backed up."""
    operated = Operated(site, archive_blob=True)
    for number in range(2):
        site.commit(blobs={f"b{number}": b"blob" * (number + 1)})
        operated.backup()
    place = operated.place()
    assert place.blobstorage is not None
    first, second = sorted(place.blobstorage.glob("*.tar"))
    shutil.copy(first, second)
    words = "should hold 17 bytes of files in all, and not 9"

    [problem] = operated.destination().verify(Depth.CHECKSUMS)
    assert (problem.where, words in problem.what) == (str(second), True)
    with pytest.raises(IntegrityError, match=words) as caught:
        operated.restore(to=tmp_path / "to")
    assert caught.value.where == str(second)


def test_zeros_over_the_journal_of_a_restore_are_told(operated: Operated) -> None:
    operated.restore()
    journal = operated.site.filestorage.with_name("Data.fs.restore.json")
    overwrite(journal, bytes(journal.stat().st_size))
    for verb in (operated.restore, operated.backup):
        with pytest.raises(IntegrityError, match="journal of a restore is damaged"):
            verb()


def beside(operated: Operated) -> list[Path]:
    """Return what the runs keep beside the backups and the configuration."""
    place = operated.place()
    assert place.blobstorage is not None
    found = {
        path
        for directory in (place.filestorage, place.blobstorage)
        for path in directory.glob(f"{NO_PART_OF_A_BACKUP}*")
    }
    return sorted([*found, operated.config_path.with_name(missingdisk.NAME)])


def sample(operated: Operated) -> None:
    """Verify a half, which remembers where the next one is to begin."""
    order = VerifyOrder(depth=Depth.CHECKSUMS, share=Fraction(1, 2))
    [verified] = verify(operated.run("verify"), order, tell=lambda _problem: None)
    assert not verified.problems


def test_zeros_over_what_is_kept_beside_the_backups_are_told_or_do_no_harm(
    site: Site, tmp_path: Path
) -> None:
    operated = Operated(site)
    site.commit({"a": 1}, {"b": b"blob"}, at=NOON)
    operated.backup()
    sample(operated)
    site.commit({"a": 2}, {"c": b"new"}, at=NOON + timedelta(hours=2))
    contents = site.contents()
    numbers = itertools.count()
    kept = beside(operated)
    assert {path.name for path in kept} == {
        ownermarks.NAME,
        f"{ownermarks.NAME}.blobstorage",
        locking.LOCK_NAME,
        history.NAME,
        sampling.NAME,
        missingdisk.NAME,
    }
    for path in kept:
        for data in zeroed(path.read_bytes()):
            twin = copied(operated, tmp_path / str(next(numbers)))
            there = twin.site.directory / path.relative_to(site.directory)
            overwrite(there, data)
            twin.backup(files=Hasty())
            assert [point.whole for point in twin.points()] == [True, True], path
            sample(twin)
            twin.restore(to=tmp_path / "to", files=Hasty())
            assert contents_of(tmp_path / "to/Data.fs", tmp_path / "to/blobstorage") == contents
            shutil.rmtree(tmp_path / "to")


def test_zeros_over_the_history_hide_no_failure(site: Site) -> None:
    operated = Operated(site)
    operated.backup()
    site.blobstorage.rename(tmp := site.directory / "elsewhere")
    with pytest.raises(BackupError, match="no blobstorage"):
        operated.backup()
    tmp.rename(site.blobstorage)
    path = operated.place().filestorage / history.NAME
    whole = path.read_bytes()
    for data in zeroed(whole):
        overwrite(path, data)
        assert status(operated.run("status")).findings, data
    overwrite(path, bytes(len(whole)))
    operated.backup()
    assert status(operated.run("status")).findings == ()
