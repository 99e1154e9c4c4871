"""Completion, as real shells do it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from collective.recipe.backup.cli.arguments import parser_of
from collective.recipe.backup.cli.verbs import VERBS
from collective.recipe.backup.sitebackup.commands import commands
from collective.recipe.backup.sitebackup.completing import COMPLETION, SHELLS, script
from collective.recipe.backup.sitebackup.storechecking import CHECK_STORE

BASH = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 ))
$(complete -p sitebackup | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
printf '%s\\n' "${COMPREPLY[@]}"
"""
ZSH = """
zmodload zsh/zpty
zpty shell "zsh -f -i"
zpty -w shell "PS1= PS2=; autoload -U compinit; compinit -D -u; zstyle ':completion:*' list-colors"
zpty -w shell "eval \\"\\$(<$1)\\"; cd ${3}; setopt nolistambiguous; stty columns 500; print READY"
zpty -r shell seen '*READY*READY*'
zpty -n -w shell "$2"$'\\t\\t'
sleep 1.5
zpty -w shell $'\\x15print D''ONE'
zpty -r shell seen '*DONE*'
print -r -- "$seen"
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a directory with the scripts of all shells and something to complete."""
    for shell in SHELLS:
        (tmp_path / f"script.{shell}").write_text(script(shell, "sitebackup") + "\n")
    (tmp_path / "some dir").mkdir()
    (tmp_path / "some.toml").write_text("")
    return tmp_path


def in_bash(place: Path, *words: str) -> set[str]:
    arguments = ["bash", "--norc", "-c", BASH, "bash", place / "script.bash", *words]
    return set(output(arguments, place).splitlines()) - {""}


def in_fish(place: Path, *words: str) -> set[str]:
    line = " ".join(words)
    code = f'source script.fish; complete --do-complete "{line}"'
    said = output(["fish", "--no-config", "-c", code], place)
    return {each.partition("\t")[0] for each in said.splitlines()}


def in_zsh(place: Path, *words: str) -> str:
    return output(
        ["zsh", "-f", "-c", ZSH, "zsh", place / "script.zsh", " ".join(words), place], place
    )


def output(arguments: list[object], place: Path) -> str:
    done = subprocess.run(
        list(map(str, arguments)),
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(place), "TERM": "dumb"},
    )
    assert done.stderr == ""
    return done.stdout


def flags_of(command: str) -> set[str]:
    return set(parser_of(commands()[command], command).option_names())


@pytest.mark.needs("bash")
def test_bash_completes_verbs_options_and_files(place: Path) -> None:
    assert in_bash(place, "sitebackup", "") == {*VERBS, CHECK_STORE, COMPLETION}
    assert in_bash(place, "sitebackup", "re") == {it for it in VERBS if it.startswith("re")}
    assert in_bash(place, "sitebackup", "verify", "--depth", "") == {
        "names",
        "checksums",
        "records",
    }
    assert in_bash(place, "sitebackup", "backup", "--config", "some.") == {"some.toml"}
    assert in_bash(place, "sitebackup", "backup", "--blob-storage", "so") == {"some dir"}
    assert in_bash(place, "sitebackup", "completion", "") == set(SHELLS)


@pytest.mark.needs("bash")
@pytest.mark.parametrize("command", list(VERBS))
def test_bash_knows_every_flag(place: Path, command: str) -> None:
    assert in_bash(place, "sitebackup", command, "-") == flags_of(command)


@pytest.mark.needs("fish")
def test_fish_completes_verbs_options_and_files(place: Path) -> None:
    assert in_fish(place, "sitebackup", "") == {*VERBS, CHECK_STORE, COMPLETION}
    assert in_fish(place, "sitebackup", "verify", "--depth", "") == {
        "names",
        "checksums",
        "records",
    }
    assert "some.toml" in in_fish(place, "sitebackup", "backup", "--config", "some.")
    assert in_fish(place, "sitebackup", "completion", "") == set(SHELLS)


@pytest.mark.needs("fish")
@pytest.mark.parametrize("command", list(VERBS))
def test_fish_knows_every_flag(place: Path, command: str) -> None:
    flags = {flag for flag in flags_of(command) if flag.startswith("--")}
    assert in_fish(place, "sitebackup", command, "--") == flags


@pytest.mark.slow
@pytest.mark.needs("zsh")
@pytest.mark.parametrize(
    ("words", "shows"),
    [
        (["sitebackup", ""], [*VERBS, CHECK_STORE, COMPLETION]),
        (["sitebackup", "verify", "--depth", ""], ["names", "checksums", "records"]),
        (["sitebackup", "backup", "--"], ["--snapshot", "--config", "--set"]),
        (["sitebackup", "backup", "--config", "so"], ["some.toml"]),
        (["sitebackup", "completion", ""], list(SHELLS)),
    ],
)
def test_zsh_completes_verbs_options_and_files(
    place: Path, words: list[str], shows: list[str]
) -> None:
    said = in_zsh(place, *words)
    assert [each for each in shows if each not in said] == []
