"""The only room that starts a process: programs by argument list, hooks of the user by shell."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence

from collective.recipe.backup.errors import CommandFailed


def run(
    arguments: Sequence[str | os.PathLike[str]], *, what: str, good: Collection[int] = (0,)
) -> None:
    """Run a program, its output passed through to our stderr.

    No shell is involved.  Raises CommandFailed with the status if that is not a *good* one,
    or when there is no such program; *what* says in words what it was to do.
    """
    shown = shlex.join(os.fspath(argument) for argument in arguments)
    try:
        done = subprocess.run(
            list(arguments), stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False
        )
    except OSError as error:
        raise CommandFailed(
            f"{what}: cannot start {os.fspath(arguments[0])!r} ({error.strerror})",
            hint="is it installed, and is its directory in PATH?",
        ) from error
    if done.returncode not in good:
        raise CommandFailed(f"{what}: {_ended(done.returncode)}", where=shown)


def run_hook(name: str, command: str, environment: Mapping[str, str]) -> None:
    """Run a *command* of the user, a shell text of one or several lines.

    A failing line ends it (``set -e``), since a status that only the last line decides
    hides failures.  *environment* is added to ours.  Raises CommandFailed.
    """
    # the one shell: the text is the user's own, and is meant for one
    done = subprocess.run(
        ["/bin/sh", "-e", "-c", command],
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        env={**os.environ, **environment},
        check=False,
    )
    if done.returncode:
        raise CommandFailed(
            f"{name} failed: {_ended(done.returncode)}",
            hint=f"run its lines by hand to see why, or mend {name} in the buildout part",
        )


def _ended(status: int) -> str:
    return f"ended by signal {-status}" if status < 0 else f"exit status {status}"
