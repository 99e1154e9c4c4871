"""``bin/backup-browse``."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from collective.recipe.backup.cli.answers import Answers
from collective.recipe.backup.cli.arguments import Verb, destination_flag, place_flag
from collective.recipe.backup.errors import DONE, ConfigurationError

if TYPE_CHECKING:
    from collective.recipe.backup.operations.run import Run

logger = logging.getLogger("backup")


def _declare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--address",
        metavar="ADDRESS",
        default="0",
        help="where to serve: PORT or HOST:PORT of this machine (default: a free port of "
        "127.0.0.1)",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="where a download is put together before it is sent (default: $TMPDIR, or /var/tmp)",
    )
    destination_flag(parser)
    place_flag(parser)


def _act(run: Run, namespace: argparse.Namespace, answers: Answers) -> int:
    _check_installed()
    from collective.recipe.backup.browsing.pageserver import serving
    from collective.recipe.backup.operations.momentopening import usual_room
    from collective.recipe.backup.operations.momentserver import local_address
    from collective.recipe.backup.operations.usedplaces import refuse_within
    from collective.recipe.backup.served.privatecache import private_cache

    address = local_address(namespace.address, "--address takes PORT or HOST:PORT")
    site = run.config.sources[0].filestorage
    room = (namespace.cache or usual_room()).absolute()
    refuse_within(run.config, room)
    with (
        private_cache(room, run.files) as directory,
        serving(run, str(site), address, directory) as server,
    ):
        logger.info("open this address in a browser of this machine:")
        answers.say(server.url)
        logger.info("anybody with this address can read everything in the backups, until Ctrl-C")
        server.loop()
        logger.info("closing, as soon as a page that is being made is ready")
    logger.info("closed: nothing was restored, and nothing of the site has changed")
    return DONE


def _check_installed() -> None:
    """Raise ConfigurationError if what serves pages is not installed."""
    from importlib.util import find_spec

    missing = [name for name in ("waitress", "werkzeug") if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"to browse, {' and '.join(missing)} is needed, and it is not installed",
            hint="pip install 'collective.recipe.backup[browse]'; in a buildout: eggs = "
            "collective.recipe.backup[browse] in this part",
        )


VERB = Verb(
    summary="look into the backups with a web browser",
    description="Serve pages about the backups on this machine until Ctrl-C: the restore points,\n"
    "who did what, the objects of any moment and the history of each, what is gone, and\n"
    "downloads of an object (.zexp) or of a file.  Nothing can be changed there, and neither\n"
    "the site nor the backups are written to.",
    examples=(
        ("", "at a free port of 127.0.0.1; the address that is printed has a secret in it"),
        ("--address 8300", "at port 8300, for a tunnel: ssh -L 8300:127.0.0.1:8300 HOST"),
        ("--from repository", "what the repository has"),
    ),
    declare=_declare,
    act=_act,
)
