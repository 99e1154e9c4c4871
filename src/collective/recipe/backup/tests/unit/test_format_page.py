"""docs/design/format.rst draws what the code writes."""

from __future__ import annotations

import re

from collective.recipe.backup.destinations import manifest
from collective.recipe.backup.repozo import blocks
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.unit.test_rules import PACKAGE

PAGE = (PACKAGE.parents[3] / "docs" / "design" / "format.rst").read_text(encoding="utf-8")


def test_the_header_of_digests_is_as_long_as_it_is_drawn():
    drawing = PAGE[PAGE.index('magic "CRBBLOCK"') - 20 : PAGE.index("of the first block")]
    rows = [(int(at), int(size)) for at, size in re.findall(r"^ +(\d+) +(\d+)  ", drawing, re.M)]
    assert [at for at, _size in rows] == [
        sum(size for _at, size in rows[:number]) for number in range(len(rows))
    ]
    assert rows[-1] == (blocks._HEADER.size, blocks.DIGEST_SIZE)
    assert f"version of this format, {blocks.VERSION}" in drawing
    assert f'magic "{blocks._MAGIC.decode()}"' in drawing


def test_the_keys_of_a_manifest_are_those_of_the_page(site):
    operated = Operated(site)
    stamp = operated.backup().point.stamp
    written = manifest.path_of(operated.place().filestorage, stamp).read_text("ascii")
    table = PAGE[PAGE.index("``STAMP.json``") : PAGE.index("Trees of blobs")]
    assert set(re.findall(r"^``(\w+)``", table, re.M)) == set(re.findall(r'"(\w+)":', written))
    assert written.count("\n") == 1
