"""What verify and rehearse found damaged: it is remembered, shown, and makes a new chain begin."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from collective.recipe.backup.cli import main
from collective.recipe.backup.destinations import Depth, Outcome, damage
from collective.recipe.backup.destinations.damage import DamageFinding, Look
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.files import Files
from collective.recipe.backup.model import Problem, RestorePoint
from collective.recipe.backup.operations import rehearse as rehearsal
from collective.recipe.backup.operations.backup import back_up, tidy_now
from collective.recipe.backup.operations.prune import prune
from collective.recipe.backup.operations.status import status
from collective.recipe.backup.operations.verify import VerifyOrder, verify
from collective.recipe.backup.progress import PhaseManager, Silent
from collective.recipe.backup.tests.faults.harness import FaultyFiles
from collective.recipe.backup.tests.runs import NOON, Operated
from collective.recipe.backup.tests.samples import Site, contents_of

REASON = "(damage was found in the newest chain)"


@pytest.fixture(params=[{}, {"blob_snapshots": "each"}, {"archive_blob": True}])
def operated(site: Site, request) -> Operated:
    """A site with two chains, the newer one of three restore points."""
    operated = Operated(site, keep=0, **request.param)
    for number in range(4):
        site.commit({"a": number}, {f"b{number}": b"blob %d" % number})
        operated.backup(full=number == 1)
    return operated


def looked_at(operated: Operated, **order) -> list[Problem]:
    problems: list[Problem] = []
    operated.now += timedelta(minutes=1)
    verify(
        operated.run("verify"), VerifyOrder(**order), lambda _source, each: problems.append(each)
    )
    return problems


def rehearsed(operated: Operated, **order) -> list[rehearsal.Rehearsed]:
    operated.now += timedelta(minutes=1)
    made = rehearsal.RehearseOrder(draw=lambda points: points[0], **order)
    return rehearsal.rehearse(operated.run("rehearse"), made, lambda _done: None)


def damaged(operated: Operated) -> list[bool]:
    return [point.damaged for point in operated.points()]


def flip(path: Path) -> None:
    """Change a byte as a disk does: size and time stay."""
    times = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def part(operated: Operated, number: int) -> Path:
    """Return the data file of a restore point."""
    [path] = operated.place().filestorage.glob(f"{operated.points()[number].stamp}.*fsz")
    return path


def memory(operated: Operated) -> Path:
    return operated.place().filestorage / damage.NAME


def kept(operated: Operated, keep: int) -> Operated:
    """Return the same site with another *keep*."""
    again = Operated(operated.site, **{**dataclasses.asdict(operated.config.options), "keep": keep})
    again.now = operated.now
    return again


def backed_up(operated: Operated, caplog) -> tuple[Outcome, str]:
    caplog.clear()
    caplog.set_level("INFO", "backup")
    return operated.backup(), caplog.text


def test_what_verify_found_is_in_the_list_until_it_is_whole_again(
    operated: Operated, capsys
) -> None:
    whole = part(operated, 2).read_bytes()
    flip(part(operated, 2))
    assert damaged(operated) == [False] * 4

    assert looked_at(operated)

    assert damaged(operated) == [False, False, True, True]
    assert main("list", "standard", operated.config_path, []) == 0
    lines = capsys.readouterr().out.splitlines()
    words = f"damaged, as found on {operated.now:%Y-%m-%d %H:%M} UTC: {part(operated, 2).name}: "
    assert [words in line for line in lines[1:5]] == [False, False, True, True]
    assert main("list", "standard", operated.config_path, ["--json"]) == 0
    [storage] = json.loads(capsys.readouterr().out)["storages"]
    assert [each["whole"] for each in storage["restore_points"]] == [True, True, False, False]
    assert [each["damaged"] for each in storage["restore_points"]] == damaged(operated)
    [counted] = status(operated.run("status")).storages
    assert (counted.count, counted.whole) == (4, 2)
    assert counted.newest is not None
    assert counted.newest.stamp == operated.points()[1].stamp

    part(operated, 2).write_bytes(whole)
    assert looked_at(operated) == []
    assert damaged(operated) == [False] * 4
    assert not memory(operated).exists()


def test_a_finding_keeps_its_first_date(operated: Operated) -> None:
    flip(part(operated, 2))
    looked_at(operated)
    first = damage.read(operated.place().filestorage).findings
    written = memory(operated).stat().st_ino
    looked_at(operated)
    assert damage.read(operated.place().filestorage).findings == first
    assert memory(operated).stat().st_ino == written


def test_the_next_backup_begins_a_new_chain_by_itself_and_says_why(
    operated: Operated, caplog, tmp_path: Path
) -> None:
    flip(part(operated, 2))
    looked_at(operated)

    outcome, said = backed_up(operated, caplog)

    assert outcome.changed
    assert outcome.point.full
    assert REASON in said
    assert damaged(operated) == [False, False, True, True, False]
    # and once is enough
    outcome, said = backed_up(operated, caplog)
    assert not outcome.changed
    contents = operated.site.contents()
    operated.site.lose()
    operated.restore()
    assert contents_of(operated.site.filestorage, operated.site.blobstorage) == contents


def test_damage_in_an_older_chain_makes_no_new_one(operated: Operated) -> None:
    flip(part(operated, 0))
    looked_at(operated)
    assert damaged(operated) == [True, False, False, False]
    assert not operated.backup().changed


def test_a_rehearsal_finds_and_clears_as_well(operated: Operated) -> None:
    whole = part(operated, 2).read_bytes()
    flip(part(operated, 2))
    [done] = rehearsed(operated)
    assert done.problem is not None
    assert damaged(operated) == [False, False, True, True]

    part(operated, 2).write_bytes(whole)
    [done] = rehearsed(operated)
    assert done.problem is None
    # of an earlier one that has blobs of its own nobody has read those
    own = operated.points()[2].blobs != operated.points()[3].blobs
    assert damaged(operated) == [False, False, own, False]

    rehearsed(operated, which=rehearsal.Which.EACH)
    assert damaged(operated) == [False] * 4
    assert not memory(operated).exists()


def test_a_restore_point_that_is_found_whole_says_nothing_of_later_ones(operated: Operated) -> None:
    flip(part(operated, 3))
    looked_at(operated)
    rehearsed(operated, when=operated.points()[2].moment)
    looked_at(operated, when=operated.points()[2].moment)
    assert damaged(operated) == [False, False, False, True]


def test_a_quick_look_or_a_sample_makes_nothing_whole(operated: Operated) -> None:
    flip(part(operated, 3))
    looked_at(operated)
    looked_at(operated, depth=Depth.NAMES)
    looked_at(operated, share=Fraction(1, 10**6))
    assert damaged(operated) == [False, False, False, True]


def test_a_sample_that_meets_damage_remembers_it(operated: Operated) -> None:
    flip(part(operated, 3))
    for _number in range(4):
        looked_at(operated, share=Fraction(1, 4))
    assert damaged(operated) == [False, False, False, True]


def test_what_was_found_before_an_interrupt_is_remembered(operated: Operated) -> None:
    flip(part(operated, 2))

    def noted(_source, problem):
        seen.append(problem)
        if len(seen) > 1:
            raise KeyboardInterrupt

    seen: list[Problem] = []
    flip(part(operated, 3))
    with pytest.raises(KeyboardInterrupt):
        verify(operated.run("verify"), VerifyOrder(), noted)
    assert damaged(operated) == [False, False, True, True]


def test_what_can_be_restored_all_the_same_is_not_damaged(operated: Operated) -> None:
    for path in operated.place().filestorage.glob("*.index"):
        flip(path)
    assert looked_at(operated)
    # the time in the head of a gzip file
    data = bytearray(part(operated, 3).read_bytes())
    data[4] ^= 1
    part(operated, 3).write_bytes(data)
    assert part(operated, 3).name in " ".join(each.where for each in looked_at(operated))
    assert damaged(operated) == [False] * 4
    assert not memory(operated).exists()


def test_pruned_restore_points_are_forgotten(operated: Operated) -> None:
    flip(part(operated, 0))
    looked_at(operated)
    [destination] = operated.run("prune").destinations()
    first = operated.points()[0].chain
    destination.remove([point for point in operated.points() if point.chain == first])
    assert looked_at(operated) == []
    assert not memory(operated).exists()


def test_nothing_is_paid_where_nothing_is_damaged(operated: Operated) -> None:
    looked_at(operated)
    rehearsed(operated)
    files = FaultyFiles()
    operated.backup(files=files)
    assert damage.NAME not in {path.name for _operation, path in files.changes}


ILLEGIBLE = [b"", b"{", b"[]", b"7", b'{"format": 1, "findings": {}}', bytes(300)]


@pytest.mark.parametrize("content", ILLEGIBLE)
def test_a_memory_that_cannot_be_read_is_a_reason_to_remove_nothing(
    site: Site, caplog, content: bytes
) -> None:
    operated = Operated(site, keep=0)
    for number in range(2):
        site.commit({"a": number}, {f"b{number}": b"blob %d" % number})
        operated.backup(full=True)
    good, bad = operated.points()
    flip(part(operated, 1))
    looked_at(operated)
    memory(operated).write_bytes(content)

    one = kept(operated, 1)
    [planned] = prune(one.run("prune"))

    assert planned.plan.removed == ()
    assert operated.points()[0].stamp == good.stamp
    assert "what verify found cannot be read of 2 restore points" in caplog.text
    reasons = {made.point.stamp: made.reasons for made in planned.plan.decisions}
    assert "what verify found cannot be read" in reasons[good.stamp]

    # verify finds out anew which is the good one, and then that stays
    looked_at(operated)
    prune(one.run("prune"))
    assert [point.sound for point in operated.points()] == [True, False]
    assert operated.points()[1].stamp == bad.stamp


@pytest.mark.slow
@pytest.mark.parametrize("content", ILLEGIBLE)
def test_nothing_is_built_on_what_may_have_been_found_damaged(
    operated: Operated, caplog, content: bytes
) -> None:
    flip(part(operated, 2))
    looked_at(operated)
    memory(operated).write_bytes(content)

    outcome, said = backed_up(operated, caplog)

    assert outcome.point.full
    assert "(what verify found of the newest chain cannot be read)" in said
    # once is enough, and yet nothing goes
    operated.site.commit({"a": "later"})
    outcome, _said = backed_up(operated, caplog)
    assert not outcome.point.full
    assert [point.forgotten for point in operated.points()] == [True] * 4 + [False] * 2
    prune(kept(operated, 1).run("prune"))
    assert len(operated.points()) == 6


def test_a_byte_of_the_memory_that_flips_is_met_and_verify_heals_it(operated: Operated) -> None:
    flip(part(operated, 2))
    looked_at(operated)
    flip(memory(operated))
    assert [point.forgotten for point in operated.points()] == [True] * 4
    looked_at(operated, depth=Depth.NAMES)
    looked_at(operated, when=operated.points()[0].moment)
    assert [point.forgotten for point in operated.points()] == [False, True, True, True]
    looked_at(operated)
    assert [point.forgotten for point in operated.points()] == [False] * 4
    assert damaged(operated) == [False, False, True, True]


def test_a_memory_that_is_lost_is_told_by_every_verb_that_goes_by_it(
    operated: Operated, capsys
) -> None:
    memory(operated).write_bytes(b"{")
    for verb, *arguments in (["list"], ["restore", "--no-prompt"], ["prune", "--dry-run"]):
        assert main(verb, "standard", operated.config_path, arguments) == 0
        assert "WARNING: what verify found cannot be read" in capsys.readouterr().err
    assert main("status", "standard", operated.config_path, ["--nagios"]) == 1
    assert "what verify found cannot be read" in capsys.readouterr().out
    main("doctor", "standard", operated.config_path, [])
    assert "what verify found cannot be read" in capsys.readouterr().out
    assert main("verify", "standard", operated.config_path, []) == 0
    assert not memory(operated).exists()
    capsys.readouterr()
    assert main("list", "standard", operated.config_path, []) == 0
    assert "cannot be read" not in capsys.readouterr().err


def test_where_the_memory_cannot_be_written_anew_a_backup_is_made_and_it_is_said(
    operated: Operated, caplog
) -> None:
    memory(operated).mkdir()
    for _number in range(2):
        outcome, said = backed_up(operated, caplog)
        assert outcome.point.full
        assert "cannot note again what verify found" in said


def test_damage_that_cannot_be_noted_is_reported(operated: Operated, caplog) -> None:
    flip(part(operated, 3))
    memory(operated).mkdir()
    assert looked_at(operated)
    assert "cannot remember what was found" in caplog.text


# merges


class Meanwhile(Silent):
    """The Progress of a look in whose middle something else happens."""

    def __init__(self, title: str, happens: Callable[[], object]) -> None:
        self._title = title
        self._happens: list[Callable[[], object]] = [happens]

    def phase(self, title: str, total: int, unit: str = "B") -> PhaseManager:
        if title == self._title and self._happens:
            self._happens.pop()()
        return super().phase(title, total, unit)


def of_one_hour(site: Site, **options: Any) -> Operated:
    """Return a site with a full backup and three small ones that a merge makes one of."""
    operated = Operated(site, keep=0, **options)
    for number in range(4):
        site.commit({"a": number})
        operated.now += timedelta(minutes=10)
        back_up(replace(operated.run("backup"), following=True))
    return operated


def merged(operated: Operated) -> None:
    tidy_now(replace(operated.run("follow"), now=NOON + timedelta(hours=1)))


def test_a_merge_in_the_middle_of_a_rehearsal_is_no_damage(site: Site) -> None:
    operated = of_one_hour(site)
    before = operated.points()
    progress = Meanwhile("restoring the filestorage", lambda: merged(operated))

    [done] = rehearsal.rehearse(
        replace(operated.run("rehearse"), progress=progress),
        rehearsal.RehearseOrder(draw=lambda points: points[0]),
        lambda _done: None,
    )

    assert len(operated.points()) == len(before) - 2
    assert (done.choice.point.stamp, done.problem) == (before[-1].stamp, None)
    assert not memory(operated).exists()


@pytest.mark.parametrize(
    ("depth", "title"),
    [
        (Depth.CHECKSUMS, "verifying the filestorage"),
        (Depth.RECORDS, "verifying the filestorage"),
        (Depth.RECORDS, "verifying the records"),
    ],
)
def test_a_merge_in_the_middle_of_a_look_is_no_damage(site: Site, depth: Depth, title: str) -> None:
    operated = of_one_hour(site)
    progress = Meanwhile(title, lambda: merged(operated))
    found: list[Problem] = []
    verify(
        replace(operated.run("verify"), progress=progress),
        VerifyOrder(depth=depth),
        lambda _source, problem: found.append(problem),
    )
    assert found == []


def test_what_was_merged_meanwhile_is_looked_at(site: Site) -> None:
    """A record that was written so is in the merged file as well."""
    operated = Operated(site, keep=0)
    for number in range(4):
        if number == 3:
            site.commit({"a": "a text"})
            data = site.filestorage.read_bytes()
            site.filestorage.write_bytes(data.replace(b"X\x06\0\0\0a", b"X\xff\0\0\0a"))
        else:
            site.commit({"a": number})
        operated.now += timedelta(minutes=10)
        back_up(replace(operated.run("backup"), following=True))
    progress = Meanwhile("verifying the records", lambda: merged(operated))
    found: list[Problem] = []
    verify(
        replace(operated.run("verify"), progress=progress),
        VerifyOrder(depth=Depth.RECORDS),
        lambda _source, problem: found.append(problem),
    )
    assert [each.inherited for each in found] == [True]
    assert Path(found[0].where).suffix == ".deltafsz"


def test_damage_that_a_merge_meets_is_remembered_so_that_following_can_go_on(
    site: Site, caplog
) -> None:
    """It ends with the error once; who starts it again has a new chain."""
    operated = of_one_hour(site)
    [small] = operated.place().filestorage.glob(f"{operated.points()[2].stamp}.deltafs")
    flip(small)

    with pytest.raises(IntegrityError):
        merged(operated)

    assert damaged(operated) == [False, False, True, True]
    outcome, said = backed_up(operated, caplog)
    assert outcome.point.full
    assert REASON in said
    merged(operated)


# blobs


@pytest.fixture(params=[{}, {"blob_snapshots": "each"}, {"use_rsync": True}])
def with_blobs(site: Site, request) -> Operated:
    """A site whose blobs are in trees, two restore points in one chain."""
    operated = Operated(site, keep=0, **request.param)
    site.commit({}, {"old": b"blob of the first"})
    operated.backup()
    site.commit({}, {"new": b"blob of the second"})
    operated.backup()
    return operated


def stored_blob(operated: Operated, data: bytes) -> Path:
    """Return one file of the backups that holds *data*."""
    directory = operated.place().blobstorage
    assert directory is not None
    return next(path for path in sorted(directory.rglob("*.blob")) if path.read_bytes() == data)


def test_a_damaged_blob_spoils_those_that_can_name_it(with_blobs: Operated) -> None:
    flip(stored_blob(with_blobs, b"blob of the second"))
    looked_at(with_blobs)
    assert damaged(with_blobs) == [False, True]


def test_the_new_chain_is_not_linked_to_what_is_damaged(with_blobs: Operated, caplog) -> None:
    flip(stored_blob(with_blobs, b"blob of the first"))
    looked_at(with_blobs)
    assert damaged(with_blobs) == [True, True]

    outcome, said = backed_up(with_blobs, caplog)

    assert outcome.point.full
    assert REASON in said
    assert [each for each in rehearsed(with_blobs) if each.problem] == []
    looked_at(with_blobs)
    assert damaged(with_blobs) == [True, True, False]
    # what is whole there is linked all the same
    assert stored_blob(with_blobs, b"blob of the second").stat().st_nlink > 1


@pytest.mark.parametrize("look", [looked_at, rehearsed])
@pytest.mark.parametrize(
    "options", [{"blob_snapshots": "each"}, {"archive_blob": True, "incremental_blobs": False}]
)
def test_a_whole_one_says_nothing_of_blobs_that_an_earlier_one_holds_alone(
    site: Site, options: dict[str, Any], look: Callable[..., object]
) -> None:
    """As a tree on a disk without hard links, or an archive."""
    operated = Operated(site, keep=0, **options)
    for number in range(2):
        site.commit({}, {f"b{number}": b"blob %d" % number})
        operated.backup()
    first, last = operated.points()
    directory = operated.place().blobstorage
    assert directory is not None
    held = directory / str(first.blobs)
    if held.is_dir():
        held = stored_blob(operated, b"blob 0")
        data = held.read_bytes()
        held.unlink()
        held.write_bytes(data)
    flip(held)
    looked_at(operated)
    assert damaged(operated) == [True, False]

    look(operated, when=last.moment)

    assert damaged(operated) == [True, False]


def test_an_archive_is_verified_with_what_it_builds_on(site: Site) -> None:
    operated = Operated(site, keep=0, archive_blob=True, incremental_blobs=True)
    for number in range(2):
        site.commit({}, {f"b{number}": b"blob %d" % number})
        operated.backup()
    first, last = operated.points()
    directory = operated.place().blobstorage
    assert directory is not None
    flip(directory / str(first.blobs))

    assert looked_at(operated, when=last.moment)

    assert damaged(operated) == [True, True]


def test_only_blobs_are_remembered_as_well(site: Site) -> None:
    operated = Operated(site, only_blobs=True, keep=0)
    site.commit({}, {"old": b"blob of the first"})
    operated.backup()
    flip(stored_blob(operated, b"blob of the first"))
    looked_at(operated)
    assert damaged(operated) == [True]
    outcome = operated.backup()
    assert outcome.changed
    assert damaged(operated) == [True, False]
    assert looked_at(operated, when=outcome.point.moment) == []


# the room


def made(stamp: str, chain: str) -> RestorePoint:
    return RestorePoint(stamp=stamp, chain=chain, end=4)


OLD, NEW = "2026-03-01-12-00-00", "2026-03-02-12-00-00"


def test_what_the_site_had_is_cleared_only_by_who_loads_it(tmp_path: Path) -> None:
    files = Files()
    inherited = DamageFinding(found=NOON, what="it does not load", inherited=True)
    damage.remember(tmp_path, Look(findings={OLD: inherited}), [OLD], files)
    damage.remember(tmp_path, Look(findings={}, read=[OLD]), [OLD], files)
    [point] = damage.marked([made(OLD, OLD)], tmp_path)
    assert (point.whole, point.damaged, point.sound) == (False, False, True)
    assert not damage.why_new_chain(tmp_path, [point])
    damage.remember(tmp_path, Look(findings={}, read=[OLD], loaded=True), [OLD], files)
    assert not damage.read(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_damage_of_the_backup_weighs_more_than_damage_of_the_site(tmp_path: Path) -> None:
    files = Files()
    inherited = DamageFinding(found=NOON, what="it does not load", inherited=True)
    stored = DamageFinding(found=NOON + timedelta(days=1), what="damaged gzip")
    for each in inherited, stored, inherited:
        damage.remember(tmp_path, Look(findings={OLD: each}), [OLD, NEW], files)
    assert damage.read(tmp_path).findings == {OLD: stored}
    points = [made(OLD, OLD), made(NEW, OLD)]
    assert damage.why_new_chain(tmp_path, points)
    assert not damage.why_new_chain(tmp_path, [made(OLD, OLD), made(NEW, NEW)])
