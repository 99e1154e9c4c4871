"""The command ``sitebackup``, for sites without buildout.

It has the verbs, the options and the destinations of the scripts of a buildout, and shares their
rooms (see cli).  Facts about the site that buildout finds when it runs are found here at each run::

    commands     the verbs with the arguments that a script does not need
    settings     what is set: files, variables, command line; toml, collective
    finding      where the site is; zconfig
    configuring  from both to the configuration that the verbs know
    completing   completion for shells
    storechecking  a command that needs no site
    zopesection    a restore point as a storage in a zope.conf

Nothing is written into the project: what a run needs lies beside the backups.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from collective.recipe.backup.cli import carry_out, guarded, messages
from collective.recipe.backup.errors import DONE, UsageError

if TYPE_CHECKING:
    from collective.recipe.backup.cli.answers import Answers
    from collective.recipe.backup.config import Config

__all__ = ["main"]

PROG = "sitebackup"
CHECK_STORE, COMPLETION = "check-store", "completion"
"""The commands that are no verbs."""
OTHER_WORDS = {
    "bring-back": "undelete",
    "check": "verify, or doctor",
    "deleted": "objects --deleted",
    "download": "extract",
    "fullbackup": "backup --full",
    "history": "log, or objects --history",
    "init": "repository init",
    "recover": "restore",
    "serve": "open, or browse",
    "snapshot": "backup --snapshot",
    "snapshotbackup": "backup --snapshot",
    "undo": "restore --undo",
    "zipbackup": "backup --zip",
}
"""Words of other programs, and of the scripts of a buildout, each with the command for it."""
CHANGING = ("backup", "restore", "prune")
"""Verbs that keep other runs out."""

logger = logging.getLogger("backup")


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what *arguments* say and return the exit code of the process."""
    return guarded(_command, arguments)


def _command(asked: Sequence[str], answers: Answers) -> int:
    # from here on, so that even an interrupt while these are imported is met by guarded
    from collective.recipe.backup.cli.arguments import HelpGiven, parse
    from collective.recipe.backup.cli.verbs import VERBS
    from collective.recipe.backup.config import STANDARD
    from collective.recipe.backup.sitebackup.commands import command

    name, rest = (asked[0], asked[1:]) if asked else ("", [])
    if name not in VERBS:
        return _other(name, rest, answers, {it: verb.summary for it, verb in VERBS.items()})
    try:
        namespace = parse(command(name), rest, f"{PROG} {name}")
    except HelpGiven as given:
        answers.say(given.text)
        return DONE
    messages.choose_level(quiet=namespace.quiet, debug=namespace.debug)
    from collective.recipe.backup.sitebackup.configuring import configured, run_directory
    from collective.recipe.backup.sitebackup.settings import gathered

    settings = gathered(namespace.config, namespace.settings, os.environ)
    for note in settings.notes:
        logger.info("%s", note)
    config, warnings = configured(settings)
    for warning in warnings:
        logger.warning("%s", warning)
    namespace.destination = getattr(namespace, "destination", None) or STANDARD
    namespace.restore_command = f"{PROG} restore"
    if name in CHANGING:
        _prepare(config)
    return carry_out(name, namespace, config, run_directory(config) / PROG, answers)


def _prepare(config: Config) -> None:
    """Make the directory for the lock of a run, if its disk is mounted and may be written to."""
    from collective.recipe.backup.files import Files
    from collective.recipe.backup.sitebackup.configuring import run_directory

    directory = run_directory(config)
    if os.access(directory.parent, os.W_OK) and not directory.is_dir():
        Files().make_directories(directory)


def _other(name: str, rest: Sequence[str], answers: Answers, summaries: dict[str, str]) -> int:
    """Carry out a command that is no verb."""
    if name in ("-h", "--help", "help"):
        answers.say(_help(summaries))
    elif name == "--version":
        from collective.recipe.backup import __version__

        answers.say(f"{PROG} {__version__}")
    elif name == COMPLETION:
        answers.say(_completion(rest))
    elif name == CHECK_STORE:
        from collective.recipe.backup.sitebackup import storechecking

        return storechecking.run(rest, PROG, answers)
    else:
        known = [*summaries, CHECK_STORE, COMPLETION]
        raise UsageError(_complaint(name), hint=_nearest(name, known))
    return DONE


def _completion(rest: Sequence[str]) -> str:
    from collective.recipe.backup.sitebackup.completing import SHELLS, script

    usage = f"{PROG} {COMPLETION} {'|'.join(SHELLS)}"
    if list(rest) in (["-h"], ["--help"]):
        return f"usage: {usage}\n\nPrint what makes the shell complete the arguments of {PROG}."
    if len(rest) != 1 or rest[0] not in SHELLS:
        raise UsageError("which shell?", hint=usage)
    return script(rest[0], PROG).rstrip()


def _complaint(name: str) -> str:
    if not name:
        return "which command?"
    return f"{name} comes after a command" if name.startswith("-") else f"no command {name!r}"


def _nearest(name: str, known: Sequence[str]) -> str:
    from difflib import get_close_matches

    if name in OTHER_WORDS:
        return f"that is {PROG} {OTHER_WORDS[name]}"
    near = get_close_matches(name, known, n=1)
    return f"do you mean {near[0]}?" if near else f"there are {', '.join(known)}"


def _help(summaries: dict[str, str]) -> str:
    from collective.recipe.backup.sitebackup import completing, storechecking

    rows = {**summaries, CHECK_STORE: storechecking.SUMMARY, COMPLETION: completing.SUMMARY}
    width = max(map(len, rows))
    lines = [
        f"usage: {PROG} COMMAND [ARGUMENT...]",
        "",
        "Back up the filestorage and the blobs of a ZODB, and bring them back.",
        "",
        "commands:",
        *(f"  {name:{width}}  {summary}" for name, summary in rows.items()),
        "",
        f"{PROG} COMMAND --help says more about each.",
    ]
    return "\n".join(lines)
