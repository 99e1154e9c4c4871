"""Moments as people say them, and what the commands say that they took them for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collective.recipe.backup.cli import main
from collective.recipe.backup.cli.moments import FORMS, understood
from collective.recipe.backup.errors import UsageError
from collective.recipe.backup.tests.runs import NOON, Operated
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.times import LAST_TID

UTC = timezone.utc
NOW = datetime(2026, 3, 2, 1, 30, 7, 500_000, tzinfo=UTC)


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch):
    """Set the time zone of this machine."""

    def set_to(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield set_to
    monkeypatch.undo()
    time.tzset()


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2 hours ago", "2026-03-01T23:30:07"),
        ("an hour ago", "2026-03-02T00:30:07"),
        ("a day ago", "2026-03-01T01:30:07"),
        ("1 second ago", "2026-03-02T01:30:06"),
        ("90 minutes ago", "2026-03-02T00:00:07"),
        ("3  Weeks AGO", "2026-02-09T01:30:07"),
        ("today", "2026-03-02T00:00:00"),
        ("yesterday", "2026-03-01T00:00:00"),
        ("yesterday 14:30", "2026-03-01T14:30:00"),
        ("Yesterday 4:05:59", "2026-03-01T04:05:59"),
        ("today 0:00", "2026-03-02T00:00:00"),
        ("2026-03-01", "2026-03-01T00:00:00"),
    ],
)
def test_moments_are_understood_as_people_say_them(text: str, moment: str) -> None:
    assert understood(text, NOW) == at(moment)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        # where it is the day after already
        ("today", "2026-03-01T23:00:00"),
        ("yesterday 14:30", "2026-03-01T13:30:00"),
        ("2026-03-01", "2026-02-28T23:00:00"),
        ("2026-07-01-12", "2026-07-01T10:00:00"),
        ("2026-07-01T12:30", "2026-07-01T10:30:00"),
        # what does not depend on it
        ("2 hours ago", "2026-03-01T23:30:07"),
        ("2026-07-01T12:30Z", "2026-07-01T12:30:00"),
    ],
)
def test_local_is_by_the_time_zone_of_the_machine(
    zone: Callable[[str], None], text: str, moment: str
) -> None:
    zone("Europe/Berlin")
    assert understood(text, NOW, local=True) == at(moment)


def test_a_tid_is_a_tid_wherever_one_is(zone: Callable[[str], None]) -> None:
    zone("Europe/Berlin")
    assert understood(LAST_TID.hex(), NOW, local=True) == LAST_TID


def test_what_the_clock_shows_twice_or_never_is_asked_back(zone: Callable[[str], None]) -> None:
    zone("Europe/Berlin")
    with pytest.raises(UsageError, match="twice") as caught:
        understood("2026-10-25-02-30", NOW, local=True)
    assert "2026-10-25T02:30:00+02:00 or 2026-10-25T02:30:00+01:00" in caught.value.hint
    for offset in ("+02:00", "+01:00"):
        assert understood(f"2026-10-25T02:30:00{offset}", NOW, local=True)
    with pytest.raises(UsageError, match="leaves out"):
        understood("2026-03-29-02-30", NOW, local=True)
    assert understood("2026-03-29-02-30", NOW) == at("2026-03-29T02:30:00")


@pytest.mark.parametrize(
    "text",
    [
        "tomorrow",
        "2 hours",
        "hours ago",
        "-2 hours ago",
        "2 fortnights ago",
        "yesterday 24:00",
        "yesterday 14",
        "999999999 weeks ago",
        "2026-03-01T12:30:05",
    ],
)
def test_what_is_no_moment_is_refused_with_all_the_forms(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        understood(text, NOW)
    assert FORMS in caught.value.hint


@given(st.text(), st.booleans())
def test_any_text_is_a_moment_or_refused(text: str, local: bool) -> None:
    with suppress(UsageError):
        assert understood(text, NOW, local=local)


@pytest.mark.parametrize("verb", ["restore", "rehearse", "verify"])
def test_each_verb_says_for_which_moment_it_takes_what_was_said(
    site: Site, verb: str, capsys: pytest.CaptureFixture[str], zone: Callable[[str], None]
) -> None:
    zone("Europe/Berlin")
    operated = Operated(site)
    site.commit({"a": 1}, at=NOON - timedelta(hours=2))
    operated.backup()
    words = "2026-03-01 12:30"
    arguments = ["--dry-run"] if verb == "restore" else []
    main(verb, "standard", operated.config_path, [*words.split(), "--local", *arguments])
    said = "is taken for 2026-03-01 11:30:00 UTC, here 2026-03-01 12:30:00+01:00"
    assert f"INFO: {words} {said}" in capsys.readouterr().err
    assert main(verb, "standard", operated.config_path, ["yesterday", *arguments]) != 2
    assert "INFO: yesterday is taken for 20" in capsys.readouterr().err
    # what is exact needs no words
    stamp = operated.points()[0].stamp
    assert main(verb, "standard", operated.config_path, [*arguments, stamp]) == 0
    assert "taken for" not in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["rehearse", "verify"])
def test_the_answer_in_json_has_the_moment(
    site: Site, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    operated = Operated(site)
    operated.backup()
    moment = operated.points()[0].moment
    for arguments, said in (([moment.isoformat(" ")], moment.isoformat()), ([], None)):
        assert main(verb, "standard", operated.config_path, [*arguments, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["moment"] == said
