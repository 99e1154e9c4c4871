"""The history: what it holds, and what it survives."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collective.recipe.backup import history
from collective.recipe.backup.files import Files
from collective.recipe.backup.history import (
    DONE,
    FAILED,
    LIMIT,
    NAME,
    HookRun,
    RunRecord,
    RunResult,
    append,
    flaw,
    read,
)
from collective.recipe.backup.tests.faults.harness import Fault, FaultyFiles
from collective.recipe.backup.tests.lengths import examples

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)


def record(number: int = 0, **more) -> RunRecord:
    facts = {"verb": "backup", "destination": "standard", "process": 7, "host": "plone"}
    return RunRecord(**{**facts, "started": NOON + number * MINUTE, **more})


def ended(number: int = 0, **more) -> RunRecord:
    return record(number, **{"outcome": DONE, "exit_code": 0, "seconds": 1.5, **more})


def test_a_run_is_what_its_last_line_says(tmp_path):
    full = ended(
        1,
        outcome="failed",
        exit_code=7,
        error="post_command failed: \udcff\x00 \u2028",
        phases={"filestorage": 0.25, "blobs": 1.0},
        points={"1": "2026-03-01-12-00-00", "catalog": "2026-03-01-12-00-00"},
        places={"standard": RunResult(outcome=DONE, points={"1": "2026-03-01-12-00-00"})},
        numbers={"bytes": 2**60},
        birth="a boot 17",
        hooks=(HookRun(name="pre_command", exit_code=0, seconds=0.1, output="</script>\n"),),
    )
    for line in (record(), ended(), record(1), full):
        append(tmp_path, line, Files())
    assert read(tmp_path) == [ended(), full]


def test_each_line_is_an_object_on_a_line_of_its_own(tmp_path):
    append(tmp_path, record(), Files())
    append(tmp_path, ended(error="a\nb\r\u2028é"), Files())
    lines = (tmp_path / NAME).read_text("ascii").splitlines()
    assert [json.loads(line)["outcome"] for line in lines] == ["started", "done"]


def test_a_run_that_died_stays_started(tmp_path):
    append(tmp_path, record(), Files())
    append(tmp_path, ended(1), Files())
    assert [each.outcome for each in read(tmp_path)] == ["started", "done"]


def test_no_history_is_an_empty_one(tmp_path):
    assert read(tmp_path) == []
    assert read(tmp_path / "nowhere") == []
    (tmp_path / NAME).mkdir()
    assert read(tmp_path) == []


def test_a_line_after_a_torn_one_counts(tmp_path):
    append(tmp_path, ended(), Files())
    path = tmp_path / NAME
    path.write_bytes(path.read_bytes() + b'{"verb": "bac')
    append(tmp_path, ended(1), Files())
    assert read(tmp_path) == [ended(), ended(1)]


def test_a_full_disk_tears_one_line_and_no_other(tmp_path):
    append(tmp_path, ended(), Files())
    with pytest.raises(OSError, match="space"):
        append(tmp_path, ended(1), FaultyFiles(Fault.NO_SPACE, 2))
    assert read(tmp_path) == [ended()]
    append(tmp_path, ended(2), Files())
    assert read(tmp_path) == [ended(), ended(2)]


def test_a_history_that_hides_the_last_run_has_a_flaw(tmp_path):
    path = tmp_path / NAME
    assert flaw(tmp_path) == ""
    path.touch()
    assert flaw(tmp_path) == ""
    append(tmp_path, ended(), Files())
    whole = path.read_bytes()
    assert flaw(tmp_path) == ""
    path.write_bytes(bytes(len(whole)))
    assert flaw(tmp_path).startswith("its last line: ")
    path.write_bytes(whole + whole[:-9])
    assert flaw(tmp_path).startswith("its last line: ")
    append(tmp_path, ended(1), Files())
    assert flaw(tmp_path) == ""
    path.unlink()
    path.mkdir()
    assert flaw(tmp_path) == "not a regular file"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"7",
        b'"text"',
        b"[" * 100_000,
        b'{"check": "00000000"}',
        b"\xff\x00",
    ],
)
def test_what_is_no_line_of_ours_is_skipped(tmp_path, line):
    append(tmp_path, ended(), Files())
    path = tmp_path / NAME
    path.write_bytes(line + b"\n" + path.read_bytes() + line + b"\n")
    assert read(tmp_path) == [ended()]


@settings(max_examples=examples(200))
@given(st.data())
def test_a_flipped_bit_costs_one_line(tmp_path_factory, data):
    directory = tmp_path_factory.mktemp("history")
    runs = [ended(number, error="some words") for number in range(3)]
    for run in runs:
        append(directory, run, Files())
    path = directory / NAME
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    kept = read(directory)
    assert all(run in runs for run in kept)
    # a line end that is gone joins two lines
    assert len(kept) >= len(runs) - 2


def test_a_history_does_not_grow_for_ever_and_forgets_no_verb(tmp_path, monkeypatch):
    monkeypatch.setattr(history, "LIMIT", 20_000)
    proof = ended(0, verb="rehearse")
    append(tmp_path, proof, Files())
    for number in range(1, 400):
        append(tmp_path, record(number), Files())
        append(tmp_path, ended(number), Files())
        assert (tmp_path / NAME).stat().st_size <= 20_000
    runs = read(tmp_path)
    assert runs[0] == proof
    assert runs[1:] == [ended(number) for number in range(400 - len(runs[1:]), 400)]
    assert len(runs) > 10
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_however_much_is_said_a_line_is_short(tmp_path):
    said = "\U0001f600" * 10**5
    hooks = tuple(
        HookRun(name=name, exit_code=1, seconds=1, output=said)
        for name in ("pre_command", "failure_command")
    )
    append(tmp_path, ended(error=said, hooks=hooks), Files())
    assert (tmp_path / NAME).stat().st_size < LIMIT // 5
    [run] = read(tmp_path)
    assert run.hooks[0].output == said[: history.TEXT_LIMIT]


def test_writing_it_anew_may_die_anywhere(tmp_path, monkeypatch):
    monkeypatch.setattr(history, "LIMIT", 3000)
    runs = []
    while (tmp_path / NAME).exists() is False or (tmp_path / NAME).stat().st_size < 2700:
        runs.append(ended(len(runs)))
        append(tmp_path, runs[-1], Files())
    whole = (tmp_path / NAME).read_bytes()
    counting = FaultyFiles()
    append(tmp_path, ended(99), counting)
    for fault in (Fault.EIO, Fault.NO_SPACE):
        for at in range(1, len(counting.changes) + 1):
            (tmp_path / NAME).write_bytes(whole)
            try:
                append(tmp_path, ended(99), FaultyFiles(fault, at))
            except OSError:
                assert read(tmp_path) in (runs, read(tmp_path)[:-1] + [ended(99)])
            assert len(read(tmp_path)) >= 2


def test_a_run_is_told_from_another_by_its_process(tmp_path):
    other = replace(ended(), process=8)
    append(tmp_path, ended(), Files())
    append(tmp_path, other, Files())
    assert read(tmp_path) == [ended(), other]


def test_runs_come_as_they_ended_whatever_the_clock_said(tmp_path):
    ahead, long = ended(10**6), record(1)
    for line in (ahead, long, ended(2), ended(1, seconds=9000.0)):
        append(tmp_path, line, Files())
    assert read(tmp_path) == [ahead, ended(2), ended(1, seconds=9000.0)]


def test_a_clock_that_was_ahead_makes_no_run_outlast_later_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(history, "LIMIT", 20_000)
    append(tmp_path, ended(10**6), Files())
    for number in range(200):
        append(tmp_path, ended(number), Files())
    runs = read(tmp_path)
    assert runs == [ended(number) for number in range(200 - len(runs), 200)]


def test_a_run_to_several_places_is_seen_by_each_as_it_went_there():
    done = RunResult(outcome=DONE, exit_code=0)
    away = RunResult(outcome=FAILED, exit_code=6, error="away")
    failed = {"outcome": FAILED, "exit_code": 7, "error": "the hook"}

    def seen(place, places, **facts):
        found = replace(record(1, **facts), places=places).at(place)
        return found and (found.destination, found.outcome, found.exit_code)

    one_away = {"standard": done, "far": away}
    assert seen("standard", one_away, **failed) == ("standard", "done", 0)
    assert seen("far", one_away, **failed) == ("far", "failed", 6)
    assert seen("near", one_away, **failed) is None
    # a hook failed when all was done, or before anything was
    assert seen("far", {"standard": done, "far": done}, **failed) == ("far", "failed", 7)
    not_begun = dict.fromkeys(("standard", "far"), RunResult())
    assert seen("far", not_begun, **failed) == ("far", "failed", 7)
