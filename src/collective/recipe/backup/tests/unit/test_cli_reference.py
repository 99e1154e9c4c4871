"""The pages of commands and of JSON are what the commands are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import collective.recipe.backup
from collective.recipe.backup.cli import main
from collective.recipe.backup.cli.commandspage import render
from collective.recipe.backup.cli.verbs import VERBS
from collective.recipe.backup.recipe import SCRIPTS
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.samples import Site

PAGES = Path(collective.recipe.backup.__file__).parents[4] / "docs" / "reference"


def test_the_page_of_commands_is_rendered_from_the_parsers():
    page = (PAGES / "commands.rst").read_text(encoding="utf-8")
    assert page == render(SCRIPTS), "write what render(SCRIPTS) returns to commands.rst"


def test_each_script_and_each_verb_is_on_it():
    page = render(SCRIPTS)
    for script in SCRIPTS:
        assert f"``{script.own_name}``" in page
        assert f"``{script.name('NAME')}``" in page
        assert script.verb in {*VERBS, ""}


def documents() -> dict[str, object]:
    """Return the JSON of each chapter of the page of JSON."""
    page = (PAGES / "json.rst").read_text(encoding="utf-8")
    chapters = re.split(r"^(\S+(?: --\S+)?)\n-+\n", page, flags=re.MULTILINE)[1:]
    blocks = r"\.\. code-block:: json\n\n((?:   .*\n|\n)+)"
    return {
        title: json.loads(re.search(blocks, text)[1])
        for title, text in zip(chapters[::2], chapters[1::2], strict=True)
    }


def shape(value: object, path: str = "") -> set[str]:
    """Return the paths of all keys."""
    if isinstance(value, dict):
        return {f"{path}.{key}" for key in value}.union(
            *(shape(each, f"{path}.{key}") for key, each in value.items())
        )
    if isinstance(value, list):
        return set().union(*(shape(each, f"{path}[]") for each in value))
    return set()


@pytest.mark.parametrize(
    "script",
    [
        "backup-list",
        "backup-list --content",
        "backup-log",
        "backup-objects",
        "backup-objects --deleted",
        "backup-verify",
        "backup-rehearse",
        "backup-prune",
        "backup-status",
        "backup-doctor",
    ],
)
def test_the_json_of_a_command_has_the_keys_of_the_page(site: Site, capsys, script):
    operated = Operated(site, minimum_restore_points=9)
    site.commit({"a": 1}, {"b": b"data"})
    operated.backup()
    site.commit({"a": 2})
    operated.backup()
    if "--deleted" in script:
        site.delete("a")
    verb, *flags = script.removeprefix("backup-").split()
    arguments = ["--json", "--quiet", *flags]
    if script == "backup-verify":
        next(operated.place().filestorage.glob("*.deltafsz")).unlink()
    if script == "backup-prune":
        arguments.append("--dry-run")
    main(verb, "standard", operated.config_path, arguments)
    assert shape(json.loads(capsys.readouterr().out)) == shape(documents()[script])


def test_the_json_of_an_error_has_the_keys_of_the_page(site: Site, capsys):
    code = main("verify", "standard", Operated(site).config_path, ["--json"])
    content = json.loads(capsys.readouterr().out)
    shown = documents()["Errors"]
    assert shape(content) == shape(shown)
    assert content["error"]["kind"] == shown["error"]["kind"]
    assert content["error"]["exit_code"] == shown["error"]["exit_code"] == code
