"""The report: what it says, and that it says it as text."""

from __future__ import annotations

import io
import os
import re
import sys
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collective.recipe.backup.cli import main
from collective.recipe.backup.config import dump
from collective.recipe.backup.operations.report import report, write
from collective.recipe.backup.report import plots
from collective.recipe.backup.report.axes import AmountAxis, TimeAxis
from collective.recipe.backup.report.markup import element, stylesheet, text
from collective.recipe.backup.report.page import page
from collective.recipe.backup.restorepoints import Range, outermost, ranges
from collective.recipe.backup.tests import reports
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.times import stamp

NOW = reports.NOW


class Balanced(HTMLParser):
    """Reads a page that must be well-formed, and keeps its text and tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.mark.parametrize("facts", [reports.eventful, reports.young, reports.empty, reports.hostile])
def test_the_page_is_well_formed_and_whole_in_itself(facts):
    read = Balanced(page(facts()))
    assert not {tag for tag, _attributes in read.tags} & {"script", "link", "img", "iframe"}
    names = {name for _tag, attributes in read.tags for name in attributes}
    assert not {name for name in names if name.startswith("on")} | names & {"src", "href"}
    assert "http" not in read.text


def test_what_wants_to_be_markup_is_text():
    html = page(reports.hostile())
    assert "<script" not in html
    assert "\u202e" not in html
    html.encode("utf-8")
    assert html.count("&lt;script&gt;alert(1)") > 10


@given(st.text())
def test_any_text_is_read_as_it_was_written(words):
    printed = "".join(char for char in words if char.isprintable())
    html = element("p", printed, title=printed)
    read = Balanced(html)
    assert "".join(read.words) == printed
    assert read.tags == [("p", {"title": printed})]


@given(st.text())
def test_no_text_holds_what_a_page_may_not(words):
    shown = text(words)
    assert not re.search(r"[<>\"']", shown)
    assert all(char.isprintable() or char in "\n\t" for char in shown)
    shown.encode("utf-8")


def test_a_stylesheet_cannot_end_early():
    with pytest.raises(ValueError, match="no markup"):
        stylesheet("</style>")


# what it says


def test_the_page_says_what_there_is():
    said = Balanced(page(reports.eventful())).text
    for words in (
        "Newest restore point 6 h old",
        "Backups of /srv/plone/site on db1.example.org",
        "2026-03-21 03:00 backup: pre_command ok, failure_command failed (32)",
        "failed, exit code 1",
        "umount: /mnt/b: target is busy.",
        "mounted /mnt/b",
        "812,345 objects, 40,211 blobs, no problems",
        "full backup 2 of 3",
        "its blobs are missing: blobstorage.x",
        "until the next backup",
        "any moment from 2026-03-0",
        "2026-03-21 03:00: failed, exit code 1; Filestorage 16 s",
        "1 restore, in UTC restored 2026-03-16 10:12 from 2026-03-02-03-00-00",
        "filestorage 8.2 GB, blobs 25.3 GB",
    ):
        assert words in said, words


def test_a_site_without_backups_has_a_page_too():
    said = Balanced(page(reports.empty())).text
    assert "There is no restore point." in said
    assert "act now" in said
    assert (
        "Neither verify nor rehearse has been run yet: they say whether the backups are whole."
        in said
    )


def test_a_legend_names_only_what_is_drawn():
    def legends(facts):
        found = re.findall(r'<p class="legend">(.*?)</p>', page(facts), re.S)
        return [re.findall("</i>(.*?)</span>", legend) for legend in found]

    assert legends(reports.single()) == [
        ["any moment can be restored", "full"],
        ["Filestorage", "Blobs"],
    ]
    assert legends(reports.eventful()) == [
        ["any moment can be restored", "full", "incremental", "not whole", "the site was restored"],
        ["Filestorage", "Blobs"],
        ["Filestorage", "Blobs", "failed"],
    ]


def test_one_restore_point_is_no_line_of_growth():
    said = Balanced(page(reports.single())).text
    grows = "Growth Filestorage 8.0 GB, blobs 21.0 GB. The next backup shows how they grow."
    assert grows in said


def test_what_is_left_out_of_a_long_page_is_said():
    said = Balanced(page(reports.thousand())).text
    assert "the newest 40 of 1,000" in said
    assert "986 older ones, the newest 400 of them here" in said


def test_commands_that_went_well_are_folded_and_those_that_failed_are_not():
    read = Balanced(page(reports.eventful()))
    assert "8 earlier, in which all went well" in read.text
    before, _folded = read.text.split("8 earlier")
    assert "failure_command failed (32)" in before
    assert before.count("pre_command ok") == 2
    failing = Balanced(page(reports.failing())).text
    assert failing.split(" earlier, in which")[0].count("failed, exit code 4") >= 6


def test_a_page_stays_small_however_many_restore_points_there_are():
    facts = reports.eventful()
    [tale] = facts.tales
    minutes = [
        replace(tale.points[-1], stamp=stamp(NOW - timedelta(minutes=number)), chain="c")
        for number in range(5000)
    ]
    drawn = plots.time_line(minutes, [], NOW)
    assert 200 < drawn.count("<line") < 600


def test_ranges_do_not_cover_each_other():
    points = reports.points()
    longer = [replace(found, first=found.first - timedelta(days=10)) for found in ranges(points)]
    drawn = plots.time_line(points, longer, NOW)
    heights = re.findall(r'class="range" x="[\d.]+" y="([\d.]+)"', drawn)
    assert len(heights) == 4
    assert len(set(heights)) >= 2


def test_a_range_within_another_is_no_range_of_its_own():
    first = NOW - timedelta(days=9)
    found = [
        Range(chain=f"{number}", first=first, last=NOW - timedelta(days=number))
        for number in (3, 2, 2, 1)
    ]
    later = Range(chain="x", first=NOW - timedelta(days=2), last=NOW)
    assert outermost([later, *found]) == [found[-1], later]


def test_what_was_restored_is_on_the_line_of_time():
    points = reports.points()
    runs = [reports.restored(run, points[0].stamp) for run in reports.records()[:2]]
    earlier = replace(runs[0], started=points[0].moment - timedelta(days=9))
    drawn = plots.time_line(points, ranges(points), NOW, [earlier, *runs])
    said = re.findall(r'class="restored".*?<title>(.*?)</title>', drawn)
    assert said == [
        "restored 2026-03-02 10:12 from 2026-03-02-03-00-00",
        "restored 2026-03-03 10:12 from 2026-03-02-03-00-00",
    ]
    assert "restored" not in plots.time_line(points, ranges(points), NOW)


def test_hours_are_named_where_days_repeat():
    days = reports.records()
    assert ">2 Mar<" in plots.durations(days)
    assert not re.search(r">2 Mar\n", plots.durations(days))
    hours = [replace(run, started=NOW - timedelta(hours=n)) for n, run in enumerate(days[:9])]
    assert ">29 Mar\n09:30<" in plots.durations(hours)


def test_a_key_that_is_not_known_here_is_spelled_out():
    run = replace(
        reports.records()[6],
        verb="verify",
        outcome="put_off",
        numbers={"odd_ones": 2, "restore_points": 1, "problems": 0},
    )
    said = Balanced(page(replace(reports.empty(), records=[run]))).text
    assert "2 odd ones, 1 restore point, no problems" in said
    assert "put off" in said


@pytest.mark.parametrize(
    ("destination", "title"),
    [
        ("standard", "Backups of"),
        ("snapshot", "Snapshots of"),
        ("zip", "Zip backups of"),
        ("alternative", "Alternative backups of"),
    ],
)
def test_the_title_says_what_lies_there(destination, title):
    assert f"<title>{title} /srv/plone/site on db1.example.org</title>" in page(
        replace(reports.empty(), destination=destination)
    )


def test_numbers_that_nobody_knows_are_not_drawn():
    points = [replace(point, blob_bytes=None) for point in reports.points()]
    drawn = plots.growth(points, NOW)
    assert "filestorage" in drawn
    assert "blobs" not in drawn


# axes


@given(st.integers(1, 20_000_000))
def test_dates_at_an_axis_are_few_and_in_order(minutes):
    axis = TimeAxis(NOW - timedelta(minutes=minutes), NOW)
    names = list(axis.names())
    assert len(names) <= 6
    places = [place for place, _name in names]
    assert places == sorted(places)
    assert all(0 <= place <= 1 for place in places)
    assert minutes < 15 or len({name for _place, name in names}) == len(names)


@pytest.mark.parametrize(
    ("first", "named"),
    [
        ("2023-07-03", ["2024", "2025", "2026"]),
        ("2025-10-20", ["Nov 2025", "Dec 2025", "Jan 2026", "Feb 2026", "Mar 2026"]),
        ("2025-12-31", ["Jan 2026", "Feb 2026", "Mar 2026"]),
        ("1975-01-01", ["1980", "2000", "2020"]),
    ],
)
def test_years_and_months_are_named_where_they_begin(first, named):
    axis = TimeAxis(datetime.fromisoformat(first).replace(tzinfo=timezone.utc), NOW)
    names = list(axis.names())
    assert [name for _place, name in names] == named
    form = "%Y" if len(named[0]) == 4 else "%b %Y"
    begins = [datetime.strptime(name, form).replace(tzinfo=timezone.utc) for name in named]
    assert [place for place, _name in names] == [axis.at(begin) for begin in begins]


@pytest.mark.parametrize(("days", "many"), [(28, False), (1000, True)])
def test_many_marks_are_thin_and_hide_neither_the_ranges_nor_what_is_not_whole(days, many):
    points = reports.points(days)
    marks = re.findall(
        '<line class="(mark [^"]*)".*? y2="([^"]*)"', plots.time_line(points, [], NOW)
    )
    assert len(marks) <= 300
    assert [("many" in looks) for looks, _end in marks] == [many] * len(marks)
    assert marks[-1][0].endswith("bad")
    assert max(float(end) for _looks, end in marks) == (24 if many else 56)


def test_a_moment_has_its_place():
    axis = TimeAxis(NOW - timedelta(days=4), NOW)
    assert [axis.at(NOW - timedelta(days=days)) for days in (4, 3, 0)] == [0.0, 0.25, 1.0]
    assert axis.at(NOW - timedelta(days=9)) == 0.0
    assert TimeAxis(NOW, NOW).at(NOW) == 1.0


@given(st.floats(0, 1e18))
def test_an_axis_of_amounts_ends_just_above_the_highest(highest):
    axis = AmountAxis(highest)
    assert highest <= axis.top <= max(1.0, 2 * highest)


# what is gathered


def test_the_report_of_a_site(site: Site, tmp_path):
    site.commit({"page": 1}, {"file": b"x" * 5000})
    operated = Operated(site, pre_command="echo 'mounted <b>'", keep=2)
    for full in (False, True, False):
        operated.backup(full=full)
        site.commit({"page": 2})
    said = Balanced(report(operated.run("report"))).text
    for words in (
        f"Backups of {site.directory} on {os.uname().nodename}",
        "part backup, 2026-03-01 15:00 UTC",
        "all is well",
        "Restore points 3 all whole",
        "Last verify never",
        "mounted <b>",
        "until the next full backup",
        "its chain stays: the newest that can be restored",
    ):
        assert words in said, words

    path = tmp_path / "report.html"
    write(operated.run("report"), path)
    assert Balanced(path.read_text("utf-8")).text == said


def test_restores_of_the_site_are_told_and_those_to_elsewhere_are_not(site: Site, tmp_path):
    site.commit({"page": 1}, {"file": b"x"})
    operated = Operated(site)
    operated.backup()
    operated.restore(to=tmp_path / "copy")
    assert "the site was restored" not in report(operated.run("report"))
    operated.restore()
    assert "1 restore, in UTC" in Balanced(report(operated.run("report"))).text


def test_a_report_of_no_backup(site: Site):
    said = Balanced(report(Operated(site).run("report"))).text
    assert "there is no whole restore point" in said
    assert "act now" in said


def test_a_script_says_where_the_page_is(site: Site, tmp_path, capsys):
    operated = Operated(site)
    operated.backup()
    path = tmp_path / "page.html"
    assert main("report", "standard", operated.config_path, [str(path)]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"INFO: the report is in {path}\n")
    assert path.stat().st_size
    assert main("report", "standard", operated.config_path, ["-q", str(path)]) == 0
    assert capsys.readouterr() == ("", "")


class Terminal(io.StringIO):
    """A stream that says of itself that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("part", "of"), [("backup", "standard"), ("mine", "snapshot")])
def test_a_terminal_is_not_flooded_with_html(site: Site, capsys, monkeypatch, part, of):
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    operated = Operated(site)
    operated.config = replace(operated.config, part=part)
    operated.config_path.write_bytes(dump(operated.config))
    assert main("report", of, operated.config_path, []) == 0
    name = f"{part}-report.html" if of == "standard" else f"{part}-{of}-report.html"
    path = site.directory / "var" / name
    assert capsys.readouterr().err == f"INFO: the report is in {path}\n"
    assert path.read_text("utf-8").startswith("<!DOCTYPE html>")
    assert terminal.getvalue() == ""


@pytest.mark.parametrize(("of", "name"), [("standard", "p.html"), ("snapshot", "p-snapshot.html")])
def test_a_terminal_gets_the_page_where_report_file_says(
    site: Site, tmp_path, capsys, monkeypatch, of, name
):
    operated = Operated(site, report_file=tmp_path / "p.html")
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    assert main("report", of, operated.config_path, []) == 0
    assert capsys.readouterr().err == f"INFO: the report is in {tmp_path / name}\n"
    assert (tmp_path / name).read_text("utf-8").startswith("<!DOCTYPE html>")
    assert terminal.getvalue() == ""


def test_a_pipe_gets_the_page_whatever_report_file_says(site: Site, tmp_path, capsys):
    operated = Operated(site, report_file=tmp_path / "p.html")
    assert main("report", "standard", operated.config_path, []) == 0
    assert capsys.readouterr().out.startswith("<!DOCTYPE html>")
    assert not (tmp_path / "p.html").exists()


def test_a_terminal_gets_the_page_that_it_asks_for(site: Site, monkeypatch):
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    operated = Operated(site)
    assert main("report", "standard", operated.config_path, ["-"]) == 0
    assert terminal.getvalue().startswith("<!DOCTYPE html>")
    assert not (site.directory / "var" / "backup-report.html").exists()


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_a_reader_of_a_pipe_gets_the_page_in_any_encoding(site: Site, capsys, arguments):
    operated = Operated(site)
    operated.config = replace(operated.config, part="größe")
    operated.config_path.write_bytes(dump(operated.config))
    assert main("report", "standard", operated.config_path, arguments) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.isascii()
    assert "größe" in Balanced(out).text


def test_a_page_is_written_where_a_link_leads_and_never_in_the_place_of_a_device(
    site: Site, tmp_path, capsys
):
    operated = Operated(site)
    (tmp_path / "link").symlink_to("page.html")
    assert main("report", "standard", operated.config_path, [str(tmp_path / "link")]) == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "page.html").read_text("utf-8").startswith("<!DOCTYPE html>")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        assert main("report", "standard", operated.config_path, [str(path)]) == 1
        assert "cannot write the report: not a regular file" in capsys.readouterr().err
    assert (tmp_path / "pipe").is_fifo()
