"""A grid of Tahoe-LAFS on this machine, for tests: installed once, started once for a run.

Its releases want others of libraries that ours use, so it has an environment of its own beside
that of the tests, which stays there.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
import time
import urllib.request
import venv
from pathlib import Path

from collective.recipe.backup.tests import servers
from collective.recipe.backup.tests.servers import Started

RELEASE = "tahoe-lafs==1.20.0"
_HOME = Path(sys.prefix) / "tahoe"


def installed() -> Path | None:
    """Return the Python that has tahoe-lafs, installed if it is missing; None: that failed."""
    _HOME.mkdir(exist_ok=True)
    python, stamp = _HOME / "bin" / "python", _HOME / RELEASE
    with (_HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists():
            venv.create(_HOME, with_pip=True)
            pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "-qq", RELEASE]
            if subprocess.run(pip, stderr=subprocess.DEVNULL, check=False).returncode:
                return None
            stamp.touch()
    return python


def start_grid(python: Path, directory: Path) -> Started:
    """Start a grid with *python*; its port is that of the web API of its client."""
    ports = servers.free_ports(5)
    arguments = [python, Path(__file__).parent / "gridnodes.py", directory, *map(str, ports)]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(arguments, stdout=log, stderr=log, cwd=directory)
    started = servers.started(process, ports[0], directory)
    for _attempt in range(1200):
        if (directory / "ready").exists():
            return started
        if process.poll() is not None:
            break
        time.sleep(0.05)
    servers.end(started)
    raise AssertionError(f"the grid did not start:\n{(directory / 'log').read_text()[-2000:]}")


def new_directory(port: int) -> str:
    """Return the capability of a new directory, over the node at *port*."""
    address = f"http://127.0.0.1:{port}/uri?t=mkdir"
    with urllib.request.urlopen(address, data=b"", timeout=60) as answer:
        return answer.read().decode()


def aliased(port: int, capability: str, directory: Path) -> str:
    """Return a URL that names *capability* by an alias of a node with that *directory*."""
    (directory / "private").mkdir(parents=True)
    (directory / "private" / "aliases").write_text(f"# of the node\nsite: {capability}\n")
    return f"tahoe:site?node=http://127.0.0.1:{port}&directory={directory}"
