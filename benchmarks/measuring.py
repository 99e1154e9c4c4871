"""What a process took, and what it left."""

from __future__ import annotations

import compileall
import itertools
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import collective.recipe.backup
from collective.recipe.backup.errors import BackupError

# A process of its own, as small as can be: what the kernel says of the memory of a child
# is at least what its parent had when it started it.
_LAUNCHER = """
import json, os, sys, time
log, *command = sys.argv[1:]
flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
actions = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
           (os.POSIX_SPAWN_OPEN, 1, log, flags, 0o666), (os.POSIX_SPAWN_DUP2, 1, 2)]
begin = time.perf_counter()
child = os.posix_spawnp(command[0], command, os.environ, file_actions=actions)
_child, status, usage = os.wait4(child, 0)
seconds = time.perf_counter() - begin
print(json.dumps([seconds, os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024,
                  usage.ru_utime + usage.ru_stime]))
"""

_NO_BYTE_CODE = "PYTHONDONTWRITEBYTECODE"


def compile_ours() -> None:
    """Compile the modules that are measured: pip compiles what it installs, but no checkout."""
    os.environ.pop(_NO_BYTE_CODE, None)
    compileall.compile_dir(Path(collective.recipe.backup.__file__).parent, quiet=1)


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What a process took: wall and CPU *seconds*, the *memory* of its largest part in bytes."""

    seconds: float
    cpu: float
    memory: int


def take(command: Sequence[str | Path], log: Path) -> Taken:
    """Run a process that must succeed; what it says goes to *log*."""
    # what others wrote must not be waited for by whoever is the first to sync
    os.sync()
    # whoever installs a package gets its byte code with it; ours comes with the first round
    environment = {name: value for name, value in os.environ.items() if name != _NO_BYTE_CODE}
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _LAUNCHER, log, *command],
        check=True,
        stdout=subprocess.PIPE,
        env=environment,
    )
    seconds, code, memory, cpu = json.loads(done.stdout)
    if code:
        words = log.read_text(errors="replace")[-2000:]
        raise BackupError(f"exit code {code}: {' '.join(map(str, command))}\n{words}")
    return Taken(seconds=seconds, cpu=cpu, memory=memory)


def system_calls(command: Sequence[str | Path], log: Path) -> int:
    """Run a process under strace; return how many system calls it made in all."""
    counts = log.with_suffix(".strace")
    take(["strace", "-f", "-c", "-o", counts, *command], log)
    [total] = [line.split() for line in counts.read_text().splitlines() if line.endswith("total")]
    return int(total[3 if len(total) > 4 else 2])


class Trash:
    """A directory for what is in the way, until all is measured.

    For minutes after many files were removed, ext4 is slow to make as many: it does not
    use their inodes again, but looks at each.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._numbers = itertools.count()

    def take_hollow(self, path: Path) -> None:
        """Take *path* out of the way; the bytes of files without other links go at once."""
        for each in _walk(path):
            status = os.lstat(each)
            if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
                os.truncate(each, 0)
        self.take(path)

    def take(self, path: Path) -> None:
        """Take *path* out of the way."""
        self._directory.mkdir(exist_ok=True)
        path.rename(self._directory / str(next(self._numbers)))

    def empty(self) -> None:
        """Remove all that it has."""
        shutil.rmtree(self._directory, ignore_errors=True)


class Inodes:
    """The files and directories that are in a directory: something to count from."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._inodes = {(each.st_dev, each.st_ino) for each in map(os.lstat, _walk(directory))}

    def added(self) -> tuple[int, int]:
        """Return how many inodes were added, and the bytes of disk that they take."""
        inodes, size, seen = 0, 0, set(self._inodes)
        for path in _walk(self._directory):
            status = os.lstat(path)
            key = status.st_dev, status.st_ino
            if key not in seen:
                seen.add(key)
                inodes += 1
                size += status.st_blocks * 512
        return inodes, size


class Contents(Inodes):
    """What is in a directory: a place to come back to, and to count from.

    Files that later backups add to are kept, all others are only known by name.
    """

    NEVER_CHANGED = (".blob", ".fsz", ".deltafsz", ".index")

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._names: set[str] = set()
        self._small: dict[str, bytes] = {}
        self._links: dict[str, str] = {}
        for path in _walk(directory):
            self._names.add(path)
            if os.path.islink(path):
                self._links[path] = os.readlink(path)
            elif os.path.isfile(path) and not path.endswith(self.NEVER_CHANGED):
                self._small[path] = Path(path).read_bytes()

    def come_back(self, trash: Trash) -> None:
        """Make the directory what it was; what is new in it goes to *trash*."""
        new = {path for path in _walk(self._directory) if path not in self._names}
        for path in new:
            if os.path.dirname(path) not in new:
                trash.take(Path(path))
        for path, data in self._small.items():
            if not os.path.exists(path) or Path(path).read_bytes() != data:
                Path(path).write_bytes(data)
        for path, text in self._links.items():
            if not os.path.islink(path) or os.readlink(path) != text:
                Path(path).unlink(missing_ok=True)
                os.symlink(text, path)


def _walk(directory: Path) -> list[str]:
    """Return all paths below *directory*, each directory before what it holds."""
    found = []
    for place, directories, names in os.walk(directory):
        found += [os.path.join(place, name) for name in (*directories, *names)]
    return sorted(found)
