"""What the first page promises is what the other pages say."""

from __future__ import annotations

import re
from configparser import ConfigParser

import pytest

from collective.recipe.backup.tests.house import PROJECT

README = (PROJECT / "README.rst").read_text(encoding="utf-8")
MEASURED = (PROJECT / "docs" / "performance.rst").read_text(encoding="utf-8")


def table_below(title: str, text: str) -> list[list[str]]:
    """Return the rows of the first list-table below a *title*."""
    [_before, section] = re.split(rf"^{title}\n-+\n", text, flags=re.M)
    [_before, table, *_more] = section.split(".. list-table::")
    rows = re.split(r"^   \* - ", table, flags=re.M)[1:]
    return [[cell.split("\n")[0] for cell in row.split("\n     - ")] for row in rows]


CLAIMED = table_below("What it costs", README)
ALONE = table_below("The filestorage alone", MEASURED)
WITH_BLOBS = table_below("Filestorage and blobs", MEASURED)


@pytest.mark.parametrize(("work", "tool", "theirs", "ours"), CLAIMED[1:])
def test_a_figure_of_the_readme_is_one_that_was_measured(work, tool, theirs, ours):
    heads, *rows = ALONE if tool == "repozo" else WITH_BLOBS
    assert heads[:3] == ["work", "ours", tool]
    assert [work, ours, theirs] in [row[:3] for row in rows]


def test_the_readme_has_three_figures():
    assert len(CLAIMED) == 1 + 3


def test_the_readme_names_only_pages_that_there_are():
    for path in re.findall(r"``((?:docs/[\w/.-]*)|(?:[A-Z]+\.rst))``", README):
        assert (PROJECT / path).exists(), path


def test_a_link_of_the_readme_leads_to_a_page_of_the_project():
    root = "https://github.com/collective/collective.recipe.backup/blob/main/"
    links = re.findall(r"<(https://\S+)>`__", README)
    assert len(links) == 9
    for url in links:
        assert url.startswith(root)
        assert (PROJECT / url.removeprefix(root)).exists(), url


def test_the_readme_has_each_extra_that_users_install():
    parser = ConfigParser()
    parser.read(PROJECT / "setup.cfg")
    extras = set(parser["options.extras_require"]) - {"dist", "docs", "test"}
    [_before, table] = README.split(".. list-table:: Extras")
    [table, _after] = table.split("In a buildout")
    assert set(re.findall(r"``([\w-]+)``", table)) - {"backup-browse", "backup-open"} == extras


def test_a_picture_of_the_readme_is_in_the_project():
    pictures = re.findall(r"^\.\. image:: (\S+)$", README, re.M)
    assert len(pictures) == 2
    for url in pictures:
        root, path = url.split("/main/")
        assert root == "https://raw.githubusercontent.com/collective/collective.recipe.backup"
        assert (PROJECT / path).is_file()
