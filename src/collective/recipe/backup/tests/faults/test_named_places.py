"""An error names the place that the failing call wrote to, or read from, in every copier."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from collective.recipe.backup.errors import BackupError
from collective.recipe.backup.files import Files
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.samples import Site

LIMIT = 100_000
"""Bytes that a file may have: what is larger fails as on a disk that is full, by a number alone."""

STYLES = {
    "chain": {},
    "each": {"blob_snapshots": "each"},
    "numbered": {"blob_timestamps": False},
    "archives": {"archive_blob": True},
    "incremental": {"archive_blob": True, "incremental_blobs": True, "compress_blob": True},
    "numbered-archives": {"archive_blob": True, "blob_timestamps": False},
}
UNREADABLE = Path("/proc/self/mem")
"""A file that can be opened, and not be read at its begin."""


@contextmanager
def no_large_files() -> Iterator[None]:
    """Let each write beyond LIMIT fail: Python ignores the signal, so an OSError says so."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def named(act: Callable[[], object]) -> Path:
    """Return the place that the error of *act* names, which is that a file is too large."""
    with no_large_files(), pytest.raises(BackupError, match="File too large") as caught:
        act()
    return Path(caught.value.where)


@pytest.fixture(params=STYLES)
def operated(request, site: Site) -> Operated:
    return Operated(site, **STYLES[request.param])


def test_a_first_backup_names_where_the_blobs_were_to_be_stored(operated: Operated) -> None:
    """Not the live blobstorage, in which a frightened administrator would make room."""
    operated.site.commit({"a": 1}, {"b": os.urandom(2 * LIMIT)})
    place = operated.place()
    assert place.blobstorage is not None
    assert named(operated.backup).is_relative_to(place.blobstorage)


def test_a_later_backup_names_where_the_blobs_were_to_be_stored(operated: Operated) -> None:
    operated.site.commit({"a": 1}, {"b": b"small"})
    operated.backup()
    operated.site.commit({"a": 2}, {"c": os.urandom(2 * LIMIT)})
    place = operated.place()
    assert place.blobstorage is not None
    assert named(operated.backup).is_relative_to(place.blobstorage)


def test_a_backup_names_where_the_filestorage_was_to_be_stored(operated: Operated) -> None:
    operated.site.commit({"a": os.urandom(2 * LIMIT)})
    assert named(operated.backup).parent == operated.place().filestorage


@pytest.mark.parametrize("large", ["filestorage", "blobs"])
@pytest.mark.parametrize("lost", [False, True], ids=["over", "empty"])
def test_a_restore_names_what_was_to_be_written(operated: Operated, large: str, lost: bool) -> None:
    if large == "blobs":
        operated.site.commit({"a": 1}, {"b": os.urandom(2 * LIMIT)})
    else:
        operated.site.commit({"a": os.urandom(2 * LIMIT)}, {"b": b"small"})
    operated.backup()
    operated.site.commit({"a": 2}, {"b": b"other"})
    if lost:
        operated.site.lose()
    else:
        for blob in operated.site.blobstorage.rglob("*.blob"):
            blob.chmod(0o644)
            blob.write_bytes(b"damaged")
        with operated.site.filestorage.open("r+b") as file:
            file.truncate(200)
    place = named(operated.restore)
    staged = {"filestorage": "Data.fs.restoring", "blobs": "blobstorage.restoring"}[large]
    assert any(staged in part for part in place.parts)


class TestCopy:
    """One file, by each way that the kernel copies it."""

    def test_the_target_is_named_where_it_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "source").write_bytes(os.urandom(2 * LIMIT))
        for number, observe in enumerate((None, len)):
            target = tmp_path / f"target{number}"
            with no_large_files(), pytest.raises(OSError, match="too large") as caught:
                Files().copy(tmp_path / "source", target, observe=observe)
            assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(target))

    def test_the_source_is_named_where_it_cannot_be_read(self, tmp_path: Path) -> None:
        for number, observe in enumerate((None, len)):
            with pytest.raises(OSError, match="Input/output") as caught:
                Files().copy(UNREADABLE, tmp_path / str(number), observe=observe)
            assert caught.value.filename == str(UNREADABLE)

    def test_a_link_that_cannot_be_made_is_named_and_not_what_it_links_to(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "source").write_bytes(b"")
        with pytest.raises(NotADirectoryError) as caught:
            Files().link(tmp_path / "source", tmp_path / "source" / "target")
        assert caught.value.filename == str(tmp_path / "source" / "target")
        with pytest.raises(FileNotFoundError) as caught_too:
            Files().symlink("text", tmp_path / "missing" / "latest")
        assert Path(caught_too.value.filename).parent == tmp_path / "missing"
