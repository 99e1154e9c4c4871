"""The scripts of a site as real processes, which can be held at a marked change to the disk.

``python -m collective.recipe.backup.tests.scripts MARK VERB DESTINATION CONFIG ARGUMENT...``
is such a script.  A MARK is an operation of Files and a pattern of names: before the
process makes the first change that fits, it says so by a marker file, and waits until
somebody lets it go on or kills it.
"""

from __future__ import annotations

import fnmatch
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from collective.recipe.backup import files, links
from collective.recipe.backup.config import STANDARD

PATIENCE = 60
"""Seconds after which something that should have happened long ago is a failure."""
NOWHERE = "nowhere"


class Mark(NamedTuple):
    """A change to the disk: an operation, and a pattern that the name of the path fits."""

    operation: str
    pattern: str

    def fits(self, operation: str, path: links.StrPath) -> bool:
        name = os.path.basename(path)
        return operation == self.operation and fnmatch.fnmatchcase(name, self.pattern)


class Script:
    """A script of the site whose configuration is *config*, as a process of its own."""

    def __init__(
        self, config: Path, verb: str, *arguments: object, mark: Mark | None = None, **more: str
    ) -> None:
        """Start it, with the environment variables *more*."""
        self._marker = config.with_name(f"marker-{os.getpid()}-{time.monotonic_ns()}")
        self._output = self._marker.with_name(f"{self._marker.name}.output")
        place = [self._marker, *mark] if mark else [NOWHERE, "", ""]
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "collective.recipe.backup.tests.scripts"),
                    *place,
                    *(verb, STANDARD, config, "--no-prompt"),
                    *map(str, arguments),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment(**more),
            )

    @property
    def output(self) -> str:
        """What it said so far, on both streams."""
        return self._output.read_text()

    def wait(self) -> int:
        """Return its exit code when it has ended."""
        return self.process.wait(PATIENCE)

    def wait_for_mark(self) -> None:
        """Wait until it is held at its mark."""

        def held() -> bool:
            assert self.process.poll() is None or self._marker.exists(), (
                f"it never came to its mark: {self.output}"
            )
            return self._marker.exists()

        wait_until(held, "it does not come to its mark")

    def go_on(self) -> None:
        """Let it go on from its mark."""
        self._marker.unlink()

    def kill(self) -> None:
        """Kill it as the kernel does when memory is short."""
        self.process.kill()
        self.process.wait(PATIENCE)


@contextmanager
def running(script: Script) -> Iterator[Script]:
    """Give a script that is running; it does not outlive the body."""
    try:
        yield script
    finally:
        script.kill()


def wait_until(happened: Any, otherwise: str) -> None:
    """Wait until *happened* returns something true; fail with *otherwise* if it never does."""
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end, otherwise
        time.sleep(0.01)


def environment(**more: str) -> dict[str, str]:
    """Return an environment in which a Python process finds what this one imports."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **more}


def _hold(marker: Path, mark: Mark) -> None:
    """Let this process be held before the first change that fits *mark*."""

    class Held(files.Files):
        waited = False

        def _change(self, operation: str, path: links.StrPath, *args: Any, **kwargs: Any) -> Any:
            if not Held.waited and mark.fits(operation, path):
                Held.waited = True
                marker.touch()
                while marker.exists():
                    time.sleep(0.01)
            return super()._change(operation, path, *args, **kwargs)

    files.Files = Held  # type: ignore[misc]


def _main(marker: str, operation: str, pattern: str, *arguments: str) -> int:
    if marker != NOWHERE:
        _hold(Path(marker), Mark(operation, pattern))
    # it takes Files from its room when it is called
    from collective.recipe.backup.cli import main

    verb, destination, config, *rest = arguments
    return main(verb, destination, config, rest)


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
