"""The actions of ``bin/backup-repository``: the help and the options of each."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from collective.recipe.backup.cli.arguments import Verb, json_flag, requests_flag
from collective.recipe.backup.errors import UsageError
from collective.recipe.backup.frozen import dataclass

CHECK_STORE = "check-store"
"""The one action that needs no repository."""

_MAX_REQUESTS = "--max-requests"


@dataclass(frozen=True, kw_only=True)
class RepositoryAction:
    """One action, in words."""

    does: str  # words after its name in a sentence, without a full stop
    options: tuple[str, ...] = ()  # those that mean something to it, besides --json
    examples: tuple[tuple[str, str], ...] = ()  # arguments after its name, each with its effect


ACTIONS = {
    "init": RepositoryAction(
        does="makes it",
        options=("--unencrypted",),
        examples=(("", "make the repository that the option names"),),
    ),
    CHECK_STORE: RepositoryAction(
        does="tries out whether a store, by its URL or the name of a repository, does what is "
        "needed",
        examples=(("s3://bucket/backups", "try out a store before it is used"),),
    ),
    "sheet": RepositoryAction(
        does="prints the recovery sheet",
        options=("--html",),
        examples=(("--html sheet.html", "write the recovery sheet, to be printed"),),
    ),
    "recover": RepositoryAction(
        does="reads a recovery sheet, and lets the configured passphrase open the repository"
    ),
    "stat": RepositoryAction(
        does="says what it holds",
        examples=(("", "say what it holds, and for which sites"),),
    ),
    "scrub": RepositoryAction(
        does="looks for damage, without a passphrase",
        examples=(("", "look for damage, on a machine that has no passphrase"),),
    ),
    "heal": RepositoryAction(
        does="stores again what can be read of damaged objects, and the rest from the site or its "
        "other backups",
        examples=(("", "store again what is damaged, from wherever the site has it"),),
    ),
    "collect": RepositoryAction(
        does="removes what no restore point needs",
        options=("--dry-run", "--yes"),
        examples=(
            ("--dry-run", "say what collect would remove"),
            ("", "remove it; from cron once a week"),
        ),
    ),
    "undelete": RepositoryAction(
        does="brings back restore points that were removed lately",
        options=("--list", "--point"),
        examples=(("--list", "list the restore points that can be brought back"),),
    ),
    "copy": RepositoryAction(
        does="copies restore points to another repository",
        options=("--dry-run", "--to", _MAX_REQUESTS),
        examples=(
            ("here --to there", "copy to the repository there what it lacks of the one here"),
        ),
    ),
    "accept-rollback": RepositoryAction(
        does="accepts a store that was set back to an earlier state, or another one in its place"
    ),
    "keys": RepositoryAction(does="lists the keys, one for each passphrase"),
    "add-key": RepositoryAction(
        does="lets another passphrase open the repository as well",
        options=("--passphrase-file",),
    ),
    "change-key": RepositoryAction(
        does="lets a new passphrase open the repository, and the configured one no more",
        options=("--passphrase-file",),
    ),
    "remove-key": RepositoryAction(does="removes a key", options=("--key",)),
}

_OPTIONS: dict[str, dict[str, Any]] = {
    "--unencrypted": {
        "action": "store_true",
        "help": "make it without a passphrase: all who can read the store can read the backups",
    },
    "--dry-run": {"action": "store_true", "help": "say what would be done, and change nothing"},
    "--yes": {
        "action": "store_true",
        "help": "remove it also if that is more than half of the repository",
    },
    "--html": {
        "type": Path,
        "metavar": "FILE",
        "help": "write it as a page to be printed, with a QR code",
    },
    "--passphrase-file": {
        "type": Path,
        "metavar": "FILE",
        "help": "the file with the new passphrase",
    },
    "--to": {"metavar": "NAME", "help": "the repository that gets what it lacks"},
    "--list": {"action": "store_true", "help": "list what can be brought back"},
    "--point": {
        "metavar": "STAMP",
        "action": "append",
        "default": [],
        "help": "which restore point, as --list names it; may be given several times",
    },
    "--key": {"metavar": "NAME", "help": "its name or its label, as keys lists them"},
}
"""Arguments of argparse for each option but --max-requests, which other verbs have too."""

EXAMPLES = tuple(
    (f"{name} {arguments}".rstrip(), meaning)
    for name, action in ACTIONS.items()
    for arguments, meaning in action.examples
)


def declare_all(parser: argparse.ArgumentParser) -> None:
    """Declare the action, and the options of all."""
    parser.add_argument(
        "action",
        choices=tuple(ACTIONS),
        metavar="ACTION",
        help="; ".join(f"{name} {action.does}" for name, action in ACTIONS.items()),
    )
    _declare_repository(parser, "; with check-store also a URL")
    for option, words in _OPTIONS.items():
        told = f"with {_those_with(option)}: {words['help']}"
        parser.add_argument(option, **{**words, "help": told})
    requests_flag(parser, f"with {_those_with(_MAX_REQUESTS)}: ")
    json_flag(parser)


def verbs_of(act: Callable[..., int]) -> tuple[tuple[str, Verb], ...]:
    """Return each action as a verb that *act* does, for its help."""
    return tuple(
        (
            name,
            Verb(
                summary=action.does,
                description=f"This action {action.does}.\n"
                "The help of the command without an action has the options that all of them take.",
                examples=action.examples,
                declare=partial(_declare_one, name),
                act=act,
            ),
        )
        for name, action in ACTIONS.items()
    )


def check_options(namespace: argparse.Namespace) -> None:
    """Raise UsageError for an option that means nothing to the action."""
    for option in (*_OPTIONS, _MAX_REQUESTS):
        given = getattr(namespace, option.strip("-").replace("-", "_"))
        if given and option not in ACTIONS[namespace.action].options:
            raise UsageError(
                f"{option} means nothing to {namespace.action}",
                hint=f"it is for {_those_with(option)}; leave it out here",
            )


def _declare_one(name: str, parser: argparse.ArgumentParser) -> None:
    _declare_repository(parser, ", or its URL" if name == CHECK_STORE else "")
    for option in ACTIONS[name].options:
        if option == _MAX_REQUESTS:
            requests_flag(parser)
        else:
            parser.add_argument(option, **_OPTIONS[option])
    json_flag(parser)


def _declare_repository(parser: argparse.ArgumentParser, more: str) -> None:
    words = f"which one, if the site has several{more}"
    parser.add_argument("repository", nargs="?", metavar="NAME", help=words)


def _those_with(option: str) -> str:
    return _listed([name for name, action in ACTIONS.items() if option in action.options])


def _listed(names: Sequence[str]) -> str:
    return " and ".join(names)
