"""A site and the repozo directory of its backups, ours and those of ZODB's repozo."""

from __future__ import annotations

import copy
import io
import shutil
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from ZODB.scripts import repozo

from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.model import Problem, RestorePoint
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.repozo.blocks import blocks_path, pack, read_blocks
from collective.recipe.backup.repozo.chainbackup import Orders, Taken, back_up
from collective.recipe.backup.repozo.chaincheck import verify_contents, verify_names
from collective.recipe.backup.repozo.chainlog import ChainLog
from collective.recipe.backup.repozo.chains import Chain, read_directory
from collective.recipe.backup.repozo.recover import recover
from collective.recipe.backup.restorepoints import Choice
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.times import Tid

BEGIN = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)


class Vault:
    """Backups of ``site`` in ``directory``; each is an hour later than the one before."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.site = Site(root / "site")
        self.directory = root / "backups"
        self.directory.mkdir(exist_ok=True)
        self.now = BEGIN

    def twin(self, directory: Path) -> Vault:
        """Return a vault of the same site, whose backups are a copy in *directory*."""
        twin = copy.copy(self)
        twin.directory = directory
        shutil.copytree(self.directory, directory, symlinks=True)
        return twin

    @property
    def source(self) -> bytes:
        """The bytes of the filestorage."""
        return self.site.filestorage.read_bytes()

    @source.setter
    def source(self, data: bytes) -> None:
        """Change the bytes in place: it stays the same file."""
        with self.site.filestorage.open("r+b") as file:
            file.write(data)
            file.truncate()

    @property
    def names(self) -> list[str]:
        """The names of all files in the directory."""
        return sorted(path.name for path in self.directory.iterdir())

    @property
    def chains(self) -> tuple[Chain, ...]:
        return read_directory(self.directory).chains

    @property
    def chain(self) -> Chain:
        """The newest chain."""
        return self.chains[-1]

    def commit(self, key: str = "key", size: int = 100) -> Tid:
        """Commit a value of some *size*, and let an hour pass."""
        self.now += HOUR
        return self.site.commit({key: f"{self.now} " * (size // 26 + 1)})

    def take(self, *, files: Files | None = None, full: bool = False, **orders: Any) -> Taken:
        """Make a backup of ours, as things are now."""
        why_full = "a full backup was asked for" if full else ""
        with TransactionLog(self.site.filestorage) as log:
            return back_up(
                log,
                self.directory,
                Orders(why_full=why_full, **orders),
                files=files or Files(),
                now=self.now,
                progress=Silent(),
            )

    def recovered(
        self, *, through: str | None = None, until: Tid | None = None, chain: Chain | None = None
    ) -> bytes:
        """Return what we recover."""
        written = io.BytesIO()
        recover(chain or self.chain, written.write, through=through, until=until, progress=Silent())
        return written.getvalue()

    def log(
        self, *, through: str | None = None, until: Tid | None = None, chain: Chain | None = None
    ) -> ChainLog:
        """Return what the newest chain has, to be read."""
        chain = chain or self.chain
        part = chain.up_to(through)[-1]
        point = RestorePoint(stamp=part.stamp, chain=chain.stamp, end=part.end)
        return ChainLog(chain, Choice(point=point, until=until))

    def make_digests_older(self) -> None:
        """Give version 1 to the digests of the newest chain, as older programs wrote them."""
        for part in self.chain.parts:
            blocks = read_blocks(self.directory, part)
            if blocks is not None:
                older = pack(replace(blocks, members=None))
                blocks_path(self.directory, part.name).write_bytes(older)

    def problems(self) -> list[Problem]:
        """Return all that verify finds."""
        names = list(verify_names(self.directory))
        return names + list(verify_contents(self.directory, Silent()))

    def check(self) -> None:
        """Assert that all is whole, the newest backup is the source, and repozo agrees."""
        assert self.problems() == []
        source = self.source
        for chain in self.chains:
            for part in chain.parts[:-1] if chain is self.chains[-1] else ():
                assert self.recovered(through=part.stamp) == source[: part.end]
        assert self.recovered() == source
        assert self.repozo_recovered() == source

    def repozo(self, *arguments: str) -> None:
        """Run ZODB's repozo on the directory; its errors are raised."""
        options = repozo.parseargs([*arguments, "-r", str(self.directory)])
        # it does not see what is later than its now
        options.test_now = (9999, 1, 1, 0, 0, 0)
        if options.mode == repozo.BACKUP:
            options.test_now = self.now.timetuple()[:6]
            repozo.do_backup(options)
        elif options.mode == repozo.VERIFY:
            repozo.do_verify(options)
        else:
            repozo.do_recover(options)

    def repozo_backup(self, *arguments: str) -> None:
        """Make a backup with ZODB's repozo, as things are now."""
        self.repozo("-B", "-f", str(self.site.filestorage), *arguments)

    def repozo_recovered(self, *arguments: str) -> bytes:
        """Return what ZODB's repozo recovers, after it has verified."""
        self.repozo("-V")
        output = self.root / "recovered.fs"
        self.repozo("-R", "-w", "-o", str(output), *arguments)
        return output.read_bytes()
