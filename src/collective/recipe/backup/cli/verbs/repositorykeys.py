"""The actions of ``bin/backup-repository`` that are about passphrases."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from collective.recipe.backup.cli.answers import Answers
from collective.recipe.backup.errors import UsageError, explained, printable

if TYPE_CHECKING:
    from collective.recipe.backup.destinations.configured import DestinationConfig
    from collective.recipe.backup.operations.run import Run
    from collective.recipe.backup.repository.keys import AddedKey

logger = logging.getLogger("backup")


def list_keys(
    run: Run, found: DestinationConfig, namespace: argparse.Namespace, answers: Answers
) -> None:
    """Say which keys there are."""
    from collective.recipe.backup.operations.repositorykeys import keys_of

    slots, bad = keys_of(run, found)
    if namespace.json:
        rows = [
            {"name": slot.name, "label": slot.label, "made": slot.made.isoformat()}
            for slot in slots
        ]
        answers.document({"keys": rows, "problems": bad})
        return
    for slot in slots:
        answers.say(f"{printable(slot.label)}, made {slot.made:%Y-%m-%d}: {slot.name}")
    for problem in bad:
        answers.say(f"cannot be read: {printable(problem)}")


def print_sheet(
    run: Run, found: DestinationConfig, namespace: argparse.Namespace, answers: Answers
) -> None:
    """Print the recovery sheet, or write it as a page."""
    from collective.recipe.backup.operations.repositorykeys import recovery_sheet

    lines, page = recovery_sheet(run, found)
    if namespace.json:
        answers.document({"lines": lines})
    elif namespace.html is None:
        answers.say("\n".join(lines))
    else:
        with explained("cannot write the recovery sheet", namespace.html):
            run.files.publish(namespace.html.absolute(), page.encode("utf-8"), 0o600)
        logger.info(
            "anybody who has %s can read all backups: print it, then remove it", namespace.html
        )


def add_key(
    run: Run, found: DestinationConfig, namespace: argparse.Namespace, answers: Answers
) -> None:
    """Add a passphrase."""
    from collective.recipe.backup.operations.repositorykeys import add_passphrase

    _tell_of_key(add_passphrase(run, found, _new_passphrase(namespace)), namespace, answers)


def change_key(
    run: Run, found: DestinationConfig, namespace: argparse.Namespace, answers: Answers
) -> None:
    """Put a passphrase in the place of the configured one."""
    from collective.recipe.backup.operations.repositorykeys import change_passphrase

    _tell_of_key(change_passphrase(run, found, _new_passphrase(namespace)), namespace, answers)
    logger.info(
        "the old passphrase opens the repository no more: configure the new one now, or the next "
        "backup fails"
    )
    logger.info(
        "an older copy of the store can still be read with the old passphrase: if both are in "
        "wrong hands, begin another repository"
    )


def remove_key(
    run: Run, found: DestinationConfig, namespace: argparse.Namespace, answers: Answers
) -> None:
    """Remove a passphrase."""
    from collective.recipe.backup.operations.repositorykeys import remove_passphrase

    if namespace.key is None:
        raise UsageError("which key?", hint="add --key NAME; the action keys lists the names")
    name = remove_passphrase(run, found, namespace.key)
    if namespace.json:
        answers.document({"removed": name})
    else:
        logger.info("removed the key %s", name)


def recover_keys(
    run: Run, found: DestinationConfig, namespace: argparse.Namespace, answers: Answers
) -> None:
    """Let the configured passphrase open the repository that a sheet is of."""
    from collective.recipe.backup.cli.questions import lines_typed
    from collective.recipe.backup.operations.repositorykeys import recover

    sheet = lines_typed("Type the six lines of the recovery sheet, or what its QR code says:")
    _tell_of_key(recover(run, found, sheet), namespace, answers)


def _new_passphrase(namespace: argparse.Namespace) -> Path:
    if namespace.passphrase_file is None:
        raise UsageError(
            "which passphrase?",
            hint="write the new one to a file, and add --passphrase-file FILE",
        )
    return Path(namespace.passphrase_file)


def _tell_of_key(added: AddedKey, namespace: argparse.Namespace, answers: Answers) -> None:
    if namespace.json:
        answers.document({"key": added.name, "new": added.is_new})
    elif added.is_new:
        logger.info("added the key %s", added.name)
    else:
        logger.info("nothing is added: this passphrase opens the key %s already", added.name)
