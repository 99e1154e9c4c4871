"""``bin/backup-open``."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from collective.recipe.backup.cli import moments
from collective.recipe.backup.cli.answers import Answers
from collective.recipe.backup.cli.arguments import Verb, destination_flag, place_flag
from collective.recipe.backup.errors import DONE, printable
from collective.recipe.backup.model import MAIN
from collective.recipe.backup.times import show_tid

if TYPE_CHECKING:
    from collective.recipe.backup.operations.run import Run

logger = logging.getLogger("backup")

_SOCKET = "zeo.sock"
_BLOBS = "blobs-of-clients"


def _declare(parser: argparse.ArgumentParser) -> None:
    moments.declare(parser, "the moment to open (default: the newest there is)")
    parser.add_argument(
        "--address",
        metavar="ADDRESS",
        help="where to serve: PORT or HOST:PORT of this machine, port 0 for a free one, or the "
        "path of a socket, with a slash (default: a socket that only this user can reach)",
    )
    parser.add_argument(
        "--changes",
        type=Path,
        metavar="DIR",
        help="let clients write, and keep what they write in this directory; without it they "
        "can only read",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="the directory for temporary copies of data that cannot be read in its place: up "
        "to 2 GiB of each storage and 2 GiB of its blobs (default: $TMPDIR, or /var/tmp)",
    )
    destination_flag(parser)
    place_flag(parser)


def _act(run: Run, namespace: argparse.Namespace, answers: Answers) -> int:
    from collective.recipe.backup.operations import momentserver
    from collective.recipe.backup.operations.momentopening import (
        OpenOrder,
        check_zeo,
        opened_moments,
        usual_room,
    )
    from collective.recipe.backup.operations.usedplaces import refuse_within
    from collective.recipe.backup.served.privatecache import private_cache

    check_zeo()
    when = moments.asked_for(run, namespace)
    room = (namespace.cache or usual_room()).absolute()
    changes = namespace.changes.absolute() if namespace.changes else None
    for place in filter(None, (room, changes)):
        refuse_within(run.config, place)
    with private_cache(room, run.files) as directory:
        order = OpenOrder(cache=directory, when=when, changes=changes)
        address = momentserver.address_of(namespace.address or str(directory / _SOCKET))
        with opened_moments(run, order) as opened:
            read_only = changes is None
            with momentserver.served(opened, address, run.files, read_only=read_only) as server:
                for each in opened:
                    which = "the site" if each.name == MAIN else f"storage {printable(each.name)}"
                    logger.info(
                        "%s is open as it was at transaction %s, out of the restore point %s",
                        which,
                        show_tid(each.tid),
                        each.stamp,
                    )
                logger.info("put this into a zope.conf, in the place of its databases:")
                blobs = directory / _BLOBS
                conf = momentserver.zope_conf(opened, server.address, blobs, read_only=read_only)
                answers.say(conf)
                logger.info("serving until Ctrl-C")
                try:
                    server.loop()
                except KeyboardInterrupt:
                    logger.info("closed: nothing was restored, and nothing of the site has changed")
    return DONE


VERB = Verb(
    summary="open the site of a moment without restoring it",
    description="Serve the site as it was at a moment to ZEO clients on this machine, read-only\n"
    "and without restoring it, until Ctrl-C.  What a client needs in its zope.conf is printed.\n"
    "Neither the site nor the backups are written to, and the site may be running.",
    examples=(
        ("yesterday", "the site as it was yesterday, 0:00 UTC"),
        ("--before TID", "as it was before that transaction (log lists them)"),
        ("--changes /tmp/tried", "the newest restore point, to log in and try something"),
        ("--address 8200", "at port 8200 of 127.0.0.1"),
    ),
    declare=_declare,
    act=_act,
)
