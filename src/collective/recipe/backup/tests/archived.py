"""A blobstorage and the directory of its archives, ours and those of GNU tar."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from collective.recipe.backup.blobs.archives.archivecheck import verify_contents
from collective.recipe.backup.blobs.archives.archivenames import (
    Archive,
    chain_of,
    find_archives,
    planned,
)
from collective.recipe.backup.blobs.archives.archivestaging import stage
from collective.recipe.backup.blobs.archives.archivewriting import write_delta, write_full
from collective.recipe.backup.blobs.archives.storedarchives import ArchivedBlobs
from collective.recipe.backup.blobs.copied import Copied
from collective.recipe.backup.blobs.digesting import checksum_of, same_time
from collective.recipe.backup.blobs.layout import MARKER, Kind, Layout, blob_of, layout_at, walk
from collective.recipe.backup.blobs.marker import laid_out
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.files import Files
from collective.recipe.backup.model import BlobId, Problem
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.tests.blobtrees import blob_id, put
from collective.recipe.backup.times import LAST_TID, Tid

STAMPS = [f"2026-03-0{day}-12-00-00" for day in range(1, 8)]
FIRST, SECOND, THIRD, FOURTH, *_ = STAMPS


class Archived:
    """Archives of ``source`` in ``directory``."""

    def __init__(self, root: Path, storage: str = "blobstorage") -> None:
        self.root = root
        self.storage = storage
        self.source = root / "site" / storage
        self.directory = root / "backups"
        self.source.mkdir(parents=True)
        self.directory.mkdir()

    def put(self, oid: int, number: int, data: bytes | None = None) -> BlobId:
        blob = blob_id(oid, number)
        # a blob is read-only, but for root
        (self.source / Layout.BUSHY.path(blob)).unlink(missing_ok=True)
        put(self.source, blob, data)
        return blob

    def planned(self, key: str | int, *, delta: bool = False, compressed: bool = False) -> Archive:
        return planned(self.directory, self.storage, key, delta=delta, compressed=compressed)

    def full(
        self,
        key: str | int = FIRST,
        *,
        compressed: bool = False,
        until: Tid = LAST_TID,
        files: Files | None = None,
    ) -> tuple[Archive, Copied]:
        archive = self.planned(key, compressed=compressed)
        copied = write_full(
            self.source, archive, until=until, files=files or Files(), progress=Silent()
        )
        return archive, copied

    def delta(
        self, key: str, *ids: BlobId, compressed: bool = False, files: Files | None = None
    ) -> tuple[Archive, Copied]:
        archive = self.planned(key, delta=True, compressed=compressed)
        copied = write_delta(
            [self.source], archive, lambda: ids, files=files or Files(), progress=Silent()
        )
        assert copied is not None
        return archive, copied

    def tar(
        self,
        key: str | int,
        *options: str,
        compressed: bool = False,
        snar: str | None = None,
    ) -> Archive:
        """Let GNU tar make an archive as releases 4.2 and 6.0 do.

        *snar* is the stamp of the full archive to build on; its own for a full one.
        """
        # tar compares its clock with times of files, which come from a coarser one
        time.sleep(0.02)
        archive = self.planned(key, delta=snar not in (None, key), compressed=compressed)
        command = ["tar", "czf" if compressed else "cf", archive.path, *options]
        if snar:
            command.append(f"--listed-incremental={self.snar(snar)}")
        subprocess.run([*command, "-C", self.source, "."], check=True)
        time.sleep(0.02)
        return archive

    def snar(self, stamp: str) -> Path:
        return self.directory / f"{self.storage}.{stamp}.snar"

    def found(self) -> list[Archive]:
        return find_archives(self.directory, self.storage)

    def restored(
        self,
        newest: str | None = None,
        *,
        live: Path | None = None,
        until: Tid = LAST_TID,
        files: Files | None = None,
    ) -> tuple[Path, Copied]:
        """Restore the archive *newest*, by default the last; return where to."""
        found = self.found()
        wanted = next((each for each in found if each.key == newest), found[-1])
        target = self.root / "restored"
        shutil.rmtree(target, ignore_errors=True)
        chain = chain_of(found, wanted)
        stored = ArchivedBlobs(chain, until=lambda: until)
        try:
            copied = stage(
                chain, target, live=live, until=until, files=files or Files(), progress=Silent()
            )
        except IntegrityError as error:
            with pytest.raises(IntegrityError, match=f"^{re.escape(str(error))}$"):
                list(stored.listed())
            raise
        check_listing(stored, target)
        return target, copied

    def problems(self) -> list[Problem]:
        return list(verify_contents(self.found(), progress=Silent()))


def check_listing(stored: ArchivedBlobs, target: Path) -> None:
    """Assert that what *stored* lists, opens and copies one by one is what was unpacked."""
    listed = list(stored.listed())
    # the marker of a copy may have been made or mended
    found = [each for each in walk(target) if each.path != MARKER]
    assert [(each.path, each.kind) for each in listed if each.path != MARKER] == found
    for file in listed:
        path = target / file.path
        if file.path == MARKER or file.kind is Kind.DIRECTORY:
            continue
        assert file.digest == checksum_of(target, file.path).digest, file
        assert file.size == path.lstat().st_size, file
        if not path.is_symlink():
            assert same_time(file.time, path.lstat().st_mtime_ns), file
        if (blob := blob_of(file.path)) and layout_at(file.path) is laid_out(target):
            with stored.open(blob) as opened:
                assert opened.read() == path.read_bytes(), file
    some = target.with_name("some")
    shutil.rmtree(some, ignore_errors=True)
    stored.copy_into(some, wanted=listed[::2], files=Files(), progress=Silent())
    for file in listed[::2]:
        if file.kind is Kind.DIRECTORY:
            assert (some / file.path).is_dir()
        elif file.path != MARKER:
            assert checksum_of(some, file.path) == checksum_of(target, file.path)
    files = [each.path for each in walk(some) if each.kind is not Kind.DIRECTORY]
    assert files == [each.path for each in listed[::2] if each.kind is not Kind.DIRECTORY]
    shutil.rmtree(some)


def statuses(root: Path) -> Mapping[str, object]:
    """Return what tar keeps of all below *root*: kind and mode, size, time; owners for root."""
    found = {}
    for path in root.rglob("*"):
        status = path.lstat()
        regular = path.is_file() and not path.is_symlink()
        found[os.fsencode(path.relative_to(root))] = (
            status.st_mode,
            status.st_size if regular else None,
            status.st_mtime_ns if regular else None,
            (status.st_uid, status.st_gid),
        )
    return found
