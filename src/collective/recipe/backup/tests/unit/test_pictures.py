"""The pictures of the documentation are what the code and a real run give."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from collective.recipe.backup.tests.house import PROJECT
from collective.recipe.backup.tests.pictures import diagrams, story, terminal
from collective.recipe.backup.tests.test_narrative import CHECKER, FLAGS

STATIC = PROJECT / "docs" / "_static"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("name", diagrams.all_of_them())
def test_a_committed_diagram_is_what_the_code_draws(name):
    drawn = diagrams.all_of_them()[name]
    assert (STATIC / name).read_text(encoding="utf-8") == drawn, "run: make pictures"


def test_the_terminal_shows_what_the_commands_print(command, tmp_path):
    picture = ElementTree.parse(STATIC / "terminal.svg").getroot()
    shown = picture.findtext(f"{SVG}desc")
    printed = "\n".join(story.lines(story.told(tmp_path, nights=story.FEW)))
    assert CHECKER.check_output(shown, printed, FLAGS), (
        f"run: make pictures; the commands print\n{printed}"
    )
    # what is told to those who do not see the picture is what it shows
    rows = ["".join(text.itertext()) for text in picture.iter(f"{SVG}text")]
    assert " ".join(" ".join(rows[1:]).split()) == " ".join(shown.split())


def test_a_line_that_is_wider_than_the_terminal_goes_on_in_the_next_row():
    words = "word " * 40
    assert [len(row) <= terminal.COLUMNS for row in terminal.wrapped(words)] == [True] * 3
    assert " ".join(terminal.wrapped(words)) == words.strip()


def test_each_picture_is_shown_by_a_page_which_has_words_for_it():
    pages = [PROJECT / "README.rst", *(PROJECT / "docs").rglob("*.rst")]
    shown = {}
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for name, options in re.findall(r"\.\. (?:image|figure):: (\S+)\n((?: +\S.*\n)*)", text):
            shown.setdefault(name.rpartition("/")[2], []).append(":alt:" in options)
    for path in STATIC.iterdir():
        assert path.name in shown, path.name
        assert all(shown[path.name]), f"{path.name} is shown without :alt:"
