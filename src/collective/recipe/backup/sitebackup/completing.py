"""Completion for shells, made from the parsers of the commands."""

from __future__ import annotations

import argparse

from collective.recipe.backup.cli.arguments import parser_of
from collective.recipe.backup.sitebackup import storechecking
from collective.recipe.backup.sitebackup.commands import DIRECTORY, FILE, commands

SHELLS = ("bash", "zsh", "fish")


COMPLETION = "completion"
SUMMARY = "make a shell complete what you type"


def script(shell: str, prog: str) -> str:
    """Return what makes *shell* complete the arguments of *prog*."""
    import shtab  # imported only by this command

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
    storechecking.declare(found.add_parser(storechecking.CHECK_STORE, help=storechecking.SUMMARY))
    found.add_parser(COMPLETION, help=SUMMARY).add_argument("shell", choices=SHELLS)
    return str(shtab.complete(parser, shell))
