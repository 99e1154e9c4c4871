"""What a repository opens keeps the contract of states."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from collective.recipe.backup.destinations import Depth
from collective.recipe.backup.errors import BackupError
from collective.recipe.backup.restorepoints import Choice
from collective.recipe.backup.stores.memory import MemoryStore
from collective.recipe.backup.tests.contracts.state import Kept, StateContract
from collective.recipe.backup.tests.repositoryruns import OperatedInRepository
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.unit.test_states import moment_of, step


@dataclass(frozen=True, kw_only=True)
class KeptInRepository(Kept):
    """Each object of the store is a piece; it is called by its name."""

    operated: OperatedInRepository

    @property
    def objects(self) -> dict[str, tuple[bytes, object]]:
        return self.operated.store.objects

    def snapshot(self) -> Mapping[str, object]:
        return dict(self.objects)

    def copied(self, directory: Path) -> Kept:
        store = MemoryStore(lambda: self.operated.now)
        store.objects = dict(self.objects)
        shutil.copytree(self.operated.site.directory, directory, symlinks=True)
        copy = OperatedInRepository(Site(directory), store=store, keep=0)
        copy.now = self.operated.now
        return replace(self, operated=copy)

    def pieces(self) -> Sequence[str]:
        return sorted(self.objects)

    def has_data(self, piece: str) -> bool:
        return piece.startswith("bundles/")

    def is_needed(self, piece: str, stamp: str) -> bool:
        if not self.has_data(piece):
            return True
        with self.damaged(piece, "gone"):
            problems = list(self.operated.destination().verify(Depth.CHECKSUMS))
        return any(stamp in problem.points for problem in problems)

    @contextmanager
    def damaged(self, piece: str, damage: str) -> Iterator[bool]:
        whole, moment = self.objects[piece]
        place = len(whole) // 16  # what follows is filled up
        flipped = whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :]
        others = {"flip": flipped, "zeros": bytes(len(whole)), "cut": whole[:place]}
        if damage == "gone":
            del self.objects[piece]
        else:
            self.objects[piece] = others[damage], moment
        try:
            yield True
        finally:
            self.objects[piece] = whole, moment

    def is_named(self, piece: str, error: BackupError, choice: Choice) -> bool:
        return piece in error.what


@pytest.fixture(scope="class")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    operated = OperatedInRepository(Site(tmp_path_factory.mktemp("kept") / "site"), keep=0)
    site, moments = operated.site, []
    (site.blobstorage / "notes").mkdir()
    (site.blobstorage / "notes" / "read me").write_text("of the sysadmin")
    for number in range(7):
        tid = step(site, number)
        if number in (1, 3, 5, 6):
            operated.backup(full=number == 5)
        moments.append(moment_of(site, tid))
    # a bundle is filled up, and holds more than one state reads
    return KeptInRepository(operated=operated, moments=tuple(moments), is_all_read=False)


class TestRepositoryStates(StateContract):
    """Everything in one store in memory."""
