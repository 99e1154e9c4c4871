"""The offsets of the gzip members in an existing data file.

The writer of a data file notes them.  For a data file with digests of version 1, or one that a run
that died left without digests, they are found in one pass over the file, without inflating it.
"""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import islice
from pathlib import Path

from collective.recipe.backup.files import Files
from collective.recipe.backup.gzipping import member_begins
from collective.recipe.backup.progress import Progress
from collective.recipe.backup.repozo.blocks import MEMBER, Blocks, read_blocks, write_blocks
from collective.recipe.backup.repozo.chains import Chain
from collective.recipe.backup.repozo.ledger import Part
from collective.recipe.backup.smallfile import open_regular

_SIZE = 4


def find_members(path: Path, size: int, block_size: int) -> bytes:
    """Return a MEMBER for each block of the data file *path*, which holds *size* bytes.

    b"" if it is not a gzip member for each block.  Raises OSError.
    """
    count = -(-size // block_size)
    if not path.name.endswith("z") or not count:
        return b""
    with open_regular(path) as file:
        # one too many tells as well that it is made otherwise, and there is no end of others
        begins = list(islice(member_begins(file, block_size), count + 1))
        if len(begins) != count:
            return b""
        file.seek(-_SIZE, os.SEEK_END)
        last = int.from_bytes(file.read(), "little")
    if last != size - (count - 1) * block_size:
        return b""
    return b"".join(map(MEMBER.pack, begins))


def complete(chain: Chain, *, files: Files, progress: Progress) -> None:
    """Give version 2 to all digests of *chain* if those of its newest part are of version 1.

    The newest part comes last, so a run that dies on the way is followed by one that goes on
    there.  It reads the data files of the chain once; after that no part of it is of version 1.
    """
    if not _is_older(chain, chain.last):
        return
    with progress.phase("looking for members", chain.end) as advance:
        for part in chain.parts:
            blocks = read_blocks(chain.directory, part)
            if blocks is not None and blocks.members is None:
                _complete(chain, part, blocks, files)
            advance(part.size)


def _complete(chain: Chain, part: Part, blocks: Blocks, files: Files) -> None:
    try:
        members = find_members(chain.path(part), part.size, blocks.block_size)
    except OSError:
        return  # a missing cache ends no backup: readers of the file report its damage
    write_blocks(chain.directory, part, replace(blocks, members=members), files)


def _is_older(chain: Chain, part: Part) -> bool:
    blocks = read_blocks(chain.directory, part)
    return blocks is not None and blocks.members is None
