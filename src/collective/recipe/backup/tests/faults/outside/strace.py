"""The system calls of a script: which there are, and one of them goes wrong.

strace counts the calls that it lets fail, in each thread by itself.  It is told to look at one
path only, so that neither the start of Python nor another thread is counted with it; what
names a path depends on (chance, and the second that names a backup) is made known.
"""

from __future__ import annotations

import functools
import os
import re
import signal
import socket
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.scripts import PATIENCE
from collective.recipe.backup.times import stamp, utcnow

CHANGING = {
    *("openat", "write", "pwrite64", "writev", "ftruncate", "truncate", "fallocate"),
    *("fsync", "fdatasync", "sync_file_range", "syncfs", "copy_file_range", "sendfile", "ioctl"),
    *("rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat"),
    *("unlink", "unlinkat", "mkdir", "mkdirat", "rmdir"),
    *("chmod", "fchmod", "fchmodat", "chown", "fchown", "fchownat", "lchown", "utimensat"),
}
"""Calls that change a disk; openat if it creates, ioctl if it clones."""
READING = {"openat", "read", "pread64", "getdents64"}
REMOVING = {"unlink", "unlinkat", "rmdir"}
OTHER_WAY = {"ioctl", "copy_file_range", "sendfile"}
"""Calls that there is another way for."""
CONVENIENT = {"chmod", "fchmod", "fchmodat", "chown", "fchown", "fchownat", "lchown", "utimensat"}
"""Calls that some file systems refuse, and that no restore needs."""

EIO, ENOSPC, EPERM, KILL = "EIO", "ENOSPC", "EPERM", "KILL"

NEW_STAMP = "{stamp}"
"""Stands in a path for the stamp of what the run makes."""
SECONDS_TO_START = 30
"""A run makes its stamp within this time after its start."""

_CALL = re.compile(r"(\d+) +(\w+)\((.*?)(?:\) += .*| <unfinished \.\.\.>)?")
_PATHS = re.compile(r'\d+<(/[^>]*)>|"((?:[^"\\]|\\.)+)"')
_STAMP = re.compile(r"\d{4}(?:-\d\d){5}")
# names by chance are the same ones each time
_SCRIPT = """
import os, sys
os.urandom = bytes
from collective.recipe.backup.cli import main
sys.exit(main(sys.argv[1], "standard", sys.argv[2], ["--no-prompt", *sys.argv[3:]]))
"""


@dataclass(frozen=True, kw_only=True)
class Injection:
    """A fault at one call of a script: the call number *when* (from 1) of this name and path."""

    call: str
    path: str  # in the site, with NEW_STAMP where it has the stamp of the run
    when: int
    fault: str
    reads: bool  # the call changes nothing

    @property
    def name(self) -> str:
        """The name of the file or directory."""
        return os.path.basename(self.path)

    def __str__(self) -> str:
        return f"{self.fault} at {self.call} {self.when} of {self.path}"


@dataclass(frozen=True, kw_only=True)
class Done:
    """What became of a run."""

    code: int  # the exit code, -9 of a process that was killed
    said: str  # on both streams
    trace: str  # as strace wrote it

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL


class Script:
    """A script of a site, as buildout makes it, with the arguments *arguments*.

    It belongs to the *site*, and its trace and its output are written into *room*.
    *follows*: it goes on until a SIGTERM, which it gets when it has said to its service
    manager that it is ready.
    """

    def __init__(
        self, arguments: Sequence[str], site: Operated, room: Path, *, follows: bool = False
    ) -> None:
        verb, *rest = arguments
        self._command = [sys.executable, "-c", _SCRIPT, verb, str(site.config_path), *rest]
        self._site = site.site.directory
        self._room = room
        self._follows = follows

    def calls(self) -> tuple[Done, list[Injection]]:
        """Run it; return what became of it, and all that can go wrong about its site."""
        begun = stamp(utcnow())
        done = self._run(["-e", f"trace={','.join(sorted(CHANGING | READING))}"], quick=True)
        return done, list(_injections(done.trace, self._site, begun))

    def strike(self, injection: Injection) -> Done:
        """Run it with one fault."""
        what = f"error={injection.fault}"
        if injection.fault == KILL:
            what = "signal=SIGKILL"
        options = [f"trace={injection.call}"]
        options += [f"inject={injection.call}:{what}:when={injection.when}"]
        words = [word for option in options for word in ("-e", option)]
        for path in _names(self._site / injection.path):
            words += ["-P", path]
        return self._run(words, quick=injection.fault != KILL)

    def _run(self, words: list[str], *, quick: bool) -> Done:
        trace, output = self._room / "trace", self._room / "output"
        # strace sends no signals where it lets the kernel choose the calls
        words = [*words, "--seccomp-bpf"] if quick else words
        command = ["strace", "-f", "-qq", "-y", "-s", "0", "-e", "signal=none", "-o", str(trace)]
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        with output.open("wb") as stream, Manager() as manager:
            if self._follows:
                environment["NOTIFY_SOCKET"] = f"@{manager.name}"
            process = subprocess.Popen(
                [*command, *words, *self._command],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                env=environment,
            )
            if self._follows:
                manager.end_when_ready(process)
            code = process.wait(PATIENCE)
        return Done(
            code=code,
            said=output.read_text(errors="backslashreplace"),
            trace=trace.read_text(errors="backslashreplace"),
        )


class Manager:
    """A service manager that asks a service to end as soon as it is ready."""

    def __init__(self) -> None:
        self.name = f"backup-faults-{os.getpid()}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def __enter__(self) -> Manager:
        self._socket.bind(f"\0{self.name}")
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.settimeout(0.05)
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()

    def end_when_ready(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until the service says that it is ready, and ask it to end; or until it ends."""
        while process.poll() is None:
            with suppress(TimeoutError):
                data, ancillary, *_ = self._socket.recvmsg(1000, 100)
                if b"READY=1" in data:
                    # the process is a child of strace, and the kernel says which
                    [(_level, _type, sender)] = ancillary
                    # it may have met its fault since
                    with suppress(ProcessLookupError):
                        os.kill(struct.unpack("iii", sender)[0], signal.SIGTERM)
                    return


@functools.cache
def can_trace() -> bool:
    """Tell whether this user may trace a process, which some containers forbid."""
    command = ["strace", "-f", "--seccomp-bpf", "-o", os.devnull, "-e", "trace=openat", "true"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _names(path: Path) -> Iterator[str]:
    """Yield what *path* may be called in a run that begins now."""
    now = utcnow()
    # a stamp may be a second ahead where there is one already
    for seconds in range(SECONDS_TO_START if NEW_STAMP in str(path) else 1):
        yield str(path).replace(NEW_STAMP, stamp(now + timedelta(seconds=seconds)))


def _injections(trace: str, below: Path, begun: str) -> Iterator[Injection]:
    """Yield the faults of all calls in *trace* that concern something *below* a directory.

    *begun* is the stamp of the second in which the run began.
    """
    counts: Counter[tuple[str, str, str]] = Counter()
    seen = set()
    for line in trace.splitlines():
        match = _CALL.fullmatch(line)
        if not match:
            continue
        process, call, arguments = match.groups()
        paths = list(_paths(call, arguments, begun))
        counts.update((process, call, path) for path in paths)
        ours = [path for path in paths if path.startswith(f"{below}/")]
        if not ours:
            continue
        # of two threads both meet the fault
        key = call, ours[-1], counts[process, call, ours[-1]]
        if key in seen:
            continue
        seen.add(key)
        for fault, reads in _faults(call, arguments):
            path = os.path.relpath(ours[-1], below)
            yield Injection(call=call, path=path, when=key[2], fault=fault, reads=reads)


def _paths(call: str, arguments: str, begun: str) -> Iterator[str]:
    """Yield the paths by which strace finds a call."""
    found = dict.fromkeys(each[0] or each[1] for each in _PATHS.findall(arguments))
    for path in [*found][:1] if call == "rename" else found:
        yield _STAMP.sub(lambda made: NEW_STAMP if made[0] >= begun else made[0], path)


def _faults(call: str, arguments: str) -> Iterator[tuple[str, bool]]:
    """Yield what can go wrong about a call, and whether it only reads."""
    only_reads = call not in CHANGING or (call == "openat" and "O_CREAT" not in arguments)
    if only_reads:
        yield EIO, True
    elif call != "ioctl" or "FICLONE" in arguments:
        yield EIO, False
        if call in CONVENIENT:
            yield EPERM, False
        elif call not in {*REMOVING, "truncate"}:
            yield ENOSPC, False
        yield KILL, False
