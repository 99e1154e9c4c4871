"""``bin/backup``, ``bin/snapshotbackup`` and their like."""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING

from collective.recipe.backup import config
from collective.recipe.backup.cli.answers import Answers
from collective.recipe.backup.cli.arguments import DEFAULT_INTERVAL, Verb, every_flag, requests_flag
from collective.recipe.backup.cli.contradictions import Contradiction
from collective.recipe.backup.errors import DONE, UsageError

if TYPE_CHECKING:
    from collective.recipe.backup.operations.run import Run

logger = logging.getLogger("backup")

_ALWAYS_FULL = {
    config.SNAPSHOT: "a snapshot is always full",
    config.ZIP: "a zip backup is always full",
}

_CONTRADICTIONS = (
    Contradiction(
        ("--full", "--accept-changed-blobs"),
        ("--follow",),
        "a run that goes on adds what is new: make that one backup first, without --follow",
    ),
    Contradiction(
        ("--max-requests",),
        ("--follow",),
        "it is for a command that ends by itself: leave one of them out",
    ),
)


def _declare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--full", action="store_true", help="make a full backup even if an incremental would do"
    )
    parser.add_argument(
        "--accept-changed-blobs",
        action="store_true",
        help="make a full backup, and accept blobs that have changed in the site since they "
        "were backed up",
    )
    parser.add_argument(
        "--to",
        dest="place",
        metavar="NAME",
        help="back up to one place alone: directory, or a repository by its name (default: to "
        "all, one after the other)",
    )
    parser.add_argument(
        "--follow",
        action="store_true",
        help="keep running, and back up whenever the site has changed, until SIGTERM",
    )
    every_flag(parser, "with --follow: how often to look")
    requests_flag(parser)


def _act(run: Run, namespace: argparse.Namespace, _answers: Answers) -> int:
    from collective.recipe.backup.operations.backup import back_up

    for argument in namespace.ignored:
        logger.warning("%r is no word that a backup knows, ignored", argument)
    if namespace.every is not None and not namespace.follow:
        raise UsageError(
            "--every means nothing without --follow: this command ends by itself",
            hint="add --follow to keep it running, or let cron start it",
        )
    if namespace.follow and run.destination in _ALWAYS_FULL:
        raise UsageError(
            f"--follow means nothing here: {_ALWAYS_FULL[run.destination]}",
            hint="follow with the command of the standard backups",
        )
    if namespace.follow:
        _follow(run, namespace.every or DEFAULT_INTERVAL)
    else:
        accept = namespace.accept_changed_blobs
        back_up(run, why_full=_why_full(run, namespace), accept_changed=accept)
    return DONE


def _why_full(run: Run, namespace: argparse.Namespace) -> str:
    """Return why the backup is to be a full one, "" if it need not."""
    if namespace.full:
        return "a full backup was asked for"
    if namespace.accept_changed_blobs:
        return "changed blobs are to be accepted"
    if run.destination in _ALWAYS_FULL:
        return _ALWAYS_FULL[run.destination]
    return "the option full is set" if run.config.options.full else ""


def _follow(run: Run, every: float) -> None:
    from collective.recipe.backup.following import Pace, tell_service_manager
    from collective.recipe.backup.operations.follow import follow

    if run.destination != config.STANDARD:
        raise UsageError(
            "--follow is for incremental backups",
            hint="use it with the standard backup, which is one",
        )
    with Pace(every).ended_by_signals() as pace:
        follow(run, pace, tell=lambda what: tell_service_manager("READY=1", f"STATUS={what}"))
    tell_service_manager("STOPPING=1")
    logger.info("ended, as asked for")


VERB = Verb(
    summary="add a restore point, incrementally where possible",
    description="Back up the site: its filestorage and its blobs, incrementally where "
    "possible.\nThe site may be running.  If nothing changed, nothing is written.",
    examples=(
        ("", "add what is new since the last backup"),
        ("--quiet", "for cron: mail comes only if something is wrong"),
        ("--to repository", "back up to the repository alone"),
        ("--full", "begin a new chain with a full backup"),
        ("--accept-changed-blobs", "accept blobs that have changed in the site"),
        ("--follow --every 60", "keep running, and look for changes each minute"),
    ),
    declare=_declare,
    act=_act,
    everywhere=True,
    takes_anything=True,
    contradictions=_CONTRADICTIONS,
)
