"""``sitebackup check-store URL``: the command that needs no site, since none has the store yet."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from collective.recipe.backup.cli.answers import Answers
from collective.recipe.backup.cli.arguments import HelpGiven, Parser, json_flag
from collective.recipe.backup.errors import DONE

CHECK_STORE = "check-store"
SUMMARY = "try out whether a store does what a repository needs"


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("url", metavar="URL", help="where the store is: a path, or a URL")
    json_flag(parser)


def run(arguments: Sequence[str], prog: str, answers: Answers) -> int:
    """Do what *arguments* say; return the exit code."""
    from collective.recipe.backup.cli.verbs.storecheck import check_store_at

    parser = Parser(
        prog=f"{prog} {CHECK_STORE}",
        description="Put small objects into a store, read them, list them and remove them, and "
        "say what it does\nof what a repository needs, and how often it was asked.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    declare(parser)
    try:
        namespace = parser.parse_args(arguments)
    except HelpGiven as given:
        answers.say(given.text)
        return DONE
    return check_store_at(namespace.url, answers)
