"""The table of options, and how settings are read by it."""

from __future__ import annotations

import re
from dataclasses import fields
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import collective.recipe.backup
from collective.recipe.backup.config.resolve import SiteFacts, resolve
from collective.recipe.backup.options import Options, declarations
from collective.recipe.backup.options.optionkinds import (
    ARGUMENTS,
    DURATION,
    LINES,
    NUMBER,
    PATH,
    ROOM,
    SWITCH,
    TEXT,
    URL,
    SizeOrPercent,
    choice,
    expanded,
)
from collective.recipe.backup.options.optionspage import render
from collective.recipe.backup.options.parsing import Reading, read

ROOT = Path(collective.recipe.backup.__file__).parents[4]

OTHER_VALUES = {
    SWITCH: lambda default: "false" if default else "true",
    NUMBER: lambda default: str(default + 1),
    TEXT: lambda _default: "true",
    PATH: lambda _default: "/somewhere",
    LINES: lambda _default: "Data /a",
    ARGUMENTS: lambda _default: "--delete",
    DURATION: lambda _default: "3d",
    ROOM: lambda _default: "3%",
    URL: lambda _default: "https://example.org/ping",
}


# what the older releases had, by their documentation

DEFAULTS = {
    "alternative_restore_source": (),
    "archive_blob": False,
    "backup_blobs": True,
    "blob_storage": None,
    "blob_timestamps": True,
    "blobbackuplocation": None,
    "blobsnapshotlocation": None,
    "blobziplocation": None,
    "compress_blob": False,
    "datafs": None,
    "debug": False,
    "enable_snapshotrestore": True,
    "enable_zipbackup": False,
    "full": False,
    "incremental_blobs": False,
    "keep": 2,
    "keep_blob_days": 14,
    "location": None,
    "snapshotlocation": None,
    "ziplocation": None,
    "locationprefix": None,
    "only_blobs": False,
    "pre_command": "",
    "post_command": "",
    "rsync_hard_links_on_first_copy": False,
    "rsync_options": (),
}
DEFAULTS_OF_4 = {
    "additional_filestorages": (),
    "enable_fullbackup": False,
    "gzip": True,
    "quick": True,
}
CHANGED_OR_NEW = {"use_rsync": False, "repozo": None, "blob_snapshots": "chain"}


@pytest.mark.parametrize(
    ("name", "default"), [*DEFAULTS.items(), *DEFAULTS_OF_4.items(), *CHANGED_OR_NEW.items()]
)
def test_an_option_that_is_not_set_has_its_default(name, default):
    assert getattr(read({}).options, name) == default


def test_nothing_set_is_nothing_wrong():
    assert read({}) == (Options(), (), ())


# switches, numbers and the other kinds


@pytest.mark.parametrize("word", ["true", "yes", "on", "1", "True", "YES", " oN "])
def test_words_that_are_true(word):
    assert read({"full": word}).options.full is True


@pytest.mark.parametrize("word", ["false", "no", "off", "0", "False", "NO", " oFf "])
def test_words_that_are_false(word):
    assert read({"gzip": word}).options.gzip is False


@pytest.mark.parametrize("word", ["ture", "", "2", "t", "yes please", "none"])
def test_a_misspelt_switch_is_a_problem(word):
    [problem] = read({"full": word}).problems
    assert problem.startswith("full must be one of true, yes, on, 1, false, no, off, 0, not ")


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("7", 7), (" 12 ", 12), ("007", 7)])
def test_numbers_of_options_are_understood(text, number):
    assert read({"keep": text}).options.keep == number


@pytest.mark.parametrize("text", ["abc", "", "-1", "1.5", "1 2", "٣", "2; import os"])
def test_a_number_that_is_none_is_a_problem(text):
    [problem] = read({"keep": text}).problems
    assert problem.startswith("keep must be a whole number, 0 or more, not ")


def test_a_home_that_no_system_can_have_is_left_as_it_is():
    assert str(expanded("~\0/var")) == "~\0/var"


def test_home_and_variables_are_expanded_in_a_path(monkeypatch):
    monkeypatch.setenv("HOME", "/home/zope")
    monkeypatch.setenv("WHERE", "disk 2")
    read_options = read({"location": "~/backups", "datafs": "/mnt/$WHERE/${WHERE}.fs"}).options
    assert read_options.location == Path("/home/zope/backups")
    assert read_options.datafs == Path("/mnt/disk 2/disk 2.fs")


def test_a_variable_that_is_not_set_stays_as_it_is(monkeypatch):
    monkeypatch.delenv("NOWHERE", raising=False)
    assert read({"location": "/$NOWHERE/x"}).options.location == Path("/$NOWHERE/x")


@pytest.mark.parametrize("text", ['/a b/it\'s "1"', "/$(touch x)/`id`", "/ünïcödé", "/a\tb", "a/"])
def test_a_path_is_data(text):
    assert read({"location": text}).options.location == Path(text)


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_an_empty_path_is_as_good_as_none(text):
    assert read({"location": text}) == (Options(), (), ())


@pytest.mark.parametrize("text", ["/a\n/b", "/a\r/b", "/a\0b"])
def test_a_path_on_two_lines_is_a_problem(text):
    [problem] = read({"location": text}).problems
    assert problem.startswith("location must be on one line")


def test_lines_are_those_that_say_something():
    assert LINES.parse("\n# old\n  Data /a \n\n catalog /b\n") == ("Data /a", "catalog /b")


def test_arguments_are_split_as_a_shell_would():
    assert ARGUMENTS.parse("--bwlimit=5 --exclude 'a b'") == ("--bwlimit=5", "--exclude", "a b")


def test_arguments_with_an_open_quote_are_a_problem():
    [problem] = read({"rsync_options": "--exclude 'a"}).problems
    assert problem.startswith("rsync_options cannot be split into arguments (No closing quotation)")


@pytest.mark.parametrize(
    ("text", "duration"),
    [("36h", timedelta(hours=36)), ("7 d", timedelta(days=7)), ("4w", timedelta(weeks=4))],
)
def test_durations_of_options_are_understood(text, duration):
    assert DURATION.parse(text) == duration


@pytest.mark.parametrize("text", ["7", "d", "", "1y", "-1d", "1d2h", "9999999999w"])
def test_a_duration_that_is_none_is_a_problem(text):
    [problem] = read({"keep_within": text}).problems
    assert problem.startswith("keep_within ")


@pytest.mark.parametrize(
    ("text", "room"),
    [
        ("10%", SizeOrPercent(percent=10)),
        ("100 %", SizeOrPercent(percent=100)),
        ("5GB", SizeOrPercent(size=5 * 10**9)),
        ("1500 MB", SizeOrPercent(size=1_500_000_000)),
        ("0%", SizeOrPercent()),
        ("", SizeOrPercent()),
    ],
)
def test_room_on_a_disk(text, room):
    assert read({"minimum_free": text}).options.minimum_free == room


@pytest.mark.parametrize("text", ["101%", "5", "5 gb", "5GiB", "-1%", "1.5GB", "10%B", "10 %%"])
def test_room_that_is_none_is_a_problem(text):
    [problem] = read({"minimum_free": text}).problems
    assert problem.startswith("minimum_free must be like 10%, 500MB or 20GB, not ")


def test_room_in_percent_is_a_part_of_the_disk():
    assert (SizeOrPercent(percent=25).of(400), SizeOrPercent(size=7000).of(400)) == (100, 7000)


@pytest.mark.parametrize(
    "text",
    [
        "https://hc.example.org/ping/1a2b",
        "http://[::1]:8000/x?y=z",
        "env:PING",
        "file:/srv/url",
        "file:~/u",
        "",
    ],
)
def test_urls_of_options_are_taken_as_they_are(text):
    assert read({"ping_url": f" {text} "}).options.ping_url == text


@pytest.mark.parametrize("text", ["ftp://a/b", "/path", "file:relative", "https://a/s3cret b"])
def test_a_url_that_is_none_is_a_problem_that_keeps_the_secret(text):
    [problem] = read({"ping_url": text}).problems
    assert problem.startswith("ping_url must begin with one of http://, https://, env:, file:/")
    assert "s3cret" not in problem


def test_a_word_must_be_one_of_those_that_are_known():
    [problem] = read({"blob_snapshots": "daily"}).problems
    assert problem == "blob_snapshots must be one of chain, each, not 'daily'"
    assert choice("chain", "each").parse(" Each ") == "each"


VALUES = st.sampled_from(
    [
        (SWITCH, st.booleans()),
        (NUMBER, st.integers(min_value=0)),
        (TEXT, st.text().map(str.strip)),
        (PATH, st.just(Path("/a b/ü")) | st.none()),
        (LINES, st.lists(st.sampled_from(["Data /a", "b c"])).map(tuple)),
        (ARGUMENTS, st.lists(st.text(alphabet="a b'\"\\$ü\n")).map(tuple)),
        (DURATION, st.integers(0, 10**6).map(lambda hours: timedelta(hours=hours))),
        (ROOM, st.integers(1, 10**9).map(lambda thousands: SizeOrPercent(size=1000 * thousands))),
        (ROOM, st.integers(1, 100).map(lambda percent: SizeOrPercent(percent=percent))),
    ]
).flatmap(lambda pair: st.tuples(st.just(pair[0]), pair[1]))


@given(VALUES)
def test_a_value_that_is_shown_can_be_read_again(pair):
    kind, value = pair
    assert kind.parse(kind.show(value)) == value


@given(VALUES)
def test_a_value_that_is_stored_can_be_fetched_again(pair):
    kind, value = pair
    assert kind.from_stored(kind.store(value)) == value


@pytest.mark.parametrize(
    ("kind", "stored"), [(SWITCH, 1), (NUMBER, True), (NUMBER, "2"), (LINES, "a"), (PATH, None)]
)
def test_a_stored_value_of_another_type_is_refused(kind, stored):
    with pytest.raises(ValueError, match="should be a"):
        kind.from_stored(stored)


# several spellings


@pytest.mark.parametrize("name", ["blob_storage", "blob-storage"])
def test_both_spellings_of_the_blob_storage_work(name):
    assert read({name: "var/blobs"}) == (Options(blob_storage=Path("var/blobs")), (), ())


@pytest.mark.parametrize(
    ("one", "other"), [("a", "a"), ("a", "a/"), ("a", " a "), ("", "a"), ("a", "")]
)
def test_both_spellings_at_once_may_say_the_same(one, other):
    reading = read({"blob_storage": one, "blob-storage": other})
    assert reading == (Options(blob_storage=Path("a")), (), ())


@pytest.mark.parametrize(("one", "other"), [("a", "b"), ("a", "b\nc")])
def test_both_spellings_at_once_must_not_differ(one, other):
    [problem] = read({"blob_storage": one, "blob-storage": other}).problems
    assert problem.startswith("blob_storage and blob-storage are two spellings of one option")


@pytest.mark.parametrize(
    ("old", "new", "text", "value"),
    [
        ("gzip_blob", "archive_blob", "true", True),
        ("alternative_restore_sources", "alternative_restore_source", "Data /a", ("Data /a",)),
    ],
)
def test_an_old_name_works_and_warns(old, new, text, value):
    reading = read({old: text})
    assert getattr(reading.options, new) == value
    assert reading.warnings[0].startswith(f"{old} is an old name: write {new}")


def test_an_old_name_counts_only_if_the_new_one_is_empty():
    old = {"alternative_restore_sources": "Data /old"}
    assert read({**old, "alternative_restore_source": "Data /new"}).options == Options(
        alternative_restore_source=("Data /new",)
    )
    assert read({**old, "alternative_restore_source": ""}).options == Options(
        alternative_restore_source=("Data /old",)
    )


# names


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("kepe", "keep"),
        ("keeps", "keep"),
        ("Keep", "keep"),
        ("debgu", "debug"),
        ("locaton", "location"),
        ("snapshot_location", "snapshotlocation"),
        ("pre-command", "pre_command"),
        ("backup_blob", "backup_blobs"),
        ("data_fs", "datafs"),
        ("blobstorage", "blob_storage"),
        ("alternative_restore_sourcs", "alternative_restore_sources"),
    ],
)
def test_a_name_close_to_an_option_is_a_problem(name, meant):
    reading = read({name: "1"})
    assert reading.problems == (f"{name} is not an option; did you mean {meant}?",)
    assert reading.warnings == ()


@pytest.mark.parametrize("name", ["base", "backup_location", "my_location", "host", "user", "x"])
def test_any_other_name_is_only_mentioned(name):
    reading = read({name: "1"})
    assert reading.options == Options()
    assert reading.problems == ()
    [warning] = reading.warnings
    assert warning.startswith(f"{name} is not an option of this recipe")


def test_a_name_that_somebody_else_reads_is_not_mentioned():
    assert read({"recipe": "collective.recipe.backup"}, {"recipe"}) == (Options(), (), ())


# options that belong together


@pytest.mark.parametrize("other", ["only_blobs", "enable_zipbackup"])
def test_without_blobs_there_are_no_backups_of_blobs_alone_and_no_zip_backups(other):
    problems = read({"backup_blobs": "false", other: "true"}).problems
    assert any("backup_blobs" in each and other in each for each in problems)


def test_incremental_archives_need_time_stamps():
    wrong = {"incremental_blobs": "true", "archive_blob": "true", "blob_timestamps": "false"}
    problems = read(wrong).problems
    assert "incremental_blobs needs time stamps, but blob_timestamps is false" in problems


def test_numbered_blob_backups_warn():
    [warning] = read({"blob_timestamps": "false"}).warnings
    assert warning.startswith("blob_timestamps = false")


@pytest.mark.parametrize(
    ("settings", "useless"),
    [
        ({"compress_blob": "true"}, "compress_blob"),
        ({"incremental_blobs": "true"}, "incremental_blobs"),
        ({"rsync_options": "-x", "use_rsync": "false"}, "rsync_options"),
    ],
)
def test_an_option_without_effect_warns(settings, useless):
    [warning] = read(settings).warnings
    assert warning.startswith(f"{useless} does nothing")


@pytest.mark.parametrize("reason", ["archive_blob", "enable_zipbackup"])
def test_compressed_archives_need_archives(reason):
    assert read({"compress_blob": "true", reason: "true"}).warnings == ()


def test_arguments_of_rsync_choose_rsync():
    assert read({"rsync_options": "--bwlimit=5"}).options.use_rsync is True
    assert read({"rsync_options": "--x", "use_rsync": "no"}).options.use_rsync is False


def test_all_problems_are_reported_together():
    reading = read({"keep": "abc", "full": "ture", "kepe": "3", "location": "a\nb", "gzip": "no"})
    assert [problem.split()[0] for problem in reading.problems] == [
        "location",
        "full",
        "keep",
        "kepe",
    ]
    assert reading.options == Options(gzip=False)


# the reference


def test_the_reference_of_the_documentation_is_what_the_table_says():
    page = ROOT / "docs" / "reference" / "options.rst"
    assert page.read_text(encoding="utf-8") == render(), (
        "write what render() returns to docs/reference/options.rst"
    )


@pytest.mark.parametrize("option", fields(Options), ids=lambda option: option.name)
def test_the_reference_tells_of_each_option(option):
    declared = declarations()[option.name]
    entry = render().split(f"\n``{option.name}``\n")[1].split("\n``")[0]
    assert f"    {declared.kind.says}\n" in entry
    assert "Default: " in entry
    assert all(f"``{alias.name}``" in entry for alias in declared.aliases)
    assert declared.doc.endswith(".")


@pytest.mark.parametrize(
    "option",
    [each for each in fields(Options) if declarations()[each.name].kind is PATH],
    ids=lambda option: option.name,
)
def test_the_reference_tells_where_a_relative_path_starts(option):
    options = Options(**{"backup_blobs": False, option.name: Path("some/where")})
    facts = SiteFacts(part="backup", base=Path("/site"), var=Path("/site/var"))
    resolved = getattr(resolve(facts, Reading(options)).config.options, option.name)
    start = {
        Path("/site/some/where"): "the directory of the buildout",
        Path("/site/var/some/where"): "``locationprefix``",
    }[resolved]
    words = " ".join(declarations()[option.name].doc.split())
    assert re.search(f"(?i)a relative path (here )?starts at {start}", words)


@pytest.mark.parametrize(
    "rule", ["hourly", "daily", "weekly", "monthly", "yearly", "within"], ids=str
)
def test_finer_rules_decide_alone_unless_keep_is_set(rule):
    finer = {f"keep_{rule}": "7d" if rule == "within" else "7"}
    assert read({}).options.keep == 2
    assert read(finer).options.keep == 1
    assert read({**finer, "keep": "3"}).options.keep == 3
    assert read({**finer, "keep": "0"}).options.keep == 0
