"""The only room that starts a process: programs by argument list, hooks of the user by shell.

Our own code runs in another process only where it computes something and changes nothing, or
fills a directory that counts for nothing yet.

The modules that start processes are imported where one is started: most runs start none.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import (
    Callable,
    Collection,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from collective.recipe.backup import times
from collective.recipe.backup.errors import CommandFailed
from collective.recipe.backup.listings import changing
from collective.recipe.backup.rights import umask

if TYPE_CHECKING:
    from io import BufferedReader, BufferedWriter

logger = logging.getLogger("backup")

KEPT = 16_000
"""Bytes at the end of a hook's output that are kept."""
LOOK = 0.2
"""Seconds after which a thread that waits for a program looks whether it should end."""
LEFT_RUNNING = 1.0
"""Seconds that we wait for the last words of a hook that has ended."""


def run(
    arguments: Sequence[str | os.PathLike[str]],
    *,
    what: str,
    good: Collection[int] = (0,),
    hints: Mapping[int, str] | None = None,
    denied: int = 0,
) -> int:
    """Run a program, its output passed through to our stderr; return its exit status.

    Its files lack the permission bits *denied*, besides those of our umask.

    No shell is involved.  Raises CommandFailed with the status if that is not a *good* one,
    or when there is no such program; *what* says in words what it was to do, *hints* what can
    be done about a status.
    """
    import shlex
    import subprocess

    shown = shlex.join(os.fspath(argument) for argument in arguments)
    try:
        with changing:
            done = subprocess.run(
                list(arguments),
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr,
                check=False,
                umask=umask() | denied,
            )
    except OSError as error:
        raise CommandFailed(
            f"{what}: cannot start {os.fspath(arguments[0])!r} ({error.strerror})",
            hint="is it installed, and is its directory in PATH?",
        ) from error
    status = done.returncode
    if status not in good:
        hint = (hints or {}).get(status) or _HINTS.get(status, "what it said stands above")
        raise CommandFailed(f"{what}: {_ended(status)}", where=shown, hint=hint)
    return status


_HINTS = {
    -signal.SIGKILL: "it was killed, maybe by the kernel for want of memory: look into the system "
    "log",
    -signal.SIGTERM: "it was asked to end: run the command again",
    -signal.SIGSEGV: "it crashed: is it damaged, or does it not fit this machine?",
}
"""Hints for exit statuses of any program; a signal is negative."""


class Ended(NamedTuple):
    """The end of a hook."""

    name: str  # of the option
    status: int  # exit status; 0: it went well
    output: str  # end of its output

    def check(self) -> None:
        """Raise CommandFailed if it failed."""
        if self.status:
            raise CommandFailed(
                f"{self.name} failed: {_ended(self.status)}",
                hint=f"run its lines by hand to see why, or mend the option {self.name}",
            )


def run_hook(name: str, command: str, environment: Mapping[str, str]) -> Ended:
    """Run a *command* of the user, a shell text of one or several lines.

    A failing line ends it (``set -e``), since a status that only the last line decides hides
    failures.  *environment* is added to ours.  Its output is passed on to our stderr at once, and
    the end of it is kept.
    """
    import subprocess
    import threading

    # the one shell: the text is the user's own, and is meant for one
    with (
        changing,
        subprocess.Popen(
            ["/bin/sh", "-e", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
        ) as started,
    ):
        assert started.stdout is not None  # noqa: S101  for the type checker
        tail = bytearray()
        # a copy, for a program that is left running may go on after we have closed ours
        reader = os.dup(started.stdout.fileno())
        listener = threading.Thread(target=_pass_through, args=(reader, tail), daemon=True)
        listener.start()
        try:
            started.wait()
        except BaseException:
            started.kill()
            raise
    listener.join(LEFT_RUNNING)
    if listener.is_alive():
        logger.warning(
            "%s left a process running that keeps its output open: redirect that output to a file",
            name,
        )
    return Ended(name, started.returncode, bytes(tail).decode("utf-8", "replace"))


def answer_of(name: str, command: str) -> bytes:
    """Return what a *command* of the user prints, a shell text; *name* is the option that has it.

    Its stderr is passed through to ours.  Raises CommandFailed if it fails, and Interrupted if
    this thread should end meanwhile.
    """
    import subprocess

    with (
        changing,
        subprocess.Popen(
            ["/bin/sh", "-e", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        ) as started,
    ):
        printed = None
        try:
            while printed is None:
                with suppress(subprocess.TimeoutExpired):
                    printed, _nothing = started.communicate(timeout=LOOK)
                times.end_if_asked()
        except BaseException:
            started.kill()
            raise
    Ended(name, started.returncode, "").check()
    return printed


@contextmanager
def computing(module: str, request: bytes) -> Iterator[IO[bytes] | None]:
    """Let the ``main`` of one of our modules answer *request* in a process of its own.

    It reads the request from its standard input, writes the answer to its standard output, and must
    not change anything: it may be killed at any time, or live on for a moment when we are.  Yields
    its output, to be read while it works; None if it cannot be started.  The answer may end at any
    byte, for whatever reason, and then the caller has to do the work.
    """
    with helping(module) as helper:
        if helper is None:
            yield None
            return
        with suppress(OSError), helper.asked:
            helper.asked.write(request)
        yield helper.answers


class Helper(NamedTuple):
    """A process of its own in which one of our modules is at work."""

    asked: BufferedWriter  # its standard input
    answers: BufferedReader  # its standard output
    end: Callable[[], object]  # kills it; when that returns it is gone


class NoAnswerError(Exception):
    """A process of ours has not come to its end: its work is to be done without it."""


def answered(module: str, request: bytes) -> Generator[list[Any], None, None]:
    """Yield the lists with which the ``main`` of one of our modules answers *request*.

    It writes them by ``answer``; see computing.  Raises NoAnswerError if it does not come to its
    end.
    """
    with computing(module, request) as answers:
        if answers is None:
            raise NoAnswerError
        while found := _list(answers):
            yield found


def answer(lists: Iterable[Sequence[object]]) -> None:
    """Write *lists*, of which none is empty, to our standard output: see answered."""
    import pickle

    with closing(sys.stdout.buffer) as answers:
        for each in lists:
            pickle.dump(list(each), answers)
            answers.flush()
        pickle.dump([], answers)


def _list(answers: IO[bytes]) -> list[Any]:
    import pickle

    no_pickle = (
        *(pickle.UnpicklingError, EOFError, ValueError, LookupError),
        *(AttributeError, ImportError, TypeError),
    )
    try:
        found = pickle.load(answers)  # noqa: S301  our own process wrote it
    except no_pickle as error:
        # another program, such as a sitecustomize, may have written to its output as well
        raise NoAnswerError from error
    if not isinstance(found, list):
        raise NoAnswerError
    return found


@contextmanager
def helping(module: str, where: Path | None = None) -> Iterator[Helper | None]:
    """Let the ``main`` of one of our modules answer what it is asked, one thing after the other.

    The rules of ``computing`` are its rules as well, but that it may fill the directory *where*,
    in which it starts and which counts for nothing yet.  It is gone when the body ends.

    One that says nothing for PATIENCE while it is waited for, since it was stopped or since its
    disk hangs, is killed: its answers end there, and to ask it raises OSError.
    """
    import subprocess

    from collective.recipe.backup.patience import patient_reader, patient_writer

    try:
        started = subprocess.Popen(
            # an empty path is the working directory, and nothing is imported from *where*
            [sys.executable, "-c", _COMPUTE, module, *(each or os.getcwd() for each in sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=where,
            bufsize=0,
        )
    except OSError:
        yield None
        return

    def end() -> None:
        started.kill()
        started.wait()

    assert started.stdin is not None  # noqa: S101  for the type checker
    assert started.stdout is not None  # noqa: S101  for the type checker
    asked = patient_writer(started.stdin, started.kill)
    answers = patient_reader(started.stdout, started.kill)
    try:
        yield Helper(asked, answers, end)
    finally:
        end()
        with suppress(OSError):  # bytes that were not sent yet are dropped
            asked.close()
        answers.close()


_COMPUTE = """\
import sys
module, sys.path[:] = sys.argv[1], sys.argv[2:]
__import__(module, fromlist=["main"]).main()
"""


def can_compute() -> bool:
    """Tell whether there is a processor for another process, and a Python to start it with."""
    try:
        processors = len(os.sched_getaffinity(0))
    except AttributeError:  # no Linux
        processors = os.cpu_count() or 1
    return processors > 1 and bool(sys.executable)


def birth_of(process: int) -> str:
    """Return what tells the process of that number from a later one that has it; "": unknown.

    It is the id of the boot of the machine, and the ticks from then to the start of the
    process: field 22 of ``/proc/PID/stat`` (``man proc_pid_stat``).
    """
    fields = _stat(process)
    try:
        return f"{_BOOT.read_text('ascii').strip()} {fields[19]}" if fields else ""
    except OSError:
        return ""


def is_running(process: int, birth: str = "") -> bool:
    """Tell whether there is a process of that number, and of that *birth*, on this machine.

    A process that has ended and is still in the table of its parent (a zombie) does not count.  If
    the system tells only the number, the number must do.
    """
    try:
        os.kill(process, 0)
    except PermissionError:
        pass
    except (OSError, OverflowError):
        return False
    fields = _stat(process)
    if fields and fields[0] in _OVER:
        return False
    found = birth_of(process)
    return not birth or not found or birth == found


_BOOT = Path("/proc/sys/kernel/random/boot_id")
_OVER = ("Z", "X", "x")
"""States of a process that has ended."""


def _stat(process: int) -> list[str]:
    """Return what the kernel says of a process, from its state on; nothing if it does not."""
    try:
        text = Path(f"/proc/{process}/stat").read_text("utf-8", "replace")
    except OSError:
        return []
    # the name before it, in parentheses, may hold anything
    return text.rpartition(")")[2].split()


def _pass_through(reader: int, tail: bytearray) -> None:
    """Copy what comes from *reader* to our stderr until it ends; keep the *tail* of it."""
    try:
        while data := os.read(reader, 1 << 16):
            tail += data
            del tail[:-KEPT]
            # a terminal that went away is no reason to stop a hook
            with suppress(OSError, ValueError, AttributeError):
                sys.stderr.flush()
                sys.stderr.buffer.write(data)
                sys.stderr.buffer.flush()
    finally:
        os.close(reader)


def _ended(status: int) -> str:
    return f"ended by signal {-status}" if status < 0 else f"exit status {status}"
