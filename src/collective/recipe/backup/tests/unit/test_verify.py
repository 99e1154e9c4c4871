"""Verify as an operation: depths, one restore point, samples that cover everything in turn."""

from __future__ import annotations

import errno
import json
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collective.recipe.backup import history, locking
from collective.recipe.backup.blobs.layout import MARKER
from collective.recipe.backup.cli import main
from collective.recipe.backup.destinations import Depth
from collective.recipe.backup.errors import IntegrityError, NoRestorePoint
from collective.recipe.backup.files import Files
from collective.recipe.backup.links import StrPath
from collective.recipe.backup.model import Problem
from collective.recipe.backup.operations import sampling
from collective.recipe.backup.operations.sampling import CIRCLE, Arc
from collective.recipe.backup.operations.verify import VerifyOrder, outcome, verify
from collective.recipe.backup.tests.repositoryruns import OperatedInRepository
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.unreadable import unreadable


@pytest.fixture
def operated(site: Site) -> Operated:
    """A site with two chains and some blobs."""
    operated = Operated(site)
    site.commit({"a": 1}, {f"b{number}": b"%d" % number for number in range(8)})
    operated.backup()
    site.commit({"a": 2}, {"c": b"second"})
    operated.backup()
    site.commit({"a": 3})
    operated.backup(full=True)
    return operated


def found(operated: Operated, **order) -> list[Problem]:
    problems = []
    verify(
        operated.run("verify"), VerifyOrder(**order), lambda _source, each: problems.append(each)
    )
    return problems


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def data_files(operated: Operated) -> list[Path]:
    """Return every file that is read, those with several names by the first of them."""
    files = {path.stat().st_ino: path for path in reversed(read_files(operated))}
    return sorted(files.values())


def read_files(operated: Operated) -> list[Path]:
    place = operated.place()
    assert place.blobstorage is not None
    blobs = (path for path in place.blobstorage.glob("blobstorage.*/blobstorage/**/*"))
    found = sorted(path for path in blobs if path.is_file())
    return [*sorted(place.filestorage.glob("*fsz")), *found]


@pytest.mark.parametrize("depth", list(Depth))
def test_what_is_whole_has_no_problem_at_any_depth(operated: Operated, depth: Depth) -> None:
    assert found(operated, depth=depth) == []


def test_one_flipped_byte_is_found_by_checksums_and_named(operated: Operated) -> None:
    for path in data_files(operated):
        before = path.read_bytes()
        flip(path)
        seen = found(operated, depth=Depth.NAMES)
        if path.name == MARKER:  # what ZODB makes of it is told at any depth
            assert {Path(problem.where).name for problem in seen} == {MARKER}
        else:
            assert seen == []
        problems = found(operated)
        assert path.name in {Path(problem.where).name for problem in problems}
        assert all(problem.what and problem.hint for problem in problems)
        path.write_bytes(before)


def test_a_missing_file_is_found_by_name(operated: Operated) -> None:
    for path in data_files(operated):
        away = path.rename(operated.site.directory / "away")
        problems = found(operated, depth=Depth.NAMES)
        assert any(path.name in problem.where + problem.what for problem in problems)
        away.rename(path)


def test_one_restore_point_is_looked_at_with_all_it_needs_and_nothing_else(
    operated: Operated,
) -> None:
    first, second, third = operated.points()
    flip(operated.place().filestorage / f"{first.stamp}.fsz")

    assert found(operated, when=first.moment)
    assert found(operated, when=second.moment)
    assert found(operated, when=third.moment) == []


def test_a_set_whose_marker_could_not_be_read_is_no_problem_once_another_took_its_place(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next backup begins another set; the first stays until keep lets it go."""
    operated = Operated(site)
    site.commit({"a": 1}, {"b": b"blob"})
    copy = Files.copy

    def failing(files: Files, source: StrPath, *where: Any, **how: Any) -> int:
        if os.path.basename(source) == MARKER:
            error = OSError(errno.EIO, os.strerror(errno.EIO), os.fspath(source))
            raise unreadable(error, source)
        return copy(files, source, *where, **how)

    with monkeypatch.context() as disk, pytest.raises(IntegrityError, match="could not be copied"):
        disk.setattr(Files, "copy", failing)
        operated.backup()
    problems = list(operated.destination().verify(Depth.NAMES))
    assert any(Path(problem.where).name == MARKER for problem in problems)

    operated.backup()

    assert list(operated.destination().verify(Depth.RECORDS)) == []


def test_nothing_to_verify_is_no_success(site: Site) -> None:
    with pytest.raises(NoRestorePoint, match="nothing|no restore point"):
        found(Operated(site))


def test_another_run_is_mentioned(operated: Operated, caplog) -> None:
    with locking.one_writer(operated.place().filestorage, "cron, process 17"):
        assert found(operated) == []
    assert "cron, process 17" in caplog.text


def test_the_history_says_what_was_found(operated: Operated) -> None:
    flip(data_files(operated)[0])
    count = len(found(operated))
    record = history.read(operated.place().filestorage)[-1]
    assert (record.verb, record.outcome, record.exit_code) == ("verify", history.FAILED, 3)
    assert record.numbers == {"restore_points": 3, "problems": count}


def test_a_script_lists_the_problems_and_ends_with_3(operated: Operated, capsys) -> None:
    path = data_files(operated)[0]
    flip(path)
    assert main("verify", "standard", operated.config_path, []) == 3
    out, err = capsys.readouterr()
    assert out.splitlines()[0].startswith(f"{path}: ")
    assert len(out.splitlines()) == len(found(operated))
    assert "ERROR: the backups are not what they should be" in err


def test_json_has_the_same(operated: Operated, capsys) -> None:
    flip(data_files(operated)[0])
    assert main("verify", "standard", operated.config_path, ["--json"]) == 3
    content = json.loads(capsys.readouterr().out)
    problems = [
        str(Problem(where=it["where"], what=it["what"], hint=it["hint"]))
        for it in content["problems"]
    ]
    assert problems == [str(each) for each in found(operated)]
    assert content["good"] is False
    assert content["storages"][0]["problems"] == len(problems)


def test_many_problems_are_counted() -> None:
    assert outcome([]) is None


# samples


def read_by(operated: Operated, share: Fraction, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return the names of the files that a sample read."""
    names = set()
    holds = Arc.holds

    def noted(arc: Arc, name: str) -> bool:
        if holds(arc, name):
            names.add(name)
            return True
        return False

    with monkeypatch.context() as patch:
        patch.setattr(Arc, "holds", noted)
        assert found(operated, share=share) == []
    return names


@pytest.mark.parametrize("share", [Fraction(1, 3), Fraction(1, 10), Fraction(7, 100)])
def test_samples_read_everything_in_turn_and_nothing_twice(
    operated: Operated, monkeypatch: pytest.MonkeyPatch, share: Fraction
) -> None:
    runs = -(-1 // share)
    samples = [read_by(operated, share, monkeypatch) for _number in range(runs)]

    everything = read_by(operated, Fraction(1), monkeypatch)
    assert set().union(*samples) == everything
    assert len(everything) == len(read_files(operated))
    # the last one may begin the next round
    assert sum(map(len, samples[:-1])) == len(set().union(*samples[:-1]))


def test_only_what_is_in_the_sample_is_read(operated: Operated) -> None:
    for path in data_files(operated):
        flip(path)
    told = []
    for _number in range(20):
        told.append(len(found(operated, share=Fraction(1, 20))))
    assert max(told) < len(data_files(operated))
    assert sum(told) >= len(data_files(operated))


def test_names_are_compared_in_each_sample(operated: Operated) -> None:
    data_files(operated)[0].unlink()
    assert found(operated, share=Fraction(1, 10**6))


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"format": 1, "next": "x"}', b"7"])
def test_losing_what_a_sample_remembers_loses_nothing(
    operated: Operated, content: bytes | None
) -> None:
    found(operated, share=Fraction(1, 3))
    path = operated.place().filestorage / sampling.NAME
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert found(operated, share=Fraction(1, 3)) == []
    assert sampling.next_arc(path.parent, Fraction(1, 3)).begin == -(-CIRCLE // 3)


def test_a_sample_that_cannot_be_noted_is_reported(tmp_path: Path, caplog) -> None:
    sampling.remember(tmp_path / "gone", Arc(0, 1), Files())
    assert "cannot remember" in caplog.text


def test_a_sample_that_was_broken_off_is_done_again(operated: Operated, monkeypatch) -> None:
    before = sampling.next_arc(operated.place().filestorage, Fraction(1, 3))
    monkeypatch.setattr(
        "collective.recipe.backup.destinations.directory.verification.verify_contents", interrupted
    )
    with pytest.raises(KeyboardInterrupt):
        found(operated, share=Fraction(1, 3))
    assert sampling.next_arc(operated.place().filestorage, Fraction(1, 3)) == before


def interrupted(*_arguments):
    raise KeyboardInterrupt


@given(st.text(max_size=8), st.integers(0, CIRCLE - 1), st.integers(1, 50))
def test_the_arcs_of_a_round_hold_each_name_once(name: str, begin: int, parts: int) -> None:
    arcs = []
    for _number in range(parts):
        size = CIRCLE // parts
        arcs.append(Arc(begin, size))
        begin = (begin + size) % CIRCLE
    arcs.append(Arc(begin, CIRCLE - parts * (CIRCLE // parts)))
    assert sum(arc.holds(name) for arc in arcs) == 1


# what the site lacked


@pytest.fixture(params=[Operated, OperatedInRepository])
def lacking(site: Site, request) -> Operated:
    """A site that has lost a blob, and two restore points that say so."""
    site.commit({}, {"a": b"blob", "b": b"other"})
    operated = request.param(site)
    operated.lost = sorted(site.blobstorage.rglob("*.blob"))[0]
    operated.kept = operated.lost.read_bytes()
    operated.lost.unlink()
    for number in range(2):
        site.commit({"page": number})
        with pytest.raises(IntegrityError):
            operated.backup()
    return operated


@pytest.mark.parametrize("depth", list(Depth))
def test_what_the_site_lacked_is_no_damage_of_the_backups(lacking: Operated, depth: Depth) -> None:
    points = lacking.points()
    told = found(lacking, depth=depth)
    assert [problem.told for problem in told] == [True, True]
    assert lacking.points() == points
    assert all(point.sound and len(point.problems) == 1 for point in points)
    lacking.restore()
    lacking.site.commit({"page": "after"})
    with pytest.raises(IntegrityError):
        lacking.backup()


def test_a_verify_fails_while_the_newest_restore_point_lacks_something(lacking: Operated) -> None:
    order = VerifyOrder(depth=Depth.CHECKSUMS)
    error = outcome(verify(lacking.run("verify"), order, lambda *_told: None))
    assert "1 problem" in str(error)
    assert "the next backup tries again" in error.hint

    lacking.lost.write_bytes(lacking.kept)
    lacking.site.commit({"page": "whole again"})
    lacking.backup()
    [verified] = verify(lacking.run("verify"), order, lambda *_told: None)
    assert outcome([verified]) is None
    assert verified.lacking == sum(not point.whole for point in lacking.points()) > 0
