"""``bin/restore``, ``bin/snapshotrestore`` and their like."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from collective.recipe.backup.cli import moments
from collective.recipe.backup.cli.answers import Answers
from collective.recipe.backup.cli.arguments import Verb, place_flag
from collective.recipe.backup.cli.contradictions import Contradiction
from collective.recipe.backup.errors import DONE, UsageError

if TYPE_CHECKING:
    from collective.recipe.backup.operations.run import Run

logger = logging.getLogger("backup")


_AFTER = ("--undo", "--let-go", "--give-up")
_CONTRADICTIONS = (
    Contradiction(
        ("--dry-run",),
        _AFTER,
        "leave --dry-run out: without --no-prompt it says what it would do, and asks first",
    ),
    Contradiction(
        ("--to", "--stdout", "--only-filestorage", "--only-blobs", "--all-blobs", "--as-of"),
        _AFTER,
        "it concerns the last restore of the live site, all of it",
    ),
    Contradiction(
        ("--keep-caches",), ("--let-go", "--give-up"), "the site does not go back in time by that"
    ),
    Contradiction(
        ("--only-blobs", "--all-blobs", "--keep-caches"),
        ("--stdout",),
        "only the filestorage goes to the standard output; --to writes the blobs to a directory",
    ),
    Contradiction(
        ("--dry-run",), ("--stdout",), "--stdout changes nothing, and writes what it has at once"
    ),
    Contradiction(
        ("--all-blobs",),
        ("--only-filestorage",),
        "leave out --only-filestorage to restore the blobs as well, or put --only-blobs in its "
        "place",
    ),
)


def _declare(parser: argparse.ArgumentParser) -> None:
    moments.declare(parser, "what to restore")
    place_flag(parser)
    moments.past_flag(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would happen, and change nothing"
    )
    place = parser.add_mutually_exclusive_group()
    place.add_argument(
        "--to",
        type=Path,
        metavar="DIR",
        help="restore to this directory, and leave the live site alone; it is made if it is not "
        "there, and gets Data.fs, blobstorage and, from a repository, files",
    )
    place.add_argument(
        "--stdout",
        action="store_true",
        help="write the filestorage to the standard output, and leave the site alone",
    )
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--only-filestorage", action="store_true", help="leave the blobs as they are")
    part.add_argument("--only-blobs", action="store_true", help="leave the filestorage as it is")
    parser.add_argument(
        "--all-blobs",
        action="store_true",
        help="write every blob, also where the live file has the size and the time of the backup: "
        "for a disk whose files may have rotted",
    )
    parser.add_argument(
        "--keep-caches",
        action="store_true",
        help="keep the caches (*.zec) of ZEO clients on this machine if the site goes back in "
        "time; remove them yourself then, since no client works with one",
    )
    replaced = parser.add_mutually_exclusive_group()
    replaced.add_argument(
        "--undo", action="store_true", help="put back what the last restore replaced"
    )
    replaced.add_argument(
        "--let-go",
        action="store_true",
        help="remove what the last restore replaced; the site may be running",
    )
    replaced.add_argument(
        "--give-up",
        action="store_true",
        help="give up a restore that was broken off and cannot be finished: nothing is "
        "removed, and it says where each part of the data is",
    )


def _act(run: Run, namespace: argparse.Namespace, answers: Answers) -> int:
    from collective.recipe.backup.operations import restore
    from collective.recipe.backup.operations.restoreorder import RestoreOrder

    after = namespace.undo or namespace.let_go or namespace.give_up
    if after and (namespace.moment or namespace.before):
        raise UsageError(
            "--undo, --let-go and --give-up take no moment",
            hint="they concern the last restore; leave the moment out",
        )
    order = RestoreOrder(
        when=moments.asked_for(run, namespace),
        filestorage=not namespace.only_blobs,
        blobstorage=not namespace.only_filestorage,
        to=namespace.to and namespace.to.absolute(),
        all_blobs=namespace.all_blobs,
        keep_caches=namespace.keep_caches,
    )
    if after:
        _after_a_restore(run, namespace, answers)
    elif namespace.stdout:
        restore.stream(run, order, answers.write)
        answers.finish()
    elif namespace.dry_run:
        answers.say(restore.describe(run, order))
    elif not restore.restore(run, order):
        logger.info("nothing was changed")
    return DONE


def _after_a_restore(run: Run, namespace: argparse.Namespace, answers: Answers) -> None:
    from collective.recipe.backup.operations import undo

    if namespace.give_up:
        lines = undo.give_up(run)
        if lines is not None:
            answers.say("\n".join(lines))
        done = lines is not None
    else:
        keep = namespace.keep_caches
        done = undo.undo(run, keep_caches=keep) if namespace.undo else undo.let_go(run)
    if not done:
        logger.info("nothing was changed")


VERB = Verb(
    summary="bring the site back",
    description="Bring the site back to its newest restore point, or to the state at a "
    "MOMENT.\nThe site must be stopped.  What is live now is kept until the next restore.\n"
    "After a restore to an earlier state, restart every ZEO client; where zope.conf has a client,\n"
    "remove its cache (*.zec in var) first, on other machines as well.",
    examples=(
        ("", "bring back the newest restore point, after a question"),
        ("2026-03-01-12-30", "bring back the state at that moment (UTC)"),
        ("--local yesterday 17:00", "the state of yesterday at five, local time"),
        ("--dry-run 2 hours ago", "say what that would do, and change nothing"),
        ("--to /srv/copy", "restore beside the site, which may go on running"),
        ("--undo", "put back what the last restore replaced"),
    ),
    declare=_declare,
    act=_act,
    whole_line=True,
    contradictions=_CONTRADICTIONS,
)
