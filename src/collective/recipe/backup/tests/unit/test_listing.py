"""The list: what can be restored, readable at any width, and quick."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import pytest

from collective.recipe.backup.amounts import age
from collective.recipe.backup.cli import main
from collective.recipe.backup.cli.tables import Column, table
from collective.recipe.backup.cli.verbs import listing
from collective.recipe.backup.destinations import Depth
from collective.recipe.backup.operations.listing import list_points
from collective.recipe.backup.tests.counting import increments
from collective.recipe.backup.tests.many import add_restore_points
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.scripts import environment
from collective.recipe.backup.times import moment_of, parse, stamp, tid_at


@pytest.fixture
def operated(site: Site) -> Operated:
    """A site with a full restore point and an incremental one."""
    operated = Operated(site)
    site.commit({"a": 1}, {"b": b"first"})
    operated.backup()
    site.commit({"a": 2}, {"c": b"second"})
    operated.backup()
    return operated


def text(operated: Operated, *, long: bool = False, width: int | None = None) -> list[str]:
    [listed] = list_points(operated.run("list"))
    now = operated.now + timedelta(hours=3)
    return listing._as_text(listed, now, long=long, width=width).splitlines()


def test_the_list_says_what_there_is(operated: Operated) -> None:
    head, full, delta, ranges, span = text(operated)
    assert head.split() == ["restore", "point", "age", "kind", "stored", "restores", "state"]
    assert re.fullmatch(r"2026-03-01-13-00-00  4 h  full +[\d.]+ k?B +1\.\d kB  whole", full)
    assert re.fullmatch(r"2026-03-01-14-00-00  3 h  incremental +[\d.]+ k?B .* whole", delta)
    assert ranges == "Any moment in these ranges can be restored (UTC):"
    assert span.startswith("  2020-01-01-00-00-00 to ")


def test_a_gap_between_the_ranges_is_explained(operated: Operated) -> None:
    between = "(no backup has these moments: backups of that time were removed, or "
    gap = listing._gap
    first, last = operated.now, operated.now + timedelta(hours=2)
    assert gap(first, last, []).startswith(between)
    assert gap(first, last, [operated.now - timedelta(hours=1)]).startswith(between)
    told = gap(first, last, [operated.now + timedelta(hours=1)])
    assert told.startswith(f"(a restore at {stamp(operated.now + timedelta(hours=1))} took the")


def test_a_restore_between_two_ranges_is_named_in_the_list(operated: Operated) -> None:
    [listed] = list_points(operated.run("list"))
    assert listed.restores == []
    operated.restore(operated.points()[0].moment)
    [listed] = list_points(operated.run("list"))
    [restored] = listed.restores
    points = [
        replace(each, chain=each.stamp, since=tid_at(moment), tid=tid_at(moment), taken=moment)
        for each, moment in zip(
            listed.points,
            (restored - timedelta(hours=1), restored + timedelta(hours=1)),
            strict=True,
        )
    ]
    told = listing._as_text(replace(listed, points=points), operated.now, long=False, width=None)
    [first, gap, second] = told.splitlines()[-3:]
    assert " to " in first
    assert f"(a restore at {stamp(restored)} took the site back: " in gap
    assert " to " in second


def test_what_is_long_has_the_transaction_and_the_blobs(operated: Operated) -> None:
    lines = text(operated, long=True)
    tid = operated.site.tids()[-1].hex()
    assert f"  {tid}  blobstorage.2026-03-01-13-00-00  whole" in lines[2]


def test_the_list_names_the_file_that_a_restore_point_lacks(operated: Operated) -> None:
    next(operated.place().filestorage.glob("*.deltafsz")).unlink()
    lines = text(operated)
    assert lines[1].endswith("  whole")
    assert "  cannot be restored: 2026-03-01-14-00-00.deltafsz is missing" in lines[2]


def test_nothing_to_list_is_said(site: Site) -> None:
    operated = Operated(site)
    [line] = text(operated)
    backups = re.escape(str(operated.place().filestorage))
    assert re.fullmatch(rf"no restore points of /.*/Data\.fs yet: there is no {backups}", line)
    operated.place().filestorage.mkdir()
    [line] = text(operated)
    assert re.fullmatch(rf"no restore points of /.*/Data\.fs yet: nothing in {backups}", line)


@pytest.mark.parametrize("width", [20, 30, 40, 50, 60, 80, 100, 140])
def test_no_terminal_is_too_narrow(operated: Operated, width: int) -> None:
    next(operated.place().filestorage.glob("*.deltafsz")).unlink()
    long_lines = [line for line in text(operated, width=width)[:-1] if len(line) > width]
    # the columns that are numbers and stamps are never cut
    assert width < 72 or not long_lines
    words = " ".join(" ".join(text(operated, width=width)).split())
    assert "is missing" in words


def test_a_table_wraps_its_last_column_only_where_somebody_reads_it() -> None:
    columns = (Column(title="a"), Column(title="n", right=True), Column(title="why"))
    rows = [["x", "1", "one two three four five six seven"], ["yy", "22", ""]]
    assert list(table(columns, rows, None)) == [
        "a    n  why",
        "x    1  one two three four five six seven",
        "yy  22",
    ]
    assert list(table(columns, rows, 30)) == [
        "a    n  why",
        "x    1  one two three four",
        "        five six seven",
        "yy  22",
    ]
    assert list(table(columns, rows, 20)) == [
        "a    n  why",
        "x    1",
        "    one two three",
        "    four five six",
        "    seven",
        "yy  22",
    ]
    assert list(table(columns, [], 30)) == ["a  n  why"]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-5, "0 s"),
        (0.7, "0 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7199, "119 min"),
        (7200, "2 h"),
        (172_799, "47 h"),
        (172_800, "2 d"),
        (31_536_000, "365 d"),
    ],
)
def test_an_age_has_the_unit_that_matters(seconds: float, shown: str) -> None:
    assert age(seconds) == shown


def test_json_has_all_that_is_known(operated: Operated, capsys) -> None:
    assert main("list", "standard", operated.config_path, ["--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    [storage] = content["storages"]
    full, delta = storage["restore_points"]
    assert (full["kind"], delta["kind"], delta["chain"]) == ("full", "incremental", full["stamp"])
    assert delta["tid"] == operated.site.tids()[-1].hex()
    assert delta["size"] == operated.site.size
    assert delta["blobs"] == "blobstorage.2026-03-01-13-00-00"
    assert (delta["whole"], delta["restorable"], delta["problems"]) == (True, True, [])
    assert parse(delta["moment"]) == operated.now
    [moments] = storage["moments"]
    assert parse(moments["first"]) <= moment_of(operated.site.tids()[0])
    assert parse(moments["last"]) >= moment_of(operated.site.tids()[-1]) - timedelta(seconds=1)


def test_on_a_terminal_the_list_fits(operated: Operated) -> None:
    next(operated.place().filestorage.glob("*.deltafsz")).unlink()
    program = "import sys; from collective.recipe.backup.cli import main; main(*sys.argv[1:], [])"
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", program, "list", "standard", str(operated.config_path)],
        stdout=child,
        stderr=child,
        stdin=subprocess.DEVNULL,
        env=environment(COLUMNS="90"),
    )
    os.close(child)
    written = b""
    while True:
        try:
            piece = os.read(parent, 4096)
        except OSError:
            break
        if not piece:
            break
        written += piece
    os.close(parent)
    process.wait()
    lines = written.decode().splitlines()
    assert any("is missing" in line for line in lines)
    assert max(map(len, lines)) < 90


@pytest.mark.parametrize(
    "look",
    [text, lambda operated: list(operated.destination().verify(Depth.NAMES))],
    ids=["listed", "verified by name"],
)
def test_each_restore_point_adds_the_same_to_what_a_look_costs(operated: Operated, look) -> None:
    look(operated)  # what is imported late is imported now
    first, second = increments(lambda: look(operated), lambda: add_restore_points(operated, 100))
    assert len(operated.points()) == 202
    assert first < 100 * 600
    assert second < first * 1.05
