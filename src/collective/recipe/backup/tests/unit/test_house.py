"""What docs/design shows of the house is what its code is."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from collective.recipe.backup.tests import house

PAGE = (house.PROJECT / "docs" / "design" / "architecture.rst").read_text(encoding="utf-8")


def table() -> list[list[str]]:
    """Return the layers of the table in architecture.rst, the highest first."""
    block = re.search(r"^::\n\n((?:    .*\n)+)", PAGE, re.M)
    assert block
    found: list[list[str]] = []
    for line in block[1].splitlines():
        names = line[4:42].strip()
        if names and not names.startswith("|"):
            found.append([])
        found[-1] += re.findall(r"\w+", names)
    return found


def test_the_picture_is_what_the_code_gives():
    assert house.PICTURE.read_text(encoding="utf-8") == house.picture(), "run: make house"


def test_each_layer_of_the_contract_is_in_the_table_and_none_else():
    assert [sorted(names) for names in table()] == [sorted(names) for names in house.layers()]


def test_each_room_is_in_the_picture_with_its_subject():
    texts = {each.text for each in ElementTree.fromstring(house.picture()).iter() if each.text}
    names = [name for names in house.layers() for name in names]
    assert len(names) > 40
    for name in names:
        each = house.row(name)
        assert each.words
        assert {each.name + "/" * each.is_package, each.words} <= texts


def test_a_curve_leads_from_each_package_to_those_that_it_imports_from():
    picture = house.draw([[row("above", rooms=3, uses={"below", "room"})],
                          [row("room"), row("below", rooms=2)]])  # fmt: skip
    assert re.findall("<title>(.*?)</title>", picture) == ["above imports from below"]


def test_the_picture_grows_with_its_layers():
    low, high = (house.draw([[row(name)] for name in names]) for names in ("a", "ab"))
    assert [height(picture) for picture in (low, high)] == [56, 82]


@pytest.mark.parametrize(("lines", "told"), [(0, 50), (50, 50), (51, 100), (100, 100), (801, 1600)])
def test_sizes_are_told_in_steps(lines, told):
    assert house.rounded(lines) == told


def test_only_lines_of_code_are_counted(tmp_path):
    room = tmp_path / "room.py"
    room.write_text(
        '"""Two\n\nlines."""\n\n# no\ntext = """a\nb"""\n\n\ndef f():\n    "no"\n    g()\n'
    )
    assert house.lines_of_code(room) == 4


def row(name: str, rooms: int = 1, uses: set[str] = frozenset()) -> house.Row:
    return house.Row(name, f"Subject of {name}.", rooms, 100, frozenset(uses))


def height(picture: str) -> int:
    return int(ElementTree.fromstring(picture).get("viewBox").split()[3])
