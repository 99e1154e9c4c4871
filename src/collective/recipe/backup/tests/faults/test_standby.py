"""A standby whose round dies at any step is whole at once, and goes on or is promoted."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from collective.recipe.backup.errors import BrokenOff, IntegrityError, UsageError
from collective.recipe.backup.operations.standby import promote, standby
from collective.recipe.backup.restoring import standbymark, swap
from collective.recipe.backup.restoring.journal import DONE, journal_path, read, write
from collective.recipe.backup.restoring.standbymark import left_now
from collective.recipe.backup.tests.faults.harness import (
    Crash,
    Dying,
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

    def promote(self, files: FaultyFiles | None = None) -> None:
        run = self.operated.run("standby", files=files or Hasty())
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


@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.POWER_CUT, Fault.NO_SPACE])
def test_a_first_round_that_dies_is_begun_again_or_has_nothing_to_promote(
    site: Site, tmp_path: Path, fault: Fault
) -> None:
    operated = Operated(site)
    site.commit({"a": 1}, {"b": b"first", "c": b"second"})
    operated.backup()
    state, numbers = site.contents(), itertools.count()
    promoted = []

    def check(copy: Copy, _outcome: BaseException | None) -> None:
        try:
            copy.promote()
        except UsageError as error:
            assert "there is no standby here" in str(error) or "nothing to promote" in str(error)
            copy.stand()
        else:
            promoted.append(copy)
        assert copy.contents() == state
        assert not swap.is_pending(copy.journal)

    count = survive_every_fault(
        lambda: Copy(operated, tmp_path / str(next(numbers))),
        lambda copy, files: copy.stand(files),
        check,
        faults=[fault],
    )
    assert count > 15
    assert promoted, "one that has died late enough"


def test_a_round_that_is_interrupted_says_how_the_standby_goes_on_and_names_no_other_verb(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    operated, kept = Operated(site), tmp_path / "kept"
    copy = Copy(operated, tmp_path / "copy")
    site.commit({"a": 1}, {"b": b"first"})
    operated.backup()
    copy.stand()
    copy.directory.rename(kept)
    grows(site)
    operated.backup()
    after, total = site.contents(), FaultyFiles()
    copy.put_back(kept).stand(total)
    journals = [n for n, (_what, path) in enumerate(total.changes) if "restore.json" in path.name]
    told = 0
    for changes in range(journals[0] - 1, journals[-1] + 2):
        world = copy.put_back(kept)
        caplog.clear()
        with pytest.raises(KeyboardInterrupt):
            world.stand(Dying(changes))
        said = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
        assert not [line for line in said if "give-up" in line or "same command" in line]
        if swap.is_pending(world.journal):
            told += 1
            assert len(said) == 1
            assert "start the standby again or promote it: either one finishes that" in said[0]
            if told % 3 == 0:
                (Copy.stand, Copy.promote)[told % 2](world)
                assert world.contents() == after
    assert told > 5


def test_a_round_that_fails_in_the_middle_has_a_hint_of_a_standby(
    site: Site, tmp_path: Path
) -> None:
    operated, kept = Operated(site), tmp_path / "kept"
    copy = Copy(operated, tmp_path / "copy")
    site.commit({"a": 1}, {"b": b"first"})
    operated.backup()
    copy.stand()
    copy.directory.rename(kept)
    grows(site)
    operated.backup()
    total = FaultyFiles()
    copy.put_back(kept).stand(total)
    swaps = [n for n, (_what, path) in enumerate(total.changes) if path.name.endswith(".blob")]
    world = copy.put_back(kept)
    with pytest.raises(BrokenOff, match="in the middle of a round") as caught:
        world.stand(FaultyFiles(Fault.EIO, swaps[-1] + 1))
    assert "start the standby again or promote it" in caught.value.hint
    assert "give-up" not in caught.value.hint

    # the directory comes under another name meanwhile
    moved = Copy(operated, tmp_path / "moved")
    world.directory.rename(moved.directory)
    with pytest.raises(IntegrityError, match="is a copy of the one in") as caught:
        moved.stand()
    assert "begin another standby elsewhere" in caught.value.hint


def test_a_promotion_that_dies_has_ended_the_standby_or_not(site: Site, tmp_path: Path) -> None:
    operated, kept = Operated(site), tmp_path / "kept"
    copy = Copy(operated, tmp_path / "copy")
    site.commit({"a": 1}, {"b": b"first"})
    operated.backup()
    copy.stand()
    copy.directory.rename(kept)
    state = site.contents()

    def check(copy: Copy, _outcome: BaseException | None) -> None:
        mark = standbymark.read(copy.directory / "Data.fs")
        assert mark is not None
        if mark.promoted is None:
            copy.stand()
        else:
            with pytest.raises(UsageError, match="was promoted"):
                copy.stand()
        copy.promote()
        assert copy.contents() == state

    count = survive_every_fault(
        lambda: copy.put_back(kept),
        lambda copy, files: copy.promote(files),
        check,
    )
    assert count > 5


def test_a_promotion_that_finishes_a_round_may_die_as_well(site: Site, tmp_path: Path) -> None:
    operated, kept = Operated(site), tmp_path / "kept"
    copy = Copy(operated, tmp_path / "copy")
    site.commit({"a": 1}, {"b": b"first"})
    operated.backup()
    copy.stand()
    copy.directory.rename(kept)
    grows(site)
    operated.backup()
    after, total = site.contents(), FaultyFiles()
    copy.put_back(kept).stand(total)
    swaps = [n for n, (_what, path) in enumerate(total.changes) if path.name.endswith(".blob")]

    def died() -> Copy:
        world = copy.put_back(kept)
        with pytest.raises(Crash):
            world.stand(FaultyFiles(Fault.BEFORE, swaps[-1] + 1))
        assert swap.is_pending(world.journal)
        return world

    def check(copy: Copy, _outcome: BaseException | None) -> None:
        copy.promote()
        assert copy.contents() == after
        assert not swap.is_pending(copy.journal)

    survive_every_fault(
        died,
        lambda copy, files: copy.promote(files),
        check,
        faults=[Fault.BEFORE, Fault.POWER_CUT],
    )
