"""The parsers of the command line, and a suggestion for a misspelt option."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NoReturn

from collective.recipe.backup import config
from collective.recipe.backup.cli.contradictions import Contradiction, refuse_contradictions
from collective.recipe.backup.cli.screen import columns
from collective.recipe.backup.errors import UsageError
from collective.recipe.backup.frozen import dataclass

if TYPE_CHECKING:
    from collective.recipe.backup.cli.answers import Answers
    from collective.recipe.backup.operations.run import Run

EXIT_CODES = """\
exit codes:
  0  done                                         5  locked, or the filestorage is open
  1  failed, nothing lost                         6  a store cannot be reached
  2  wrong configuration or command line          7  a hook or a program failed
  3  data is not as it should be,                 8  a restore was broken off
     or blobs are missing                       130  interrupted
  4  no restore point for that moment
"""


GENERAL = ("--quiet", "--no-prompt", "--debug")
"""Options of every command, besides --help."""

DEFAULT_INTERVAL = 10.0
"""Seconds between two looks of a run that goes on."""
MAXIMUM_INTERVAL = 86400

_NEAR = 0.75
"""Likeness, from 0 to 1, from which on a name counts as a misspelt option."""


@dataclass(frozen=True, kw_only=True)
class Verb:
    """One verb: its help, its arguments, and its function."""

    summary: str  # half a line for the table of commands
    description: str  # some sentences
    examples: tuple[tuple[str, str], ...]  # arguments, each with its effect in words
    declare: Callable[[argparse.ArgumentParser], None]  # adds its arguments to a parser
    act: Callable[[Run, argparse.Namespace, Answers], int]  # carries it out; returns the exit code
    takes_anything: bool = False  # whether other words are ignored; they come as ``ignored``
    everywhere: bool = False  # whether it acts on all places of the backups, unless one is named
    whole_line: bool = False  # whether no limit of the bandwidth slows it down
    contradictions: tuple[Contradiction, ...] = ()  # options that cannot stand together
    actions: tuple[tuple[str, Verb], ...] = ()
    """By the first word of the arguments, parts with a help of their own."""


class HelpGiven(Exception):
    """The user asked for help, and *text* is all there is to do: the way out of argparse."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """A formatter that asks for the width itself: argparse makes one for each argument."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=columns() - 2)


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are errors like all others, and which never exits."""

    def error(self, message: str) -> NoReturn:
        """Raise a UsageError."""
        raise UsageError(message, hint=f"{self.prog} --help lists what can be typed")

    def print_help(self, _file: object = None) -> NoReturn:
        """Raise the help to the caller of parse."""
        raise HelpGiven(self.format_help().rstrip())

    def option_names(self) -> Iterator[str]:
        """Yield the spellings of all options."""
        for action in self._actions:
            yield from action.option_strings


def parse(verb: Verb, arguments: Sequence[str], prog: str | None = None) -> argparse.Namespace:
    """Return the meaning of *arguments* to *verb*, whose command is *prog*; see parser_of.

    Raises UsageError, and HelpGiven if the user asks for help.
    """
    parser = parser_of(*_to_be_explained(verb, arguments, prog))
    namespace, rest = parser.parse_known_args(_taken_apart(arguments))
    unknown = [each for each in rest if each.startswith("-") and each != "--"]
    words = [each for each in rest if not each.startswith("-")]
    if unknown:
        raise UsageError(f"there is no option {_shown(unknown)}", hint=_nearest(parser, unknown[0]))
    if words and not verb.takes_anything:
        raise UsageError(
            f"too many arguments: {_shown(words)}",
            hint=f"{parser.prog} --help lists what can be typed",
        )
    refuse_contradictions(parser, namespace, verb.contradictions)
    namespace.ignored = words
    return namespace


def _to_be_explained(
    verb: Verb, arguments: Sequence[str], prog: str | None
) -> tuple[Verb, str | None]:
    """Return the action of *verb* whose help is asked for, and how it is called, else *verb*."""
    if {"-h", "--help"} & set(arguments):
        for name, action in verb.actions:
            if name in arguments:
                return action, f"{prog or _as_called()} {name}"
    return verb, prog


def _as_called() -> str:
    return os.path.basename(sys.argv[0])


def parser_of(verb: Verb, prog: str | None = None) -> Parser:
    """Return the parser of *verb* for a command called *prog*, by default as it was called."""
    prog = prog or _as_called()
    examples = "\n".join(
        f"  {' '.join(filter(None, (prog, arguments)))}\n      {meaning}"
        for arguments, meaning in verb.examples
    )
    parser = Parser(
        prog=prog,
        description=verb.description,
        epilog=f"examples:\n{examples}\n\n{EXIT_CODES}",
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    verb.declare(parser)
    general = parser.add_argument_group("all commands")
    general.add_argument(
        "-q", "--quiet", action="store_true", help="say nothing unless something is wrong"
    )
    general.add_argument(
        "-n", "--no-prompt", action="store_true", help="ask nothing: the answer is yes"
    )
    general.add_argument(
        "--debug",
        action="store_true",
        help="say each step with the time, and where an error comes from",
    )
    return parser


def json_flag(parser: argparse.ArgumentParser) -> None:
    """Declare --json, for verbs that answer."""
    parser.add_argument("--json", action="store_true", help="answer in JSON, errors included")


def destination_flag(parser: argparse.ArgumentParser) -> None:
    """Declare --of, for verbs whose script is made for one destination but serves all."""
    parser.add_argument(
        "--of",
        choices=(config.STANDARD, config.SNAPSHOT, config.ZIP, config.ALTERNATIVE),
        dest="destination",
        help="which restore points: of the backup (standard, the default), of snapshots, of the "
        "zip backup, or those in alternative_restore_source",
    )


def place_flag(
    parser: argparse.ArgumentParser, *, default: str = "directory, or the only repository"
) -> None:
    """Declare the flag that names one of several places of the same backups."""
    parser.add_argument(
        "--from",
        dest="place",
        metavar="NAME",
        help="the place of the backups: directory, or a repository by its name (default: "
        f"{default})",
    )


def requests_flag(parser: argparse.ArgumentParser, of: str = "") -> None:
    """Declare --max-requests; *of* says for what it is, if not for all that the verb does."""
    from collective.recipe.backup.stores.allowance import LEAST

    parser.add_argument(
        "--max-requests",
        type=_requests,
        metavar="N",
        help=f"{of}make no more than N requests to repositories, and end with exit code 1 if that "
        "is not enough; run the command again to go on from there; "
        f"N is {LEAST} or more (default: as many as are needed)",
    )


def _requests(text: str) -> int:
    from collective.recipe.backup.stores.allowance import LEAST

    number = int(text) if text.isdecimal() else 0
    if number < LEAST:
        raise argparse.ArgumentTypeError(f"a whole number, {LEAST} or more, not {text!r}")
    return number


def every_flag(parser: argparse.ArgumentParser, words: str) -> None:
    """Declare the flag that says how often a run that goes on looks; *words* say at what."""
    parser.add_argument(
        "--every",
        type=_interval,
        metavar="SECONDS",
        help=f"{words} (default: {DEFAULT_INTERVAL:g})",
    )


def _interval(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < MAXIMUM_INTERVAL:
        raise argparse.ArgumentTypeError(
            f"it takes more than 0 and less than {MAXIMUM_INTERVAL:,} seconds, not {text!r}"
        )
    return seconds


def _taken_apart(arguments: Sequence[str]) -> list[str]:
    """Return *arguments* with each cluster of our short flags (``-qn``) taken apart."""
    return [
        part
        for argument in arguments
        for part in (
            [f"-{flag}" for flag in argument[1:]]
            if re.fullmatch("-[qn]{2,}", argument)
            else [argument]
        )
    ]


def _nearest(parser: Parser, unknown: str) -> str:
    """Return a hint that names the option that was probably meant."""
    from difflib import get_close_matches

    # without the dashes, which all have in common
    name = unknown.partition("=")[0].lstrip("-")
    known = {spelling.lstrip("-"): spelling for spelling in sorted(parser.option_names())}
    near = get_close_matches(name, known, n=1, cutoff=_NEAR)
    near = near or [each for each in known if name and each.startswith(name)]
    if near:
        return f"do you mean {known[near[0]]}?  {parser.prog} --help lists what can be typed"
    return f"{parser.prog} --help lists what can be typed"


def _shown(arguments: Sequence[str]) -> str:
    return ", ".join(map(repr, arguments))
