from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collective.recipe.backup.pathlines import BLOCK_SIZE, escaped, in_blocks, path_of

PATHS = st.binary(min_size=1).filter(lambda path: b"\0" not in path).map(os.fsdecode)


@given(path=PATHS)
def test_any_path_is_one_line_and_comes_back(path: str) -> None:
    assert b"\n" not in escaped(path)
    assert path_of(escaped(path)) == path


@pytest.mark.parametrize(
    ("path", "text"),
    [("a/b c", b"a/b c"), ("a\nb", rb"a\nb"), (r"a\b", rb"a\\b"), ("a\\\n", rb"a\\\n")],
)
def test_lists_that_are_there_stay_readable(path: str, text: bytes) -> None:
    assert escaped(path) == text
    assert path_of(text) == path


@given(pieces=st.lists(st.integers(0, 3 * BLOCK_SIZE).map(bytes), max_size=8))
def test_blocks_have_all_bytes_and_are_few(pieces: list[bytes]) -> None:
    blocks = list(in_blocks(pieces))
    assert b"".join(blocks) == b"".join(pieces)
    assert all(len(block) >= BLOCK_SIZE for block in blocks[:-1])
    assert all(blocks)
