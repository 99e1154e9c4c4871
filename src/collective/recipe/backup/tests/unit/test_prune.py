"""Prune: the plan with its reasons, and what it does."""

from __future__ import annotations

import itertools
import json
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from collective.recipe.backup import locking
from collective.recipe.backup.cli import main
from collective.recipe.backup.config import SNAPSHOT, STANDARD
from collective.recipe.backup.errors import InUse
from collective.recipe.backup.operations.backup import tidy_now
from collective.recipe.backup.operations.prune import plan, prune
from collective.recipe.backup.retention import Policy
from collective.recipe.backup.tests.faults.harness import (
    Dying,
    Fault,
    FaultyFiles,
    survive_every_fault,
)
from collective.recipe.backup.tests.runs import NOON, Operated, copied
from collective.recipe.backup.tests.samples import Site, contents_of


def grown(site: Site, days: int = 5, **options) -> Operated:
    """Return a site with a full backup of each of some days, nothing removed yet."""
    operated = Operated(site, **{**options, "keep": 0})
    for day in range(days):
        operated.now = NOON + timedelta(days=day)
        site.commit({"day": day}, {f"b{day}": b"%d" % day})
        operated.backup(full=True)
    return rekept(operated, **options)


def rekept(operated: Operated, **options) -> Operated:
    """Return the same site with other options."""
    again = Operated(operated.site, **options)
    again.now = operated.now
    return again


SURE = "--clock-is-right"
"""The samples are months old."""


def stamps(operated: Operated) -> list[str]:
    return [point.stamp[:10] for point in operated.points()]


def test_the_policy_is_that_of_the_options(site: Site) -> None:
    operated = Operated(
        site,
        keep=3,
        keep_hourly=4,
        keep_daily=5,
        keep_weekly=6,
        keep_monthly=7,
        keep_yearly=8,
        keep_within=timedelta(days=9),
    )
    assert operated.run("prune").policy == Policy(
        keep=3, hourly=4, daily=5, weekly=6, monthly=7, yearly=8, within=timedelta(days=9)
    )
    assert Operated(site).run("prune").policy == Policy(keep=2)


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({}, 2),
        ({"keep": 1}, 1),
        ({"keep": 0}, 5),
        ({"keep": 1, "keep_daily": 3}, 3),
        ({"keep": 1, "keep_within": timedelta(days=3, hours=1)}, 4),
        ({"keep": 4, "keep_daily": 2}, 4),
        ({"keep": 1, "keep_monthly": 12}, 1),
    ],
)
def test_what_no_rule_keeps_goes_and_the_rest_can_be_restored(site: Site, options, left) -> None:
    operated = grown(site, **options)
    days = stamps(operated)
    contents = site.contents()

    pruned = prune(operated.run("prune"))

    assert stamps(operated) == days[-left:]
    assert sum(made.kept for made in pruned[0].plan.decisions) == left
    site.lose()
    operated.restore()
    assert contents_of(site.filestorage, site.blobstorage) == contents


def test_a_backup_prunes_by_the_same_rules(site: Site) -> None:
    operated = grown(site, keep=1, keep_daily=3)
    operated.now += timedelta(days=1)
    site.commit({"a": 1})
    operated.backup(full=True)
    assert len(stamps(operated)) == 3


def test_the_plan_changes_nothing_and_gives_reasons(site: Site, capsys) -> None:
    operated = grown(site)
    files = FaultyFiles()
    [planned] = plan(operated.run("prune", files=files))
    assert files.changes == []
    assert [made.kept for made in planned.plan.decisions] == [False, False, False, True, True]
    assert all(made.reasons for made in planned.plan.decisions)

    assert main("prune", "standard", operated.config_path, ["--dry-run", SURE]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["restore", "point", "chain", "decision", "why"]
    assert "  goes      2 newer full backups are kept" in lines[1]
    assert "  stays     " in lines[5]
    assert len(stamps(operated)) == 5

    assert main("prune", "standard", operated.config_path, ["--dry-run", "--json", SURE]) == 0
    content = json.loads(capsys.readouterr().out)
    points = content["storages"][0]["restore_points"]
    assert content["dry_run"] is True
    assert [point["kept"] for point in points] == [False, False, False, True, True]
    assert all(point["reasons"] for point in points)


def test_prune_names_the_restore_points_that_it_removed(site: Site, capsys) -> None:
    operated = grown(site, days=3)
    assert main("prune", "standard", operated.config_path, [SURE]) == 0
    assert "removed restore points that no rule keeps: 2026-03-01" in capsys.readouterr().err
    assert main("prune", "standard", operated.config_path, [SURE]) == 0
    assert "INFO: nothing to remove" in capsys.readouterr().err


def test_nothing_to_prune_is_no_error(site: Site, capsys) -> None:
    operated = Operated(site)
    assert main("prune", "standard", operated.config_path, ["--dry-run"]) == 0
    assert "there are no restore points" in capsys.readouterr().out
    assert main("prune", "standard", operated.config_path, []) == 0


def test_nobody_prunes_what_another_run_writes(site: Site) -> None:
    operated = grown(site)
    with locking.one_writer(operated.place().filestorage, "cron"), pytest.raises(InUse):
        prune(operated.run("prune"))
    assert len(stamps(operated)) == 5


# a prune that died

STYLES = [
    {},
    {"blob_snapshots": "each"},
    {"archive_blob": True},
    {"archive_blob": True, "incremental_blobs": True},
    {"only_blobs": True},
]


def stored(operated: Operated) -> list[str]:
    """Return what lies in the directories of the backups, but for the history."""
    place = operated.place()
    return sorted(
        str(path.relative_to(operated.site.directory))
        for directory in (place.filestorage, place.blobstorage)
        if directory is not None
        for path in directory.rglob("*")
        if not path.name.startswith(".backup")
    )


@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES)
def test_what_a_prune_that_died_had_begun_the_next_one_finishes(
    site: Site, style: dict, tmp_path: Path
) -> None:
    operated = grown(site, 2, keep=1, **style)
    contents, numbers = site.contents(), itertools.count()

    def make() -> Operated:
        return copied(operated, tmp_path / f"copy {next(numbers)}")

    whole = make()
    prune(whole.run("prune"), certain=True)

    def check(world: Operated, _outcome: BaseException | None) -> None:
        prune(world.run("prune"), certain=True)
        assert stored(world) == stored(whole)
        if "only_blobs" in style:
            return
        world.site.lose()
        world.restore()
        assert contents_of(world.site.filestorage, world.site.blobstorage) == contents

    survive_every_fault(
        make,
        lambda world, files: prune(world.run("prune", files=files), certain=True),
        check,
        faults=(Fault.BEFORE, Fault.POWER_CUT),
        disk=lambda it: it.site.directory,
    )


def test_a_prune_says_that_it_finished_one_that_died(site: Site, caplog) -> None:
    operated = grown(site, 3, keep=1)
    [before, *_others] = stamps(operated)
    for changes in itertools.count():
        with suppress(KeyboardInterrupt):
            prune(operated.run("prune", files=Dying(changes)), certain=True)
        if not list(operated.place().filestorage.glob(f"{before}*.fsz")):
            break
    caplog.clear()
    prune(operated.run("prune"), certain=True)
    assert f"removed what was left of the chain {before}" in caplog.text
    assert len(stamps(operated)) == 1


@pytest.mark.parametrize("verb", ["backup", "merge", "snapshot"])
def test_whatever_changes_a_destination_sweeps_first(site: Site, verb: str) -> None:
    operated = grown(site, 2)
    destination = SNAPSHOT if verb == "snapshot" else STANDARD
    place = operated.config.destinations[destination][0]
    left = [
        place.filestorage / "2026-01-01-00-00-00.fsz.01234567.partial",
        place.blobstorage / "blobstorage.2026-01-01-00-00-00.01234567.partial",
    ]
    for path in left:
        path.mkdir(parents=True)
        (path / "x").write_bytes(b"x")
    if verb == "merge":
        tidy_now(operated.run("backup"))
    else:
        operated.backup(destination=destination)
    assert not any(path.exists() for path in left)


def test_a_full_backup_that_finds_no_room_has_swept_first(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    operated = grown(site, 1)
    debris = operated.place().blobstorage / "blobstorage.2026-01-01-00-00-00.01234567.partial"
    debris.mkdir()
    asked = []

    def check_room(_needs) -> None:
        asked.append(debris.exists())

    monkeypatch.setattr("collective.recipe.backup.destinations.room.check_room", check_room)
    operated.backup(full=True)
    assert asked == [False]
