"""Prune: the plan with its reasons, and what it does."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from collective.recipe.backup import locking
from collective.recipe.backup.cli import main
from collective.recipe.backup.errors import InUse
from collective.recipe.backup.operations.prune import plan, prune
from collective.recipe.backup.retention import Policy
from collective.recipe.backup.tests.faults.harness import FaultyFiles
from collective.recipe.backup.tests.runs import NOON, Operated
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


def test_what_was_removed_is_said(site: Site, capsys) -> None:
    operated = grown(site, days=3)
    assert main("prune", "standard", operated.config_path, [SURE]) == 0
    assert "removing what is not kept any longer: 2026-03-01" in capsys.readouterr().err
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
