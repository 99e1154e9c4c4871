"""The repozo directory after every fault: nothing that was restorable is lost, the next run heals.

The site is one for all: its filestorage is cut and grown in place, as the world needs it.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from ZODB.scripts.repozo import RepozoError

from collective.recipe.backup.errors import BackupError, IntegrityError
from collective.recipe.backup.files import Files
from collective.recipe.backup.files.partials import is_partial
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.repozo.blocks import read_blocks
from collective.recipe.backup.repozo.chaincheck import verify_contents
from collective.recipe.backup.repozo.chainremoval import remove_chain
from collective.recipe.backup.repozo.ledger import is_data_file, render
from collective.recipe.backup.repozo.merge import merge
from collective.recipe.backup.tests.faults.harness import (
    Crash,
    Fault,
    FaultyFiles,
    survive_every_fault,
)
from collective.recipe.backup.tests.vault import HOUR, Vault


class Story:
    """A vault with a log of which any prefix can be the filestorage."""

    def __init__(self, root):
        self.vault = Vault(root)
        self.ends = [self.vault.site.size]
        for _ in range(7):
            self.vault.commit(size=300)
            self.ends.append(self.vault.site.size)
        self.log = self.vault.source
        self.worlds = itertools.count()

    def grow(self, commits):
        """Make the filestorage hold so many commits of the log."""
        self.vault.source = self.log[: self.ends[commits]]

    def take(self, commits, **orders):
        self.grow(commits)
        self.vault.now += HOUR
        return self.vault.take(**orders)

    def world(self):
        """Return a new vault that goes on from here."""
        twin = self.vault.twin(self.vault.root / f"world-{next(self.worlds)}")
        twin.now += HOUR
        return twin

    def survives(self, act, check, commits, **options):
        def make():
            self.grow(commits)
            return self.world()

        return survive_every_fault(make, act, check, disk=lambda world: world.directory, **options)

    def check_next(self, world):
        """The next backup heals and works, and so does the one after it."""
        healed = world.take()
        assert not any(is_partial(name) or name == "tmp.tmp" for name in world.names)
        assert not any(name.endswith((".pruned", ".merging", ".orphan")) for name in world.names)
        world.check()
        self.grow(7)
        world.now += HOUR
        assert world.take().changed
        world.check()
        return healed


@pytest.fixture
def story(tmp_path):
    return Story(tmp_path / "vault")


def restorable(world):
    """Return the sizes of all that can be restored, having restored it."""
    source = world.source
    sizes = []
    for chain in world.chains:
        for part in chain.restorable:
            assert world.recovered(through=part.stamp, chain=chain) == source[: part.end]
            sizes.append(part.end)
    return sizes


def excused(world):
    """Assert that verify finds nothing but data files without their ledger line."""
    for problem in world.problems():
        assert problem.what.startswith("no ledger names it"), problem


def test_a_death_between_a_delta_and_its_ledger_line_is_healed(story):
    """The crash hole of repozo: its next delta overlaps the orphan, its restore is corrupt."""
    first = story.take(2)
    story.grow(4)
    world = story.world()
    ledger = world.chain.ledger.read_bytes()
    delta = world.take()
    world.chain.ledger.write_bytes(ledger)  # the line was not written any more
    [problem] = world.problems()
    assert problem.where.endswith(f"{delta.stamp}.deltafsz")
    story.grow(5)
    assert world.recovered() == story.log[: first.end]
    world.now += HOUR
    taken = world.take()
    assert taken.start == delta.end
    assert taken.healed == (
        f"gave {delta.stamp}.deltafsz its line in the ledger, which a run that died had not"
        " written",
    )
    world.check()


def test_older_digests_are_completed_after_every_fault(story):
    for commits in (2, 3, 4):
        story.take(commits)
    story.vault.make_digests_older()

    def check(world, _outcome):
        story.check_next(world)
        members = [read_blocks(world.directory, part).members for part in world.chain.parts]
        assert all(members)

    assert story.survives(lambda world, files: world.take(files=files), check, commits=5) > 35


def test_an_orphan_of_repozo_is_healed_as_well(story):
    story.take(2)
    story.grow(4)
    world = story.world()
    ledger = world.chain.ledger.read_bytes()
    world.repozo_backup("-Q", "-z")
    world.chain.ledger.write_bytes(ledger)
    world.now += HOUR
    assert not world.take().changed
    world.check()


def test_what_repozo_makes_of_its_crash_hole_is_not_continued(story):
    story.take(2)
    story.grow(3)
    world = story.world()
    ledger = world.chain.ledger.read_bytes()
    world.repozo_backup("-Q")
    orphan = world.names[-1].replace("index", "deltafs")
    assert orphan in world.names
    world.chain.ledger.write_bytes(ledger)
    story.grow(4)
    world.now += HOUR
    world.repozo_backup("-Q")
    world.repozo("-V")  # all is well, says repozo, and restores the overlap
    [problem] = world.problems()
    assert problem.where.endswith(orphan)
    assert "between the files of a chain" in problem.what
    assert world.recovered() == world.source  # the ledger decides
    world.now += HOUR
    taken = world.take()
    assert taken.full
    assert orphan in taken.reason
    assert f"{orphan}.orphan" in world.names
    world.check()


def test_a_ledger_that_does_not_join_is_not_continued(story):
    story.take(2)
    story.take(3)
    story.take(4)
    world = story.world()
    full, _lost, last = world.chain.ledger.read_bytes().splitlines(keepends=True)
    world.chain.ledger.write_bytes(full + last)
    assert any("begins at byte" in problem.what for problem in world.problems())
    taken = world.take()
    assert taken.full
    assert "does not join" in taken.reason
    assert world.recovered() == world.source


@pytest.mark.parametrize("cut", [1, 30, 60])
def test_a_torn_last_line_of_the_ledger_is_healed(story, cut):
    story.take(2)
    delta = story.take(4)
    world = story.world()
    path = world.chain.ledger
    path.write_bytes(path.read_bytes()[:-cut])
    if cut > 1:
        with pytest.raises((ValueError, RepozoError)):
            world.repozo("-V")
    assert len(world.problems()) == (2 if cut > 1 else 0)
    taken = world.take()
    assert (taken.changed, taken.stamp) == (False, delta.stamp)
    story.grow(5)
    world.now += HOUR
    assert world.take().chain == delta.chain
    world.check()


def test_a_line_that_repozo_appended_to_a_torn_one_is_found(story):
    story.take(2)
    story.take(4)
    world = story.world()
    path = world.chain.ledger
    path.write_bytes(path.read_bytes()[:-1])
    story.grow(5)
    world.repozo_backup("-Q")
    assert path.read_bytes().count(b"\n") == 2
    assert world.recovered() == world.source
    assert len(world.chain.parts) == 3


def test_an_orphan_that_is_not_what_comes_next_is_set_aside(story):
    story.take(2)
    world = story.world()
    stray = world.directory / "2026-12-01-00-00-00.deltafs"
    stray.write_bytes(b"something else")
    story.grow(4)
    taken = world.take()
    assert not taken.full
    assert stray.with_name(stray.name + ".orphan").read_bytes() == b"something else"
    assert taken.stamp == "2026-12-01-00-00-01"
    assert "renamed" in taken.healed[0]
    world.check()


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="no file that gives EIO here")
def test_an_orphan_that_a_disk_cannot_read_is_set_aside(story):
    story.take(2)
    world = story.world()
    name = "2026-12-01-00-00-00.deltafs"
    (world.directory / name).symlink_to("/proc/self/mem")
    assert not world.take().changed
    assert f"{name}.orphan" in world.names
    world.check()


def test_an_orphan_that_ends_within_a_transaction_is_set_aside(story):
    story.take(2)
    story.grow(4)
    world = story.world()
    stray = world.directory / "2026-12-01-00-00-00.deltafs"
    stray.write_bytes(world.source[story.ends[2] : -5])
    assert not world.take().full
    assert stray.with_name(stray.name + ".orphan").exists()
    world.check()


@pytest.mark.parametrize("gzip", [(), ("-z",)])
def test_a_full_backup_without_its_ledger_is_adopted(story, gzip):
    story.grow(2)
    world = story.world()
    world.repozo_backup("-F", *gzip)
    for path in world.directory.glob("*.dat"):
        path.unlink()
    [problem] = world.problems()
    story.grow(4)
    world.now += HOUR
    taken = world.take()
    assert not taken.full
    world.check()


def test_a_full_backup_of_something_else_is_set_aside(story):
    story.take(2)
    world = story.world()
    (world.directory / "2026-12-01-00-00-00.fs").write_bytes(b"FS30 of another site")
    story.grow(4)
    assert not world.take().full
    assert "2026-12-01-00-00-00.fs.orphan" in world.names
    world.check()


def test_an_orphan_with_a_stamp_that_does_not_exist_is_set_aside(story):
    story.take(2)
    world = story.world()
    name = "2026-13-41-99-00-00.deltafs"
    story.grow(4)
    (world.directory / name).write_bytes(story.log[story.ends[2] : story.ends[3]])
    assert not world.take().full
    assert f"{name}.orphan" in world.names
    world.check()


def test_an_orphan_is_no_part_of_a_chain_of_another_filestorage(story):
    """Its bytes come next, but what is before them is not what was backed up."""
    story.take(2)
    story.grow(4)
    world = story.world()
    delta = story.log[story.ends[2] : story.ends[4]]
    (world.directory / "2026-12-01-00-00-00.deltafs").write_bytes(delta)
    data = bytearray(world.source)
    data[60] ^= 1
    world.source = data
    taken = world.take()
    assert taken.full
    assert "2026-12-01-00-00-00.deltafs.orphan" in world.names
    assert [len(chain.parts) for chain in world.chains] == [1, 1]


def test_an_orphan_that_comes_next_by_its_bytes_but_not_by_its_stamp_is_set_aside(story):
    story.take(2)
    story.take(3)
    story.grow(4)
    world = story.world()
    between = f"{world.chain.stamp[:-2]}30.deltafs"
    (world.directory / between).write_bytes(story.log[story.ends[3] : story.ends[4]])
    assert world.take().full
    assert f"{between}.orphan" in world.names
    world.check()


def test_a_torn_line_without_a_file_is_taken_out(story):
    story.take(2)
    world = story.world()
    ledger = world.chain.ledger.read_bytes()
    world.chain.ledger.write_bytes(ledger + b"2026-03-01-20-00-0")
    taken = world.take()
    assert not taken.changed
    assert "took line 2 out of" in taken.healed[0]
    assert world.chain.ledger.read_bytes() == ledger
    world.check()


def test_what_is_set_aside_overwrites_nothing(story):
    story.take(2)
    world = story.world()
    name = "2026-12-01-00-00-00.deltafs"
    (world.directory / f"{name}.orphan").write_bytes(b"first")
    (world.directory / name).write_bytes(b"second")
    world.take()
    assert (world.directory / f"{name}.orphan").read_bytes() == b"first"
    assert (world.directory / f"{name}.orphan1").read_bytes() == b"second"


def test_temporary_files_of_runs_that_died_are_swept(story):
    story.take(2)
    world = story.world()
    (world.directory / "tmp.tmp").write_bytes(b"of repozo")
    (world.directory / "2026-12-01-00-00-00.fsz.0123abcd.partial").write_bytes(b"of ours")
    (world.directory / "foreign.txt").write_bytes(b"of somebody")
    story.check_next(world)
    assert "foreign.txt" in world.names


# every change


def backup(world, files, **orders):
    world.take(files=files, **orders)


def test_the_first_backup_may_die_anywhere(story):
    def check(world, outcome):
        excused(world)
        assert restorable(world) in ([], [story.ends[3]])
        assert outcome is not None or restorable(world) == [story.ends[3]]
        story.check_next(world)

    assert story.survives(backup, check, 3) > 40


def test_an_incremental_backup_may_die_anywhere(story):
    story.take(2)
    story.take(3)

    def check(world, outcome):
        excused(world)
        before = story.ends[2:4]
        assert restorable(world) in (before, [*before, story.ends[5]])
        assert outcome is not None or len(restorable(world)) == 3
        assert not story.check_next(world).full

    assert story.survives(backup, check, 5) > 40


def test_a_second_full_backup_may_die_anywhere(story):
    story.take(2)
    story.take(3)

    def act(world, files):
        world.take(files=files, full=True, level=None)

    def check(world, outcome):
        excused(world)
        before = story.ends[2:4]
        assert restorable(world) in (before, [*before, story.ends[3]])
        assert outcome is not None or len(restorable(world)) == 3
        story.check_next(world)

    assert story.survives(act, check, 3) > 40


def test_healing_may_die_anywhere(story):
    """An orphan to adopt, one to set aside, a torn ledger, temporary files: all at once."""
    story.take(2)
    story.take(3)
    ledger = story.vault.chain.ledger
    lines = ledger.read_bytes()
    story.take(4)
    ledger.write_bytes(lines + b"2026-03-01-20-0")
    directory = story.vault.directory
    (directory / "tmp.tmp").write_bytes(b"of repozo")
    (directory / "2026-03-30-00-00-00.fsz.0123abcd.partial").write_bytes(b"of ours")
    (directory / "2026-03-30-00-00-00.deltafs").write_bytes(b"of nobody")

    def check(world, outcome):
        assert restorable(world) in (story.ends[2:4], story.ends[2:5], story.ends[2:6])
        taken = world.take()
        assert not taken.full
        aside = [name for name in world.names if name.endswith(".orphan")]
        assert aside == ["2026-03-30-00-00-00.deltafs.orphan"]
        (world.directory / aside[0]).unlink()
        story.check_next(world)

    assert story.survives(backup, check, 5) > 60


def prune(world, files):
    remove_chain(world.chains[0], files)


def test_a_removal_may_die_anywhere(story):
    story.take(2)
    story.take(3)
    story.take(3, full=True)
    story.take(4)
    old, new = story.ends[2:4], story.ends[3:5]

    def check(world, outcome):
        assert world.problems() == []
        assert restorable(world) in (old + new, new)
        assert outcome is not None or restorable(world) == new
        world.repozo("-V")
        assert world.repozo_recovered() == world.source
        story.check_next(world)
        if world.chains[0].parts[0].end != story.ends[2]:
            assert not any(name < world.chains[0].stamp for name in world.names)

    assert story.survives(prune, check, 4) > 25


def merge_middle(world, files):
    merge(world.chain, world.chain.parts[1:4], files=files, progress=Silent())


@pytest.mark.parametrize(
    ("level", "faults"), [(None, tuple(Fault)), (2, [Fault.BEFORE])], ids=["plain", "gzip"]
)
def test_a_merge_may_die_anywhere(story, level, faults):
    story.take(1)
    for commits in range(2, 6):
        story.take(commits, level=level)

    def check(world, outcome):
        assert world.problems() == []
        all_of_them, merged = story.ends[1:6], [story.ends[1], *story.ends[4:6]]
        assert restorable(world) in (all_of_them, merged)
        assert outcome is not None or restorable(world) == merged
        inside = world.site.tids()[4]
        assert world.recovered(until=inside) == story.log[: story.ends[3]]
        assert not story.check_next(world).changed

    assert story.survives(merge_middle, check, 5, faults=faults) > 20


# merge and prune, when nothing goes wrong


def test_a_merge_leaves_one_file_in_place_of_several(story):
    story.take(1)
    for commits in range(2, 6):
        story.take(commits, level=None)
    world = story.world()
    names = [part.name for part in world.chain.parts]
    merge_middle(world, Files())
    assert [part.name for part in world.chain.parts] == [names[0], f"{names[3]}z", names[4]]
    assert [name for name in world.names if is_data_file(name)] == [
        names[0],
        f"{names[3]}z",
        names[4],
    ]
    world.check()
    with TransactionLog(world.site.filestorage) as log:
        for transaction in log.transactions():
            assert world.recovered(until=transaction.tid) == world.source[: transaction.end]
    assert not world.take().changed
    merge(world.chain, world.chain.parts[1:], files=Files(), progress=Silent())
    world.check()


@pytest.mark.parametrize("choice", [slice(0, 3), slice(2, 3), slice(0, 0), slice(1, 4, 2)])
def test_only_consecutive_deltas_can_be_merged(story, choice):
    for commits in range(1, 6):
        story.take(commits)
    world = story.world()
    files = FaultyFiles()
    with pytest.raises(BackupError, match="consecutive"):
        merge(world.chain, world.chain.parts[choice], files=files, progress=Silent())
    assert files.changes == []


def merge_all(world):
    merge(world.chain, world.chain.parts[1:], files=Files(), progress=Silent())


def merge_all_to_damage(world):
    merge_all(world)
    path = world.chain.path(world.chain.last)
    path.write_bytes(path.read_bytes()[:-1])


def remove_all(world):
    remove_chain(world.chains[0], Files())


@pytest.mark.parametrize("change", [merge_all, merge_all_to_damage, remove_all])
def test_what_changes_while_it_is_verified_is_no_problem(story, change):
    """And what a merge puts in the place of others is verified in their stead."""
    for commits in range(1, 6):
        story.take(commits, level=None)
    world = story.world()
    asked = []

    def wants(_chain, part):
        asked.append(part.name)
        # once to know how much there is, then once before each is read
        if len(asked) == 5 + 3:
            change(world)
        return True

    problems = list(verify_contents(world.directory, Silent(), wants))
    if change is merge_all_to_damage:
        assert [problem.where for problem in problems] == [str(world.chain.path(world.chain.last))]
    else:
        assert problems == []
    assert len(asked) == 5 + 3 + (change is not remove_all)


def test_a_damaged_delta_is_not_merged(story):
    for commits in range(1, 6):
        story.take(commits)
    world = story.world()
    damaged = world.chain.path(world.chain.parts[2])
    damaged.write_bytes(damaged.read_bytes()[:-10])
    before = {name: (world.directory / name).read_bytes() for name in world.names}
    with pytest.raises(IntegrityError, match=damaged.name):
        merge_middle(world, Files())
    assert {name: (world.directory / name).read_bytes() for name in world.names} == before


def test_a_removal_leaves_files_that_it_does_not_know(story):
    story.take(2)
    story.take(3)
    story.take(3, full=True)
    world = story.world()
    old = world.chains[0]
    (world.directory / f"{old.stamp}.txt").write_bytes(b"of somebody")
    (world.directory / f"{old.stamp}.index").write_bytes(b"of the chain")
    prune(world, Files())
    assert [name for name in world.names if name < world.chain.stamp] == [f"{old.stamp}.txt"]


def test_the_newest_file_of_a_chain_goes_first(story):
    """So what is left at any moment is a chain that repozo can recover."""
    story.take(2)
    story.take(3)
    story.take(4)
    story.take(4, full=True)
    world = story.world()
    names = [part.name for part in world.chains[0].parts]
    files = FaultyFiles()
    prune(world, files)
    removed = [path.name for operation, path in files.changes if operation == "unlink"]
    assert [name for name in removed if is_data_file(name)] == names[::-1]
    assert removed[-1].endswith(".dat.pruned")


def test_a_journal_of_a_merge_that_does_not_fit_removes_nothing(story):
    story.take(1)
    for commits in range(2, 6):
        story.take(commits)
    world = story.world()
    names = world.names
    chain = world.chain
    stranger = chain.last._replace(name="2026-12-01-00-00-00.deltafs")
    journal = chain.ledger.with_name(f"{chain.ledger.name}.merging")
    journal.write_bytes(render([*chain.parts[2:4], stranger, stranger]))
    taken = world.take()
    assert f"renamed {journal.name}" in taken.healed[0]
    assert set(world.names) == {*names, f"{journal.name}.orphan"}
    world.check()


@pytest.mark.parametrize("line", [0, 1, 2, 3])
def test_a_damaged_journal_of_a_merge_removes_nothing_that_the_ledger_names(story, line):
    """A line that cannot be read is not there, and another one may seem to be the last."""
    story.take(1)
    for commits in range(2, 6):
        story.take(commits)
    world = story.world()
    names, chain = world.names, world.chain
    journal = chain.ledger.with_name(f"{chain.ledger.name}.merging")
    together = chain.parts[1:4]
    merged = chain.parts[3]._replace(name=f"{chain.parts[3].stamp}.deltafs", checksum="0" * 32)
    lines = render([*together, merged]).splitlines(keepends=True)
    lines[line] = lines[line].replace(b" ", b"?", 1)
    journal.write_bytes(b"".join(lines))
    assert not world.take().changed
    assert set(names) <= set(world.names)
    world.check()


def test_zeros_over_the_journal_of_a_merge_cost_no_backup(story):
    """Wherever the merge died."""
    story.take(1)
    for commits in range(2, 6):
        story.take(commits)
    met = 0
    for at in itertools.count(1):
        world = story.world()
        files = FaultyFiles(Fault.AFTER, at)
        try:
            merge(world.chain, world.chain.parts[1:4], files=files, progress=Silent())
        except Crash:
            pass
        else:
            break
        for journal in world.directory.glob("*.merging"):
            journal.write_bytes(bytes(journal.stat().st_size))
            met += 1
        world.take()
        world.check()
    assert met


def test_a_chain_is_removed_without_a_file_that_another_ledger_names(story):
    """Damage, or a program that wrote to the wrong ledger, must not cost the other chain."""
    story.take(1)
    story.take(2)
    story.take(2, full=True)
    story.take(3)
    world = story.world()
    older, newer = world.chains
    older.ledger.write_bytes(older.ledger.read_bytes() + newer.ledger.read_bytes())
    prune(world, Files())
    assert world.chains == (newer,)
    world.check()


def test_a_pruned_chain_that_was_merging_goes_as_a_whole(story):
    story.take(1)
    for commits in range(2, 6):
        story.take(commits)
    story.take(5, full=True)
    world = story.world()
    with pytest.raises(Crash):
        merge(
            world.chains[0],
            world.chains[0].parts[1:4],
            files=FaultyFiles(Fault.AFTER, 15),
            progress=Silent(),
        )
    prune(world, Files())
    assert {name[:19] for name in world.names} == {world.chain.stamp}
