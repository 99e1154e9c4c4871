"""The page of all commands, docs/reference/commands.rst, as the parsers tell it."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from collective.recipe.backup.cli.arguments import GENERAL, parser_of
from collective.recipe.backup.cli.verbs import VERBS

_HEAD = """\
========
Commands
========

.. This page is made from the parsers of the commands, and a test compares it with them.
   ``render`` in collective.recipe.backup.cli.commandspage makes it.

Buildout makes these scripts of a part that is called ``backup``; a part called ``NAME`` gets those
in the second column.
"""

_TAIL = """\
Messages go to standard error as ``INFO: text``, ``WARNING: text`` or ``ERROR: text``; answers go to
standard output.
A message names another command by its verb: ``log`` is ``bin/backup-log``, or ``sitebackup log``.
:doc:`exit-codes` says how a command can end, :doc:`json` what is in an answer in JSON.

A moment is ``YYYY-MM-DD[-HH[-MM[-SS]]]`` in UTC, ISO 8601 with a time zone, or a transaction id of
16 hexadecimal digits.
It may also be ``2 hours ago`` (seconds, minutes, hours, days or weeks), ``today``, ``yesterday``,
or one of these with a time: ``yesterday 14:30``.
A day without a time is its begin, 0:00.
With ``--local`` all of these are by the time zone of the machine.
The command says for which moment it takes them.
The exact stamp of a restore point means that restore point, whole.
Arguments come in any order.

On a terminal, work that takes longer than two seconds shows how far it has come; elsewhere it says
so every 30 seconds.

Ctrl-C, ``SIGTERM`` and ``SIGHUP`` end every command with exit code 130; what was half done is taken
back.
A restore that is just then putting data in place says so, and the same command again finishes it.
A reader of standard output that leaves early, as ``head`` does, changes nothing.
"""


class DescribedScript(Protocol):
    """One script that buildout may make."""

    @property
    def own_name(self) -> str:
        """Its name in a part called ``backup``."""

    @property
    def verb(self) -> str:
        """The name of its verb."""

    def name(self, part: str) -> str:
        """Return its name in *part*."""


_WORDS = {
    "fullbackup": "add a full one; only with ``enable_fullbackup``",
    "snapshotbackup": "add a full one to the destination for snapshots",
    "zipbackup": "one full one in two files; only with ``enable_zipbackup``",
    "snapshotrestore": "bring it back from a snapshot; not without ``enable_snapshotrestore``",
    "ziprestore": "bring it back from these files; only with ``enable_zipbackup``",
    "repozo": "the program of ZODB, as we understand it; only with ``enable_repozo``",
    "backup-repository": "make a repository, and care for it; only with ``repository``",
    "altrestore": "bring it back from ``alternative_restore_source``",
}
"""Words for scripts that do more than their verb."""


def render(scripts: Sequence[DescribedScript]) -> str:
    """Return the page about *scripts*."""
    lines = [_HEAD, *_table(scripts), "", _TAIL, *_section("All commands", _general())]
    for name in VERBS:
        names = [script.own_name for script in scripts if script.verb == name]
        if names:
            lines += _verb(name, names)
    return "\n".join(lines).rstrip() + "\n"


def _table(scripts: Iterable[DescribedScript]) -> Iterator[str]:
    rows = [
        (
            f"``{script.own_name}``",
            f"``{script.name('NAME')}``",
            _WORDS.get(script.own_name) or VERBS[script.verb].summary,
        )
        for script in scripts
    ]
    rows.insert(0, ("script", "of a part ``NAME``", "what it does"))
    widths = [max(len(row[number]) for row in rows) for number in range(3)]
    line = " ".join("=" * width for width in widths)
    yield line
    for number, row in enumerate(rows):
        if number == 1:
            yield line
        yield " ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    yield line


def _verb(name: str, names: Sequence[str]) -> Iterator[str]:
    verb = VERBS[name]
    parser = parser_of(verb, names[0])
    own = [action for action in _actions(parser) if _spelled(action) not in _general_names()]
    text = "\n".join(_sentences(verb.description))
    examples = "\n".join(
        f"   # {meaning}\n   $ {' '.join(filter(None, (f'bin/{names[0]}', arguments)))}"
        for arguments, meaning in verb.examples
    )
    yield from _section(", ".join(names), own, text)
    yield f".. code-block:: text\n\n{examples}\n"


def _section(title: str, actions: Iterable[argparse.Action], text: str = "") -> Iterator[str]:
    yield from (title, "-" * len(title), "")
    if text:
        yield from (text, "")
    for action in actions:
        yield _spelled(action)
        yield from (f"   {line}" for line in _sentences(_help(action)))
        yield ""


def _general() -> list[argparse.Action]:
    """Return what all parsers have."""
    wanted = {"--help", *GENERAL}
    actions = _actions(parser_of(VERBS["backup"], "backup"))
    return [action for action in actions if wanted & set(action.option_strings)]


def _general_names() -> set[str]:
    return {_spelled(action) for action in _general()}


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    # no public way to ask a parser, in any version
    return [action for action in parser._actions if action.help != argparse.SUPPRESS]


def _spelled(action: argparse.Action) -> str:
    value = action.metavar or ("|".join(map(str, action.choices)) if action.choices else "")
    value = f" {value}" if value and action.option_strings else value or ""
    return ", ".join(f"``{name}{value}``" for name in action.option_strings) or f"``{value}``"


def _help(action: argparse.Action) -> str:
    text = (action.help or "") % {"default": action.default, "prog": ""}
    text = text[:1].upper() + text[1:]
    return text if text.endswith(".") else f"{text}."


def _sentences(text: str) -> list[str]:
    """Return *text* with each sentence on a line of its own, as reStructuredText."""
    plain = " ".join(text.split()).replace("*", r"\*")
    return re.sub(r"(?<=\.)\s+", "\n", plain).splitlines()
