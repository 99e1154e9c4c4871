"""Completion for shells, made from the parsers of the commands."""

from __future__ import annotations

import argparse

from collective.recipe.backup.cli.arguments import parser_of
from collective.recipe.backup.sitebackup.commands import DIRECTORY, FILE, commands

SHELLS = ("bash", "zsh", "fish")


def script(shell: str, prog: str, others: dict[str, tuple[str, ...]]) -> str:
    """Return what makes *shell* complete the arguments of *prog*.

    *others* are commands that have no parser, with the words that may follow each.
    """
    import shtab  # nobody else pays for it

    parser = argparse.ArgumentParser(prog=prog)
    parser.add_argument("--version", action="store_true", help="say which version this is")
    found = parser.add_subparsers()
    for name, verb in commands().items():
        inner = found.add_parser(
            name, parents=[parser_of(verb, f"{prog} {name}")], add_help=False, help=verb.summary
        )
        for action in inner._actions:  # no public way to ask a parser
            if action.metavar in (FILE, DIRECTORY):
                kind = shtab.FILE if action.metavar == FILE else shtab.DIRECTORY
                action.complete = kind  # type: ignore[attr-defined]
    for name, words in others.items():
        found.add_parser(name).add_argument("word", choices=words)
    return str(shtab.complete(parser, shell))
