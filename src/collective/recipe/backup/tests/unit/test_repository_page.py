"""docs/design/repository.rst draws what the code writes, and its numbers are those of the code."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from collective.recipe.backup.destinations.repository import (
    blobpages,
    foreignpages,
    kinds,
    treepages,
)
from collective.recipe.backup.repository import (
    boxes,
    bundles,
    catalogs,
    chunks,
    plans,
    pruning,
    sealing,
    standing,
)
from collective.recipe.backup.tests.unit.test_rules import PACKAGE

PAGE = (PACKAGE.parents[3] / "docs" / "design" / "repository.rst").read_text(encoding="utf-8")


def drawn(heading: str, within: str) -> list[tuple[int, int]]:
    """Return offset and size of each field of the first drawing below *heading* with *within*."""
    part = PAGE[re.search(rf"^{heading}\n[-~]+\n", PAGE, re.M).end() :]
    drawings = re.findall(r"::\n\n((?: {4}.*\n)+)", part)
    drawing = next(each for each in drawings if within in each)
    return [(int(at), int(size)) for at, size in re.findall(r"^ *(\d+) +(\d+)  ", drawing, re.M)]


@pytest.mark.parametrize(
    ("heading", "within", "size"),
    [
        ("Sealing", "CRBSTORE", sealing.HEADER_SIZE),
        ("Boxes", "form of the contents", boxes._PIECE.size),
    ],
)
def test_the_fields_of_a_drawing_follow_one_another(heading, within, size):
    fields = drawn(heading, within)
    assert [at for at, _size in fields] == [
        sum(size for _at, size in fields[:number]) for number in range(len(fields))
    ]
    assert sum(fields[-1]) == size


def test_an_entry_of_the_directory_of_a_bundle_is_as_long_as_it_is_drawn():
    fields = drawn("Bundles", "for each chunk, in their order")
    assert fields[0][1] == bundles._COUNT.size
    assert fields[1][1] == sum(fields[-1]) == bundles._ENTRY.size


def test_the_kinds_of_chunks_in_the_table_are_all_that_there_are():
    part = PAGE[PAGE.index("The kinds of chunks are:") :]
    table = {
        int(number): sort == "node"
        for number, sort in re.findall(r"^(\d+) +(leaf|node) ", part, re.M)
    }
    numbers = {value for value in vars(kinds).values() if isinstance(value, int)}
    assert table == {number: number >= chunks.NODE for number in numbers}


@pytest.mark.parametrize("pages", [foreignpages, treepages])
def test_the_magic_words_of_pages_are_those_of_the_code(pages):
    assert f'magic "{pages.MAGIC.decode()}"' in PAGE
    assert f'magic "{pages.PAGE_MAGIC.decode()}"' in PAGE


def test_the_numbers_on_the_page_are_those_of_the_code():
    assert timedelta(hours=48) == pruning.GRACE
    assert "wait 48 hours, the *grace*" in PAGE
    assert timedelta(hours=1) == plans.SLACK
    assert "younger than it by an hour or more" in PAGE
    assert (plans.MAX_UNUSED, plans.HALF) == (0.1, 0.5)
    assert "This stops when 10 % of all bytes or less are waste." in PAGE
    assert f"{plans.MANY_SMALL} bundles of less than {plans.SMALL >> 20} MiB" in PAGE
    assert f"takes chunks until it has {bundles.FULL >> 20} MiB" in PAGE
    assert f"Up to {chunks.LARGEST >> 20} MiB of data" in PAGE
    assert f"after each {catalogs.MOST_BYTES >> 20} MiB" in PAGE
    assert f"{standing.LINE_LIFE.days} days older than the newest one" in PAGE
    assert f"names of up to {treepages.PIECES_OF_A_LIST} pieces" in PAGE
    assert f"names up to {treepages.PIECES_NAMED} pieces without such a list" in PAGE
    assert treepages.PIECES_OF_A_LIST == blobpages.PIECES_OF_A_NODE
