"""``bin/backup-standby``."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from collective.recipe.backup.cli.answers import Answers
from collective.recipe.backup.cli.arguments import DEFAULT_INTERVAL, Verb, every_flag, place_flag
from collective.recipe.backup.errors import DONE, UsageError
from collective.recipe.backup.model import MAIN

if TYPE_CHECKING:
    from collective.recipe.backup.operations.run import Run

logger = logging.getLogger("backup")


def _declare(parser: argparse.ArgumentParser) -> None:
    place_flag(parser)
    parser.add_argument(
        "--to",
        type=Path,
        metavar="DIR",
        help="keep the copy in this directory (default: where the site is configured to be)",
    )
    every_flag(parser, "how often to look whether there is a newer restore point")
    parser.add_argument(
        "--promote",
        action="store_true",
        help="end the standby for good, say what its last transaction is, and let it be a site",
    )


def _act(run: Run, namespace: argparse.Namespace, answers: Answers) -> int:
    to = namespace.to and namespace.to.absolute()
    if namespace.promote and namespace.every is not None:
        raise UsageError(
            "--every means nothing to --promote, which ends the standby", hint="leave it out"
        )
    if namespace.promote:
        _promote(run, to, answers)
    else:
        _stand_by(run, to, namespace.every or DEFAULT_INTERVAL)
    return DONE


def _stand_by(run: Run, to: Path | None, every: float) -> None:
    from collective.recipe.backup.following import Pace, tell_service_manager
    from collective.recipe.backup.operations.standby import standby

    with Pace(every, steady=True).ended_by_signals() as pace:
        standby(run, to, pace, tell=lambda what: tell_service_manager("READY=1", f"STATUS={what}"))
    tell_service_manager("STOPPING=1")
    logger.info("ended, as asked for")


def _promote(run: Run, to: Path | None, answers: Answers) -> None:
    from collective.recipe.backup.operations.announcing import transaction_in_words
    from collective.recipe.backup.operations.standby import promote

    for name, tid in promote(run, to).items():
        storage = "" if name == MAIN else f" of storage {name}"
        last = "there is none" if tid is None else transaction_in_words(tid)
        answers.say(f"This is a site now. The last transaction{storage}: {last}")


VERB = Verb(
    summary="keep a copy on another machine up to date",
    description="Keep running, and bring a copy of the site to each newer restore point.  Only\n"
    "what is new is written.  ZODB may have the copy open read-only.  Nothing else may write to\n"
    "it until --promote has made a site of it.",
    examples=(
        ("--from repository --to /srv/standby", "follow the backups in the repository"),
        ("--from repository --to /srv/standby --every 2", "look every two seconds"),
        ("--to /srv/standby --promote", "end it: what is there is the site now"),
    ),
    declare=_declare,
    act=_act,
)
