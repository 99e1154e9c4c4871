"""Following backs up to each place of the backups, and one that fails stops no other."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from collective.recipe.backup import history, locking
from collective.recipe.backup.destinations import Depth
from collective.recipe.backup.destinations.configured import named
from collective.recipe.backup.errors import ConfigurationError, StoreUnreachable
from collective.recipe.backup.operations.follow import follow
from collective.recipe.backup.operations.repositorycare import make
from collective.recipe.backup.operations.restore import restore
from collective.recipe.backup.operations.restoreorder import RestoreOrder
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.tests import repositories  # noqa: F401  keys that cost little
from collective.recipe.backup.tests.counting import Looks
from collective.recipe.backup.tests.runs import NOON, Operated
from collective.recipe.backup.tests.samples import Site, contents_of
from collective.recipe.backup.tests.unit.test_following import Script


class Followed:
    """A site with a directory and a repository, in which it is followed."""

    def __init__(self, site: Site, tmp_path: Path) -> None:
        self.site = site
        self.store = tmp_path / "far"
        self.asked = tmp_path / "asked"
        self.operated = Operated(
            site,
            locationprefix=site.directory / "var",
            repository=(f"far {self.store}",),
            site_name="plone",
            repository_passphrase_command=f"echo asked >> '{self.asked}'; echo 'correct horse'",
        )
        run = self.operated.run("repository")
        make(run, named(run.config, "standard", "far"), encrypted=True)

    @property
    def asks(self) -> int:
        """How often the passphrase was asked for."""
        return len(self.asked.read_text().splitlines())

    def follow(self, *actions, **more) -> list[str]:
        """Follow through *actions*; return what was told."""
        told: list[str] = []
        run = replace(self.operated.run("backup"), everywhere=True)
        follow(run, Script(*actions, **more), tell=told.append)
        return told

    def far(self, verb: str = "list") -> Run:
        return replace(self.operated.run(verb), name="far", now=NOON + timedelta(hours=4))

    def points(self) -> list[str]:
        [destination] = self.far().destinations()
        assert list(destination.verify(Depth.RECORDS)) == []
        return [point.stamp for point in destination.restore_points()]

    def runs(self) -> list[tuple[str, str, str]]:
        runs = history.read(self.operated.place().filestorage)
        return [(run.verb, run.destination, run.outcome) for run in runs]

    def go_away(self) -> None:
        self.store.rename(self.store.with_name("gone"))

    def come_back(self) -> None:
        self.store.with_name("gone").rename(self.store)


@pytest.fixture
def followed(site: Site, tmp_path: Path) -> Followed:
    return Followed(site, tmp_path)


def test_each_growth_goes_to_each_place_and_an_hour_becomes_one_restore_point(
    followed: Followed, tmp_path: Path
) -> None:
    states = {}

    def commit() -> None:
        number = len(states)
        tid = followed.site.commit({"a": number}, {f"b{number}": b"%d" % number})
        states[tid] = followed.site.contents()

    told = followed.follow(*[commit] * 9)

    assert sum("in far" in each for each in told) == 10
    assert sum("in directory" in each for each in told) == 10
    # of the hour that is over the last one is left
    assert [stamp[-8:-3] for stamp in followed.points()] == [
        "12-50",
        "13-00",
        "13-10",
        "13-20",
        "13-30",
    ]
    for number, (tid, contents) in enumerate(states.items()):
        to = tmp_path / str(number)
        assert restore(followed.far("restore"), RestoreOrder(when=tid, to=to))
        assert contents_of(to / "Data.fs", to / "blobstorage") == contents


def test_what_one_log_does_not_serve_stays_when_an_hour_is_over(followed: Followed) -> None:
    def commit() -> None:
        followed.site.commit({"a": 1})

    followed.follow(commit, followed.site.pack, commit, *[lambda: None] * 6)

    stamps = [stamp[-8:-3] for stamp in followed.points()]
    assert stamps == ["12-10", "12-30"]  # before the pack, and after it


def test_a_look_at_a_site_that_rests_opens_nothing_and_asks_for_no_passphrase(
    followed: Followed,
) -> None:
    asks, looks = [], []

    def nothing() -> None:
        asks.append(followed.asks)
        looks.append(len(history.read(followed.operated.place().filestorage)))

    seen = Looks(lambda: followed.follow(*[nothing] * 300, step=timedelta(seconds=1)))

    assert len(set(asks)) == len(set(looks)) == 1
    assert seen.opened[followed.site.filestorage] < 20
    assert seen.listed[followed.store / "m"] < 20


def test_a_place_that_is_away_is_told_once_and_tried_again_and_ends_nothing(
    followed: Followed, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "backup")

    def commit() -> None:
        followed.site.commit({"a": 1})

    followed.go_away()
    told = followed.follow(commit, commit, followed.come_back, lambda: None)

    assert sum("in directory" in each for each in told) == 3
    assert sum("in far" in each for each in told) == 1
    errors = [each.getMessage() for each in caplog.records if each.levelno == logging.ERROR]
    assert len(errors) == 2
    assert "is not there" in errors[0]
    assert "is the disk mounted" in errors[1]
    assert "following goes on" in caplog.text
    backups = [run for run in followed.runs() if run[0] == "backup"]
    assert backups.count(("backup", "far", "failed")) == 1
    assert backups[-1] == ("backup", "far", "done")
    assert ("follow", "standard", "done") in followed.runs()


def test_a_place_that_is_away_while_the_filestorage_is_too_is_not_said_to_go_on(
    followed: Followed, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "backup")
    away = followed.site.filestorage.with_name("away")
    followed.go_away()
    with pytest.raises(StoreUnreachable):
        followed.follow(lambda: followed.site.filestorage.rename(away), lambda: None)
    assert "following goes on" not in caplog.text


def test_a_place_that_fails_to_the_end_is_told_by_the_exit_code(followed: Followed) -> None:
    followed.go_away()
    with pytest.raises(StoreUnreachable):
        followed.follow()
    [run] = [
        run for run in history.read(followed.operated.place().filestorage) if run.verb == "follow"
    ]
    assert {name: it.outcome for name, it in run.places.items()} == {
        "standard": "done",
        "far": "failed",
    }


def test_a_wrong_passphrase_keeps_no_other_place_from_being_followed(followed: Followed) -> None:
    secret = "repository_passphrase_command"
    options = replace(followed.operated.config.options, **{secret: "echo 'a wrong one'"})
    followed.operated.config = replace(followed.operated.config, options=options)
    told: list[str] = []
    run = replace(followed.operated.run("backup"), everywhere=True)
    with pytest.raises(ConfigurationError, match="does not fit"):
        follow(run, Script(lambda: followed.site.commit({"a": 1})), tell=told.append)
    assert sum("in directory" in each for each in told) == 2
    alone = replace(run, name="far", everywhere=False)
    with pytest.raises(ConfigurationError, match="does not fit"):
        follow(alone, Script(), tell=told.append)


def test_a_lock_on_one_place_keeps_no_other_from_being_followed(followed: Followed) -> None:
    directory = followed.operated.place().filestorage
    directory.mkdir(parents=True)
    with locking.one_writer(directory, "cron"):
        told = followed.follow(lambda: None)
    assert any("in far" in each for each in told)
    assert not any("in directory" in each for each in told)
