"""Restores where something is damaged: what else there is, is said; nothing older comes quietly."""

from __future__ import annotations

import itertools
import logging
import os
import re
from pathlib import Path

import pytest

from collective.recipe.backup.cli import main
from collective.recipe.backup.destinations import Depth
from collective.recipe.backup.errors import IntegrityError, NoRestorePoint
from collective.recipe.backup.filestorage.fsindex import position
from collective.recipe.backup.operations.restore import describe, stream
from collective.recipe.backup.operations.restoreorder import RestoreOrder
from collective.recipe.backup.operations.verify import VerifyOrder, verify
from collective.recipe.backup.restorepoints import choose
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.samples import Site, contents_of


@pytest.fixture
def operated(site: Site) -> Operated:
    """A site with two chains, the newer one of three restore points."""
    operated = Operated(site, keep=0)
    for number in range(4):
        site.commit({"a": number}, {f"b{number}": b"blob %d" % number})
        operated.backup(full=number == 1)
    return operated


def part(operated: Operated, number: int) -> Path:
    stamp = operated.points()[number].stamp
    [path] = operated.place().filestorage.glob(f"{stamp}.*fsz")
    return path


def ledger(operated: Operated) -> Path:
    """Return the ledger of the newer chain."""
    return sorted(operated.place().filestorage.glob("*.dat"))[-1]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def refusal(operated: Operated, when: object = None) -> IntegrityError:
    live = operated.site.contents()
    with pytest.raises(IntegrityError) as caught:
        operated.restore(when)
    assert operated.site.contents() == live
    return caught.value


# damage that the restore itself meets


@pytest.mark.parametrize(("hurt", "whole"), [(3, 2), (2, 1), (1, 0)])
def test_the_newest_that_is_whole_is_named_with_its_command(
    operated: Operated, hurt: int, whole: int
) -> None:
    stamps = [point.stamp for point in operated.points()]
    cut(part(operated, hurt))
    operated.site.lose()
    with pytest.raises(IntegrityError) as caught:
        operated.restore()
    assert part(operated, hurt).name in caught.value.where
    assert f"restore {stamps[whole]} restores the newest before it" in caught.value.hint
    assert "a backup with --full begins anew" in caught.value.hint
    operated.restore(operated.points()[whole].moment)
    restored = contents_of(operated.site.filestorage, operated.site.blobstorage)
    assert restored["values"] == {"a": whole}


def test_where_nothing_else_is_whole_nothing_is_promised(operated: Operated) -> None:
    cut(part(operated, 0))
    cut(part(operated, 1))
    operated.site.lose()
    with pytest.raises(IntegrityError) as caught:
        operated.restore(operated.points()[0].moment)
    assert "no earlier restore point is whole" in caught.value.hint
    with pytest.raises(IntegrityError) as caught:
        stream(operated.run("restore"), RestoreOrder(), lambda _data: None)
    # nobody has looked at that one yet
    assert f"restore {operated.points()[0].stamp} " in caught.value.hint


def test_a_damaged_blob_leaves_what_does_not_need_it(operated: Operated) -> None:
    blobs = operated.place().blobstorage
    assert blobs is not None
    hurt = next(path for path in blobs.rglob("*.blob") if path.read_bytes() == b"blob 3")
    hurt.chmod(0o644)
    hurt.write_bytes(b"rotten")
    operated.site.lose()
    with pytest.raises(IntegrityError) as caught:
        operated.restore()
    assert f"restore {operated.points()[2].stamp} restores" in caught.value.hint


# damage that is known


def test_what_is_known_to_be_damaged_is_not_passed_over_in_silence(operated: Operated) -> None:
    cut(part(operated, 3))
    verify(operated.run("verify"), VerifyOrder(), lambda _source, _problem: None)
    stamps = [point.stamp for point in operated.points()]

    error = refusal(operated)

    assert error.exit_code == 3
    assert f"the newest restore point, {stamps[3]}, cannot be relied on" in str(error)
    assert part(operated, 3).name in str(error)
    assert f"restore {stamps[2]} restores the newest that is whole" in error.hint
    assert f"restore {stamps[3]} tries" in error.hint
    for look in (
        lambda: describe(operated.run("restore"), RestoreOrder()),
        lambda: stream(operated.run("restore"), RestoreOrder(), lambda _data: None),
    ):
        with pytest.raises(IntegrityError, match="cannot be relied on"):
            look()
    operated.restore(operated.points()[2].moment)
    assert operated.site.contents()["values"] == {"a": 2}


def test_the_filestorage_alone_can_be_had_of_what_lacks_a_blob(operated: Operated) -> None:
    blobs = operated.place().blobstorage
    assert blobs is not None
    next(path for path in blobs.rglob("*.blob") if path.read_bytes() == b"blob 3").unlink()
    verify(operated.run("verify"), VerifyOrder(depth=Depth.NAMES), lambda _source, _it: None)
    refusal(operated)
    operated.restore(operated.points()[3].moment, blobstorage=False)
    assert operated.site.contents()["values"] == {"a": 3}


def test_a_script_says_it_with_the_command_that_there_is(operated: Operated, capsys) -> None:
    cut(part(operated, 3))
    verify(operated.run("verify"), VerifyOrder(), lambda _source, _problem: None)
    assert main("restore", "standard", operated.config_path, ["--no-prompt"]) == 3
    said = capsys.readouterr().err
    assert re.search(f"hint: \\S+ {operated.points()[2].stamp} restores", said)


# ledgers


@pytest.mark.parametrize("line", [0, 1, 2])
def test_a_line_of_a_ledger_that_is_damaged_cuts_off_what_is_behind_it(
    operated: Operated, line: int
) -> None:
    lines = ledger(operated).read_bytes().split(b"\n")
    lines[line] = b"\0" * len(lines[line])
    ledger(operated).write_bytes(b"\n".join(lines))

    points = operated.points()

    assert [point.restorable for point in points] == [number <= line for number in range(4)]
    assert [point.damaged for point in points] == [number > line for number in range(4)]
    assert all(ledger(operated).name in point.problems[0] for point in points[line + 1 :])
    error = refusal(operated)
    assert points[3].stamp in str(error)
    assert f"restore {points[line].stamp} restores" in error.hint
    assert "all the same" not in error.hint


def test_a_ledger_that_is_gone_leaves_its_restore_points_in_the_list(operated: Operated) -> None:
    before = operated.points()
    ledger(operated).unlink()

    points = operated.points()

    assert [point.stamp for point in points] == [point.stamp for point in before]
    assert [point.chain for point in points] == [point.chain for point in before]
    assert [point.restorable for point in points] == [True, False, False, False]
    assert "no ledger names" in points[3].problems[0]
    refusal(operated)


@pytest.mark.parametrize("line", [0, 1, 2])
def test_a_ledger_that_is_damaged_after_the_choice_is_named(operated: Operated, line: int) -> None:
    choice = choose(operated.points(), None)
    lines = ledger(operated).read_bytes().split(b"\n")
    lines[line] = b"\0" * len(lines[line])
    ledger(operated).write_bytes(b"\n".join(lines))

    with operated.destination().open(choice) as state, pytest.raises(IntegrityError) as caught:
        state.log.end()

    assert caught.value.where == str(ledger(operated))
    assert "ledger" in caught.value.what


def test_a_full_backup_that_is_removed_after_the_choice_is_gone(operated: Operated) -> None:
    choice = choose(operated.points(), None)
    for path in operated.place().filestorage.glob(f"{choice.point.chain[:4]}*"):
        path.unlink()

    with operated.destination().open(choice) as state, pytest.raises(NoRestorePoint, match="gone"):
        state.log.end()


def test_the_next_backup_mends_what_still_fits(operated: Operated) -> None:
    ledger(operated).unlink()
    operated.backup()
    assert [point.whole for point in operated.points()] == [True] * 4


def test_what_is_cut_off_for_good_can_be_pruned(operated: Operated) -> None:
    chain = operated.points()[3].chain
    for path in operated.place().filestorage.glob(f"{chain}.*fsz"):
        path.unlink()
    ledger(operated).unlink()
    operated.backup()
    whole = {point.stamp[11:13]: point.restorable for point in operated.points()}
    assert whole == {"13": True, "14": False, "15": False, "16": False, "17": True}
    operated.restore()
    assert operated.site.contents()["values"] == {"a": 3}
    [destination] = operated.run("prune").destinations()
    destination.remove([point for point in operated.points() if point.chain == chain])
    assert [point.restorable for point in operated.points()] == [True, True]
    assert list(destination.verify(Depth.NAMES)) == []


def test_the_manifest_of_what_was_merged_is_no_restore_point(operated: Operated) -> None:
    left = operated.place().filestorage / f"{operated.points()[2].stamp}.json"
    data = left.read_bytes()
    [destination] = operated.run("merge").destinations()
    assert list(destination.tidy(operated.now)) == []
    middle = operated.points()[2].stamp
    assert middle in {point.stamp for point in operated.points()}
    left.write_bytes(data)
    assert len(operated.points()) == 4


def test_a_run_that_died_is_no_damage(operated: Operated, caplog) -> None:
    caplog.set_level(logging.INFO, "backup")
    part_of = operated.points()[3].stamp
    (operated.place().filestorage / f"{part_of}.json").unlink()
    assert operated.points()[3].damaged is False
    operated.restore()
    assert operated.site.contents()["values"] == {"a": 2}


# what stands in the place of a file, or cannot be read, and is not needed


def pipe_for(operated: Operated, name: str) -> Path:
    """Put a named pipe, into which nobody writes, in the place of a file of a backup."""
    path = operated.place().filestorage / name
    path.unlink()
    os.mkfifo(path)
    return path


def test_a_pipe_in_the_place_of_a_manifest_spoils_only_its_restore_point(
    operated: Operated,
) -> None:
    first, second, *_rest = operated.points()
    path = pipe_for(operated, f"{second.stamp}.json")
    assert [point.restorable for point in operated.points()] == [True, False, True, True]
    assert any(str(path) in problem for problem in operated.points()[1].problems)
    operated.restore(first.moment)


def test_a_pipe_in_the_place_of_a_manifest_that_no_ledger_knows_is_shown(
    operated: Operated,
) -> None:
    stamp = operated.points()[-1].stamp
    pipe_for(operated, f"{stamp}.json")
    ledger(operated).unlink()
    assert operated.points()[-1].damaged


@pytest.mark.parametrize("suffix", ["blocks", "index"])
def test_a_pipe_in_the_place_of_what_is_not_needed_stops_no_restore(
    operated: Operated, suffix: str
) -> None:
    path = pipe_for(operated, f"{operated.points()[1].stamp}.{suffix}")
    contents = operated.site.contents()
    operated.site.lose()
    operated.restore()
    assert operated.site.contents() == contents
    found = []
    order = VerifyOrder()
    verify(operated.run("verify"), order, lambda _source, problem: found.append(problem.where))
    assert str(path) in found


@pytest.mark.parametrize("live", ["gone", "there"])
@pytest.mark.parametrize("opened", [2, 3])
def test_an_index_that_cannot_be_read_stops_no_restore(
    operated: Operated, live: str, opened: int, monkeypatch, caplog
) -> None:
    """Whether its bad sector is met when it is compared with its digest, or when it is copied."""
    contents = operated.site.contents()
    if live == "gone":
        operated.site.lose()
    else:
        operated.site.filestorage.with_name("Data.fs.index").unlink()
    index = operated.place().filestorage / f"{operated.points()[1].stamp}.index"
    really_open, count = os.open, itertools.count(1)

    def bad_sector(path, *args, **kwargs):
        # by its path, or by its name in a directory that is held
        if os.fspath(path) in (os.fspath(index), index.name) and next(count) >= opened:
            # the first byte of this process's memory is not there: reading it is an EIO
            path = "/proc/self/mem"
        return really_open(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", bad_sector)
    operated.restore()
    monkeypatch.undo()
    assert operated.site.contents() == contents
    [warning] = [each for each in caplog.messages if "made anew" in each]
    assert str(index) in warning
    if live == "gone":
        made = operated.site.filestorage.with_name("Data.fs.index")
        assert position(made) == operated.site.size
