"""docs/design/selection.rst draws what the code writes, and what was written is read for ever."""

from __future__ import annotations

import re

import pytest

from collective.recipe.backup.filestorage.segments import (
    logstate,
    matching,
    read_log_state,
    recordindex,
    segmentends,
    segmentkeys,
    selecting,
    spans,
)
from collective.recipe.backup.filestorage.segments.spans import Rule
from collective.recipe.backup.tests import segmentreader
from collective.recipe.backup.tests.segmented import Captures, encoded, read_sample
from collective.recipe.backup.tests.unit.test_rules import PACKAGE

PAGE = (PACKAGE.parents[3] / "docs" / "design" / "selection.rst").read_text(encoding="utf-8")
NUMBERS = range(5)


@pytest.fixture(scope="module")
def sample() -> Captures:
    return read_sample()


def drawn(begin: str) -> list[tuple[int, int]]:
    """Return offset and size of each field with a fixed offset, of the drawing with *begin*."""
    drawing = PAGE[PAGE.rindex("::", 0, PAGE.index(begin)) :].split("\n\n")[1]
    rows = re.findall(r"^ {4}(\d+) +(\d+)(?: T)?  ", drawing, re.M)
    return [(int(offset), int(size)) for offset, size in rows]


@pytest.mark.parametrize(
    ("begin", "size"), [('magic "CRBINDEX"', recordindex._HEADER.size), ('magic "CRBSTATE"', 54)]
)
def test_fields_follow_one_another_as_they_are_drawn(begin, size):
    fields = [field for field in drawn(begin) if field[0] < size]
    assert [at for at, _size in fields] == [
        sum(size for _at, size in fields[:number]) for number in range(len(fields))
    ]
    assert sum(fields[-1]) == size


def test_names_and_sizes_are_those_of_the_code():
    for context in (segmentkeys._CUTS, segmentkeys._DATA, segmentkeys._TEXTS):
        assert f"    {context}\n" in PAGE
    for magic in (recordindex.MAGIC, logstate.MAGIC, logstate.PAGE_MAGIC):
        assert f'magic "{magic.decode()}"' in PAGE
    assert (segmentends.LEAST, segmentends.MEAN, segmentends.GREATEST) == (
        1 << 20,
        1 << 20,
        4 << 20,
    )
    assert spans.BLOCK == segmentreader.BLOCK
    assert f"with {logstate.SPANS_OF_A_PAGE} spans, or with fewer that take 1 MiB" in PAGE
    assert f"less than {selecting.ISLAND >> 10} KiB" in PAGE
    assert (matching.most_corrections(0), matching.most_corrections(192_000)) == (85, 1000)


def test_the_sample_has_spans_of_all_rules(sample):
    found = [
        span
        for root, _data in sample.taken
        for span in read_log_state(root).all_spans(sample.chunks)
    ]
    assert {span.rule for span in found} == set(Rule)
    assert all(any(getattr(span, name) for span in found) for name in ("loans", "pointers"))
    assert any(span.corrections for span in found)
    assert len(sample.taken) == len(NUMBERS)


@pytest.mark.parametrize("number", NUMBERS)
def test_states_of_version_1_are_read_for_ever(sample, number):
    root, data = sample.taken[number]
    assert b"".join(sample.rebuilt(number).stream()) == data
    assert segmentreader.filestorage(encoded(root), sample.chunks.held.__getitem__) == data
    assert read_log_state(root).root() == root


@pytest.mark.parametrize("number", NUMBERS)
def test_captures_go_on_from_states_of_version_1(sample, tmp_path, number):
    path = tmp_path / "Data.fs"
    for later in range(number, len(NUMBERS)):
        path.write_bytes(sample.taken[later][1])
        captures = Captures()
        captures.chunks.held = dict(sample.chunks.held)
        captures.last = read_log_state(sample.taken[number][0])
        captured = captures.capture(path)
        # but for what was committed since
        assert captured.added <= 6000
        assert captured.kept + captured.selected + captured.added == captured.state.size - 4
        assert b"".join(captures.rebuilt().stream()) == sample.taken[later][1]
