"""The site at three times: as it was yesterday, as it is after a day of work, and packed.

What is live lies in ``var/``, as scripts know it.  A Data.fs of yesterday becomes that of
the day by growing, as it does in life, so it stays the same file; a packed one takes its
place.  The trees of blobs are made of hard links, and change places by renaming.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from benchmarks.measuring import Trash

YESTERDAY, DAY, PACKED = "yesterday", "day", "packed"
GROWING = YESTERDAY, DAY

FOLDERS_FROM = 1000
"""Number of blobs from which on a site has a folder of 1,000 items and an album as well."""


class States:
    """A site in *directory*, in one of its states."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.trash = Trash(directory / "trash")
        self.var = directory / "var"
        self.filestorage = self.var / "filestorage" / "Data.fs"
        self.index = self.filestorage.with_name("Data.fs.index")
        self.blobstorage = self.var / "blobstorage"
        self._kept = directory / "states"
        self._current = directory / "states" / "current"

    @property
    def current(self) -> str:
        """The state that is live."""
        return self._current.read_text()

    def size(self, state: str) -> int:
        """Return the size of Data.fs in a state."""
        return int((self._kept / state / "size").read_text())

    def blobs(self, state: str) -> int:
        """Return the number of blobs in a state."""
        return int((self._kept / state / "blobs").read_text())

    def blob_bytes(self, state: str) -> int:
        """Return the bytes of all blobs in a state."""
        kept = self._kept / state / "blobstorage"
        place = self.blobstorage if state == self.current else kept
        return sum(path.stat().st_size for path in place.rglob("*.blob"))

    # making them

    def keep(self, state: str) -> None:
        """Remember what is live as *state*; what comes next may go on with it."""
        place = self._kept / state
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy2(self.index, place / "index")
        size = self.filestorage.stat().st_size
        (place / "size").write_text(str(size))
        (place / "blobs").write_text(str(sum(1 for _path in self.blobstorage.rglob("*.blob"))))
        if state == YESTERDAY:
            link_tree(self.blobstorage, place / "blobstorage")
        elif state == DAY:
            with self.filestorage.open("rb") as file:
                file.seek(self.size(YESTERDAY))
                (place / "tail").write_bytes(file.read())
        else:
            for name in ("Data.fs.old", "Data.fs.lock", "Data.fs.tmp"):
                self.filestorage.with_name(name).unlink(missing_ok=True)
        self._current.write_text(state)

    def twin(self, state: str) -> None:
        """Put a copy of what is live aside, and go on with the other as *state*."""
        aside = self._kept / self.current
        shutil.copy2(self.filestorage, aside / "twin")
        self.filestorage.rename(aside / "Data.fs")
        (aside / "twin").rename(self.filestorage)
        self.blobstorage.rename(aside / "blobstorage")
        link_tree(aside / "blobstorage", self.blobstorage)
        self._current.write_text(state)

    # changing them

    def switch(self, state: str, *, index: str | None = None) -> None:
        """Make *state* live, with the Data.fs.index of *index* (None: without any)."""
        if state != self.current:
            self.blobstorage.rename(self._kept / self.current / "blobstorage")
            (self._kept / state / "blobstorage").rename(self.blobstorage)
            if (state in GROWING) != (self.current in GROWING):
                self._growing_place(self.current).mkdir(exist_ok=True)
                self.filestorage.rename(self._growing_place(self.current) / "Data.fs")
                (self._growing_place(state) / "Data.fs").rename(self.filestorage)
            self._current.write_text(state)
        # what has the size looks as it did: its time tells that nothing changed
        if state in GROWING and self.filestorage.stat().st_size != self.size(state):
            os.truncate(self.filestorage, self.size(YESTERDAY))
        if state == DAY and self.filestorage.stat().st_size != self.size(DAY):
            with self.filestorage.open("ab") as file:
                file.write((self._kept / DAY / "tail").read_bytes())
        self.index.unlink(missing_ok=True)
        if index is not None:
            shutil.copy2(self._kept / index / "index", self.index)

    def _growing_place(self, state: str) -> Path:
        """Return where the Data.fs of *state* waits for its turn."""
        return self._kept / (DAY if state in GROWING else PACKED)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Let nothing be live during the body; what the body makes live goes afterwards."""
        var, aside = self.directory / "var", self.directory / "aside"
        var.rename(aside)
        self.filestorage.parent.mkdir(parents=True)
        try:
            yield
        finally:
            self.trash.take_hollow(var)
            aside.rename(var)

    def copy_of(self, state: str, filestorage: Path, blobstorage: Path | None) -> None:
        """Make a copy of *state*, not the packed one, that may be written over.

        The site must be in the state of the day, live or aside.
        """
        live = self.filestorage.relative_to(self.directory / "var")
        there = [self.directory / place / live for place in ("aside", "var")]
        filestorage.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(next(path for path in there if path.exists()), filestorage)
        os.truncate(filestorage, self.size(state))
        shutil.copyfile(
            self._kept / state / "index", filestorage.with_name(f"{filestorage.name}.index")
        )
        if blobstorage is not None:
            link_tree(self._kept / state / "blobstorage", blobstorage)

    # what a restore finds, and leaves

    def lost(self) -> AbstractContextManager[object]:
        """Lose the site as it is after the day, during the body."""
        stack = ExitStack()
        self.switch(DAY, index=DAY)
        stack.enter_context(self.aside())
        return stack

    def over_yesterday(self) -> AbstractContextManager[object]:
        """Let the site of the day be a copy of yesterday's, during the body."""
        stack = self.lost()
        self.copy_of(YESTERDAY, self.filestorage, self.blobstorage)
        return stack

    def is_the_day(self) -> bool:
        """Tell whether what is live has the size of the site after the day."""
        blobs = sum(1 for _path in self.blobstorage.rglob("*.blob"))
        return (self.filestorage.stat().st_size, blobs) == (self.size(DAY), self.blobs(DAY))


def made(scratch: Path, size: int, blobs: int, tell: Callable[[str], object]) -> States:
    """Return a site of *size* MB with so many *blobs*, made in *scratch* if it is not there yet."""
    directory = scratch / f"site-{size}-{blobs}{'-album' if blobs >= FOLDERS_FROM else ''}"
    if not directory.exists():
        tell(f"making a site: {size} MB of Data.fs, {blobs} blobs")
        scratch.mkdir(parents=True, exist_ok=True)
        # in a process of its own, which needs much memory
        subprocess.run(
            [sys.executable, "-m", "benchmarks.site", directory, str(size), str(blobs)],
            check=True,
        )
    return States(directory)


def link_tree(source: Path, target: Path) -> None:
    """Make *target* a tree of hard links to the files of *source*."""
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-al", source, target], check=True)
