"""The filestorage part by a program of the user that has the arguments of repozo.

``repozo = PATH`` asks for it.  The program decides between full and incremental and writes the
repozo directory; we read the result in the ledger.  For a restore it writes to a name beside the
live one, since repozo deletes an existing file first.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from collective.recipe.backup import process
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage.log import MAGIC_SIZE
from collective.recipe.backup.filestorage.logcut import LogEnd
from collective.recipe.backup.filestorage.storedlog import Block
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.progress import Advance
from collective.recipe.backup.repozo.chainbackup import Taken
from collective.recipe.backup.repozo.chainlog import ChainLog
from collective.recipe.backup.repozo.chains import Chain, read_directory
from collective.recipe.backup.restorepoints import Choice
from collective.recipe.backup.times import LAST_TID

_TO_OTHERS = 0o077
"""The permissions of all but the owner."""


@dataclass(frozen=True, kw_only=True)
class Repozo:
    """A program with the arguments of ZODB's repozo."""

    program: Path  # absolute
    verbose: bool = False  # whether it gets ``--verbose``
    quick: bool = True  # look at no more of the filestorage than its end
    gzip: bool = True  # whether it gets ``--gzip``

    def back_up(self, filestorage: Path, directory: Path, *, full: bool, denied: int) -> None:
        """Let it back up *filestorage*.  Raises CommandFailed if it fails.

        Its files lack the permission bits *denied*.
        """
        arguments = ["--backup", "-f", str(filestorage), "-r", str(directory)]
        if full:
            arguments.append("-F")
        elif self.quick:
            arguments.append("--quick")
        if self.verbose:
            arguments.append("--verbose")
        if self.gzip:
            arguments.append("--gzip")
        process.run([self.program, *arguments], what="backing up the filestorage", denied=denied)

    def taken(self, log: TransactionLog, directory: Path, before: str) -> Taken:
        """Return what came of it; *before* is the newest stamp that there was.

        Raises IntegrityError if no backup of *log* came of it.
        """
        chains = read_directory(directory).chains
        if not chains:
            raise IntegrityError("the program made no backup", where=self.program)
        chain, part = chains[-1], chains[-1].last
        end = log.cut(LAST_TID, part.start or MAGIC_SIZE, part.end)
        changed = part.stamp != before
        return Taken(
            stamp=part.stamp,
            chain=chain.stamp,
            start=part.start,
            end=part.end,
            tid=end.tid,
            reductions=end.reductions,
            packed=None,
            changed=changed,
            full=part.full,
            reason="",
            stored=chain.path(part).stat().st_size,
        )

    def recover(self, chain: Chain, stamp: str, target: Path) -> LogEnd:
        """Let it restore the backup of *stamp* to *target*, and look at what it wrote.

        Raises CommandFailed, or IntegrityError if that is not what the ledger says.
        """
        arguments = ["--recover", "-o", str(target), "-r", str(chain.directory), "-D", stamp]
        if self.verbose:
            arguments.append("--verbose")
        process.run([self.program, *arguments], what="restoring the filestorage", denied=_TO_OTHERS)
        end = chain.up_to(stamp)[-1].end
        with TransactionLog(target) as log:
            found = log.end()
            if (found.offset, log.size) != (end, end):
                raise IntegrityError(
                    f"the program restored {log.size} bytes, {found.offset} of them whole "
                    f"transactions, where the ledger says {end}",
                    where=chain.ledger,
                    hint="leave the option repozo out and let our own engine say what is wrong",
                )
        return found


class ProgramLog(ChainLog):
    """The log of *choice* in *chain*, recovered as a whole by a program of the user."""

    def __init__(self, chain: Chain, choice: Choice, repozo: Repozo) -> None:
        """See ChainLog."""
        super().__init__(chain, choice)
        self._repozo = repozo

    def blocks(self) -> Iterator[Block]:
        """Yield nothing: the program writes all of it anew."""
        return iter(())

    def copy_to(self, target: Path, files: Files, advance: Advance) -> None:
        """Let the program write it; a program knows of no moment between two backups."""
        if self.until is not None:
            super().copy_to(target, files, advance)
            return
        self.ended(self._repozo.recover(self.chain, self.point.stamp, target))
