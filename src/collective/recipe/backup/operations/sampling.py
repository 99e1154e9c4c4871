"""Samples that cover everything in turn, with one number to remember.

Each file has its place on a circle, by a hash of its name.  A sample takes the files on the
next arc, as long as its share of the circle, and remembers where that ended.  So 1 % reads
every file once in a hundred runs, whatever comes and goes between them, and nothing has to
be listed.  Without the number it begins anew at the same point: that loses no more than the
order.

``.backup-verified.json`` lies beside the restore points: ``{"format": 1, "next": N, "check":
...}``, N from 0 to 2**32 - 1.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from blake3 import blake3

from collective.recipe.backup.errors import from_os_error
from collective.recipe.backup.files import Files
from collective.recipe.backup.jsonfile import Form, UnreadableError

if TYPE_CHECKING:
    from fractions import Fraction

logger = logging.getLogger("backup")

NAME = ".backup-verified.json"
FORM = Form(version=1)
CIRCLE = 1 << 32


class Arc(NamedTuple):
    """A piece of the circle: *size* from *begin* on."""

    begin: int  # from 0 up to the size of the circle
    size: int  # from *begin* on

    def holds(self, name: str) -> bool:
        """Tell whether the file *name* is on it."""
        digest = blake3(name.encode("utf-8", "surrogateescape")).digest(length=4)
        return (int.from_bytes(digest, "big") - self.begin) % CIRCLE < self.size


def next_arc(directory: Path, share: Fraction) -> Arc:
    """Return what a sample of that *share* of the destination in *directory* is to read."""
    return Arc(_remembered(directory / NAME), math.ceil(share * CIRCLE))


def remember(directory: Path, arc: Arc, files: Files) -> None:
    """Note where *arc* ends, so that the next sample begins there.

    A note that cannot be written is only warned of.
    """
    try:
        files.write(directory / NAME, FORM.encode({"next": (arc.begin + arc.size) % CIRCLE}))
    except OSError as error:
        said = from_os_error(error, "cannot remember what was verified", directory / NAME)
        logger.warning("%s: the next sample will read the same again", said)


def _remembered(path: Path) -> int:
    try:
        table = FORM.load(path)
        return 0 if table is None else table.number("next") % CIRCLE
    except (OSError, UnreadableError):
        return 0
