from __future__ import annotations

import pytest

from collective.recipe.backup.blobs.rotation import moving


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [([], []), ([0], [0]), ([2, 0, 1], [2, 1, 0]), ([1, 2], []), ([0, 1, 3, 4], [1, 0])],
)
def test_what_lies_below_the_first_gap_moves_the_largest_first(numbers, expected) -> None:
    assert moving(numbers) == expected
