"""What docs/design/architecture.rst says of rooms is what there is, and its walks go down."""

from __future__ import annotations

import re

import pytest

from collective.recipe.backup.tests import house

PAGE = (house.PROJECT / "docs" / "design" / "architecture.rst").read_text(encoding="utf-8")
WALKS = re.findall(r"((?:^\d\. ``[\w/]+\.py``: .*\n)+)", PAGE, re.MULTILINE)


def rooms(text: str) -> list[str]:
    return re.findall(r"``([\w/]+\.py)``", text)


def layer(room: str) -> int:
    """Return the number of the layer of *room*, the uppermost 0."""
    name = room.partition("/")[0].removesuffix(".py")
    [found] = [number for number, names in enumerate(house.layers()) if name in names]
    return found


@pytest.mark.parametrize("room", sorted(set(rooms(PAGE))))
def test_each_room_that_is_named_is_there(room: str) -> None:
    roots = [house.HERE, house.HERE / "tests"]
    assert any((root / room).is_file() for root in roots)


def test_each_question_is_answered_by_one_room() -> None:
    answers = re.findall(r"^   \* - (.*\?)\n     - (.*)$", PAGE, re.MULTILINE)
    assert len(answers) >= 20
    assert all(len(rooms(answer)) == 1 for _question, answer in answers)


def test_there_are_three_walks() -> None:
    assert len(WALKS) == 3


@pytest.mark.parametrize("walk", WALKS)
def test_a_walk_has_few_rooms_and_goes_down(walk: str) -> None:
    walked = rooms(walk)
    assert 2 < len(walked) <= 9
    assert [layer(room) for room in walked] == sorted(layer(room) for room in walked)
