"""The files around the code say one thing, each for another reader."""

from __future__ import annotations

import re
from configparser import ConfigParser

import pytest
import yaml

from collective.recipe.backup.tests.house import PROJECT

MAKEFILE = (PROJECT / "Makefile").read_text(encoding="utf-8")
TOX = ConfigParser(interpolation=None)
TOX.read(PROJECT / "tox.ini", encoding="utf-8")
SETUP = ConfigParser(interpolation=None)
SETUP.read(PROJECT / "setup.cfg", encoding="utf-8")


def recipe_of(target: str) -> list[str]:
    """Return the commands of a target, without the directory of their programs."""
    [body] = re.findall(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.M)
    return [line.strip().removeprefix("$(BIN)/") for line in body.splitlines()]


def without_directory(command: str) -> str:
    """Return *command* without what says that all files are meant."""
    return command.removesuffix(" .")


def test_the_linters_are_those_of_make_lint_before_a_commit_and_in_tox():
    lint = recipe_of("lint")
    assert TOX["testenv:lint"]["commands"].strip().splitlines() == lint
    config = yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = [hook["entry"].removeprefix(".venv/bin/") for hook in config["repos"][0]["hooks"]]
    assert sorted(hooks) == sorted(map(without_directory, lint))


def test_the_pages_are_made_elsewhere_as_make_docs_makes_them():
    [command] = TOX["testenv:docs"]["commands"].strip().splitlines()
    assert command.replace("{envtmpdir}", "docs/_build/html") == recipe_of("docs")[0]
    reading = yaml.safe_load((PROJECT / ".readthedocs.yaml").read_text(encoding="utf-8"))
    assert (PROJECT / reading["sphinx"]["configuration"]).is_file()
    assert reading["sphinx"]["fail_on_warning"] is True
    extras = SETUP["options.extras_require"]
    [installed] = reading["python"]["install"]
    for extra in installed["extra_requirements"]:
        assert set(extras[extra].split("\n")) <= set(extras["test"].split("\n"))


def test_tox_has_each_python_that_the_metadata_name():
    named = re.findall(r"Python :: 3\.(\d+)", SETUP["metadata"]["classifiers"])
    [tested] = re.findall(r"py\{([\d,]+)\}", TOX["tox"]["envlist"])
    assert tested.split(",") == [f"3{minor}" for minor in named]
    assert SETUP["options"]["python_requires"] == f">=3.{named[0]}"


def test_make_help_names_each_target():
    [targets] = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.M)
    helped = re.findall(r'@echo "make (\S+) ', MAKEFILE)
    assert sorted(helped) == sorted(set(targets.split()) - {"help"})
    for target in helped:
        assert recipe_of(target)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("LICENSE", "GNU GENERAL PUBLIC LICENSE"),
        ("SECURITY.rst", "Report a vulnerability"),
        ("CONTRIBUTING.rst", "make test"),
        ("CODE_OF_CONDUCT.rst", "https://"),
        ("CHANGES.rst", "7.0.0"),
        (".editorconfig", "root = true"),
        (".github/pull_request_template.md", "CHANGES.rst"),
        (".github/ISSUE_TEMPLATE/fault.md", "doctor"),
        (".github/ISSUE_TEMPLATE/wish.md", "about:"),
    ],
)
def test_what_people_look_for_in_a_project_is_there(name, told):
    assert told in (PROJECT / name).read_text(encoding="utf-8")


def test_the_parts_of_the_changes_are_breaking_new_and_fixed():
    changes = (PROJECT / "CHANGES.rst").read_text(encoding="utf-8")
    newest = re.split(r"^\d\S* \(.*\)\n-+\n", changes, flags=re.M)[1]
    assert re.findall(r"^(\w+):$", newest, re.M) == ["Breaking", "New", "Fixed"]
