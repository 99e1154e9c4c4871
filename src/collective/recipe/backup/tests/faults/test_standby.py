"""A standby whose round dies at any step is whole at once, and goes on or is promoted."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from collective.recipe.backup.operations.standby import promote, standby
from collective.recipe.backup.restoring import standbymark, swap
from collective.recipe.backup.restoring.journal import DONE, journal_path, read, write
from collective.recipe.backup.restoring.standbymark import left_now
from collective.recipe.backup.tests.faults.harness import (
    Fault,
    FaultyFiles,
    Hasty,
    survive_every_fault,
)
from collective.recipe.backup.tests.runs import NOON, Operated
from collective.recipe.backup.tests.samples import Site, contents_of
from collective.recipe.backup.tests.unit.test_following import Script


class Copy:
    """A copy of *operated*, as it was before the last backups."""

    def __init__(self, operated: Operated, directory: Path) -> None:
        self.operated = operated
        self.directory = directory
        self.journal = journal_path(directory / "Data.fs")

    def stand(self, files: FaultyFiles | None = None) -> None:
        run = replace(self.operated.run("standby", files=files or Hasty()), now=NOON)
        standby(run, self.directory, Script(), tell=lambda _what: None)

    def promote(self) -> None:
        run = self.operated.run("standby", files=Hasty())
        promote(replace(run, now=NOON + timedelta(days=1)), self.directory)

    def contents(self):
        return contents_of(self.directory / "Data.fs", self.directory / "blobstorage")

    def put_back(self, kept: Path) -> Copy:
        """Become what *kept* was, in files of its own."""
        shutil.rmtree(self.directory, ignore_errors=True)
        shutil.copytree(kept, self.directory)
        filestorage = self.directory / "Data.fs"
        write(self.journal, DONE, read(self.journal).moves, Hasty())
        mark = standbymark.read(filestorage)
        assert mark is not None
        standbymark.write(filestorage, replace(mark, left=left_now([filestorage])), Hasty())
        return self


def grows(site: Site) -> None:
    site.commit({"a": 2}, {"new": b"comes"})


def is_packed(site: Site) -> None:
    with site.opened() as db, db.transaction() as connection:
        del connection.root()["blobs"]["c"]
    site.commit({"a": 2}, {"b": b"second"})
    site.pack()


@pytest.mark.parametrize(
    ("change", "fault", "ending"),
    [(is_packed, Fault.BEFORE, Copy.stand), (grows, Fault.POWER_CUT, Copy.promote)],
    ids=["a pack, killed, and begun again", "growth, without power, and promoted"],
)
def test_a_round_that_dies_leaves_a_whole_state_and_is_finished(
    site: Site, tmp_path: Path, change, fault: Fault, ending
) -> None:
    operated, kept = Operated(site), tmp_path / "kept"
    copy = Copy(operated, tmp_path / "copy")
    site.commit({"a": 1}, {"b": b"first", "c": b"goes"})
    operated.backup()
    copy.stand()
    before = site.contents()
    copy.directory.rename(kept)
    shutil.copytree(kept, copy.directory)
    change(site)
    operated.backup()
    after = site.contents()

    def check(copy: Copy, outcome: BaseException | None) -> None:
        states = (after,) if outcome is None else (before, after)
        assert copy.contents() in states, "it is whole before it is finished"
        ending(copy)
        assert copy.contents() in ((after,) if ending is Copy.stand else states)
        assert not swap.is_pending(copy.journal)

    count = survive_every_fault(
        lambda: copy.put_back(kept),
        lambda copy, files: copy.stand(files),
        check,
        faults=[fault],
        disk=lambda copy: copy.directory,
    )
    assert count > 30
