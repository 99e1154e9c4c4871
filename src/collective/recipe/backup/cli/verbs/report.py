"""``bin/backup-report``."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from collective.recipe.backup.cli.answers import Answers
from collective.recipe.backup.cli.arguments import Verb, destination_flag
from collective.recipe.backup.errors import DONE

if TYPE_CHECKING:
    from collective.recipe.backup.operations.run import Run

logger = logging.getLogger("backup")


def _declare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file",
        nargs="?",
        type=Path,
        metavar="FILE",
        help="write the page to this file, in one step (default: to standard output)",
    )
    destination_flag(parser)


def _act(run: Run, namespace: argparse.Namespace, answers: Answers) -> int:
    from collective.recipe.backup.operations.report import report, write

    if namespace.file is not None:
        path = namespace.file.absolute()
        write(run, path)
        logger.info("the report is in %s", path)
    else:
        answers.say(report(run).rstrip("\n"))
    return DONE


VERB = Verb(
    summary="write a page about the backups",
    description="Write one page of HTML: what can be restored, how the site grows, how long "
    "backups\ntake, what verify and rehearse found, what your commands said, and what is "
    "kept.\nIt needs no network and no script.",
    examples=(
        ("/srv/www/backups.html", "write the page, for a web server or for a mail"),
        ("", "the same to standard output"),
    ),
    declare=_declare,
    act=_act,
)
