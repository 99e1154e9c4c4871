"""A clock that is wrong: no restore point is lost, names come back to the truth, and it is told."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

import pytest

from collective.recipe.backup import times
from collective.recipe.backup.cli import main
from collective.recipe.backup.config import SNAPSHOT
from collective.recipe.backup.operations.backup import back_up
from collective.recipe.backup.operations.follow import follow
from collective.recipe.backup.operations.prune import plan, prune
from collective.recipe.backup.tests.faults.harness import Hasty
from collective.recipe.backup.tests.runs import NOON, Operated
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.times import stamp

pytestmark = pytest.mark.usefixtures("leaping")

DAY = timedelta(days=1)
TEN_YEARS = 3653 * DAY
STYLES = [
    {},
    {"blob_snapshots": "each"},
    {"archive_blob": True},
    {"only_blobs": True, "keep_blob_days": 0},
]


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture):
    """Return a function that returns what -q shows, and forgets it."""
    caplog.set_level(logging.WARNING, "backup")

    def said() -> list[str]:
        found = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return found

    return said


class Nights:
    """A site that is backed up each night, in full, whatever the clock says then."""

    def __init__(self, site: Site, **options) -> None:
        self.site = site
        self.operated = Operated(site, **options)
        self.number = 0
        self.states: list[dict] = []

    def pass_by(self, count: int, *, wrong: timedelta = timedelta(0), full: bool = True) -> None:
        for _night in range(count):
            self.number += 1
            self.site.commit({"night": self.number}, {"blob": b"%d" % self.number})
            self.states.append(self.site.contents())
            self.operated.now = NOON + self.number * DAY + wrong - timedelta(hours=1)
            self.operated.backup(full=full, files=Hasty())

    def dates(self) -> list[str]:
        return [point.stamp[:10] for point in self.operated.points()]

    def date(self, number: int) -> str:
        return stamp(NOON + number * DAY)[:10]


@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES)
def test_one_run_with_a_clock_ten_years_ahead_costs_no_restore_point(
    site: Site, style: dict, warnings
) -> None:
    nights = Nights(site, keep=1, keep_daily=9, **style)
    nights.pass_by(12)
    before = nights.dates()
    assert len(before) == 9

    nights.pass_by(1, wrong=TEN_YEARS)

    assert nights.dates()[:9] == before
    assert any("the clock has leapt by 3654 days" in said for said in warnings())

    nights.pass_by(12)
    assert nights.dates() == [nights.date(number) for number in range(17, 26)]


def test_names_tell_the_truth_again_in_the_next_night(site: Site) -> None:
    nights = Nights(site, keep=0)
    nights.pass_by(3)
    nights.pass_by(1, wrong=TEN_YEARS)
    nights.pass_by(2)
    wanted = [nights.date(number) for number in (1, 2, 3, 3, 5, 6)]
    assert nights.dates() == wanted


def test_a_night_with_a_wrong_clock_is_one_of_the_days_that_are_kept(site: Site) -> None:
    nights = Nights(site, keep=1, keep_daily=6)
    nights.pass_by(3)
    nights.pass_by(1, wrong=TEN_YEARS)
    nights.pass_by(4)
    kept = [point.taken for point in nights.operated.points()]
    assert len(kept) == 6
    assert sum(taken is not None and taken.year == 2036 for taken in kept) == 1


@pytest.mark.slow
def test_what_is_kept_within_a_time_stays_where_the_clock_leaps(site: Site, warnings) -> None:
    nights = Nights(site, keep=1, keep_within=30 * DAY)
    nights.pass_by(20)
    nights.pass_by(3, wrong=TEN_YEARS)
    assert len(nights.dates()) == 23
    nights.pass_by(5)
    assert len(nights.dates()) == 28
    [said] = {each for each in warnings() if "gone back" in each}
    assert "no old restore point is removed" in said


def test_a_clock_that_goes_back_removes_nothing(site: Site) -> None:
    nights = Nights(site, keep=1, keep_daily=3)
    nights.pass_by(8)
    nights.pass_by(2, wrong=-TEN_YEARS)
    assert len(nights.dates()) == 5
    nights.pass_by(4)
    assert len(nights.dates()) == 3


def test_each_state_can_be_restored_by_the_name_of_its_night(site: Site) -> None:
    nights = Nights(site, keep=0)
    nights.pass_by(2)
    nights.pass_by(2, wrong=TEN_YEARS)
    nights.pass_by(2)
    for point, state in zip(nights.operated.points(), list(nights.states), strict=True):
        nights.operated.restore(point.moment)
        assert site.contents() == state


def test_keep_counts_on_where_the_doubt_is_not_of_today(site: Site) -> None:
    nights = Nights(site, keep=2)
    nights.pass_by(3)
    nights.pass_by(1, wrong=TEN_YEARS)
    assert len(nights.dates()) == 3
    nights.pass_by(1, wrong=TEN_YEARS)
    assert len(nights.dates()) == 2


def test_a_site_that_slept_for_months_is_told_so_and_goes_on(site: Site, warnings) -> None:
    nights = Nights(site, keep=1, keep_daily=3)
    nights.pass_by(5)
    nights.number += 100
    # what the site commits now says the same as the clock
    site.commit({"awake": True}, at=NOON + (nights.number + 300) * DAY)
    nights.pass_by(1)
    assert len(nights.dates()) == 4
    assert any("the clock has leapt by 101 days" in said for said in warnings())
    nights.pass_by(7)
    assert len(nights.dates()) == 3


def test_runs_that_found_nothing_new_prove_that_the_clock_is_right(site: Site, warnings) -> None:
    nights = Nights(site, keep=1, keep_within=3 * DAY)
    nights.pass_by(3)
    for number in range(4, 60):
        nights.operated.now = NOON + number * DAY - timedelta(hours=1)
        assert not nights.operated.backup(files=Hasty()).changed
    assert len(nights.dates()) == 1
    assert warnings() == []


def test_a_user_who_has_looked_at_the_clock_can_say_that_it_is_right(site: Site, warnings) -> None:
    nights = Nights(site, keep=1, keep_daily=2)
    nights.pass_by(3)
    nights.pass_by(1, wrong=TEN_YEARS)
    [doubted] = plan(nights.operated.run("prune"))
    assert doubted.plan.removed == ()
    assert doubted.plan.decisions[0].reasons[0].startswith("it stays for now")
    [sure] = prune(nights.operated.run("prune"), certain=True)
    assert len(sure.plan.removed) == 1
    assert len(nights.dates()) == 2


def test_the_command_says_why_nothing_goes(site: Site, capsys: pytest.CaptureFixture) -> None:
    nights = Nights(site, keep=0)
    nights.pass_by(4)
    again = Operated(site, keep=1)
    assert main("prune", "standard", again.config_path, ["-q"]) == 0
    assert "WARNING: the clock has leapt" in capsys.readouterr().err
    assert len(nights.dates()) == 4
    assert main("prune", "standard", again.config_path, ["-q", "--clock-is-right"]) == 0
    assert capsys.readouterr().err == ""
    assert len(nights.dates()) == 1


@pytest.mark.slow
def test_snapshots_at_long_intervals_are_no_leap_while_the_site_is_backed_up(
    site: Site, warnings
) -> None:
    nights = Nights(site, keep=1)
    operated = nights.operated
    for _month in range(3):
        nights.pass_by(30, full=False)
        operated.backup(destination=SNAPSHOT, full=True, files=Hasty())
    assert warnings() == []


def test_a_restore_point_that_is_named_after_the_last_one_is_explained(
    site: Site, warnings
) -> None:
    nights = Nights(site)
    nights.pass_by(2)
    nights.pass_by(1, wrong=TEN_YEARS)
    assert any(
        said.startswith("the restore point is called 2026-03-03-12-00-01, though the clock says")
        for said in warnings()
    )


class Script:
    """A clock of following that says these moments, with a commit before each."""

    def __init__(self, site: Site, *moments: datetime) -> None:
        self._site = site
        self._moments = list(moments)
        self._now = NOON

    def now(self) -> datetime:
        return self._now

    def wait(self) -> bool:
        if not self._moments:
            return False
        self._now = self._moments.pop(0)
        self._site.commit({"now": str(self._now)})
        return True


def test_following_tells_of_a_leap_once(site: Site, warnings) -> None:
    operated = Operated(site, keep_within=DAY)
    moments = [NOON + TEN_YEARS + timedelta(minutes=number) for number in range(5)]
    follow(operated.run("backup"), Script(site, *moments), tell=lambda _said: None)
    assert sum("the clock has leapt" in said for said in warnings()) == 1


def test_several_backups_within_a_second_do_not_run_ahead_of_the_clock(site: Site) -> None:
    operated = Operated(site, keep=0)
    for number in range(3):
        site.commit({"a": number})
        operated.now = times.utcnow()
        [outcome] = back_up(operated.run("backup"))
        assert outcome.point.moment <= times.utcnow()
