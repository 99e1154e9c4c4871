"""The page of sitebackup is what the command is."""

from __future__ import annotations

from pathlib import Path

import collective.recipe.backup
from collective.recipe.backup.cli.verbs import VERBS
from collective.recipe.backup.sitebackup.sitebackuppage import render

PAGE = Path(collective.recipe.backup.__file__).parents[4] / "docs" / "reference" / "sitebackup.rst"


def test_the_page_is_rendered_from_the_code() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), "write what render() returns to the page"


def test_each_command_is_on_it() -> None:
    assert [name for name in VERBS if f"\n``{name}``\n" not in render()] == []
