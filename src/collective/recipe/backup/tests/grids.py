"""A grid of Tahoe-LAFS on this machine, for tests: installed once, started once for a run.

Its releases want others of libraries that ours use, so it has an environment of its own beside
that of the tests, which stays there.
"""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import time
import urllib.request
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from collective.recipe.backup.stores.tahoe.gridnames import child_of, shelf_of
from collective.recipe.backup.tests import servers
from collective.recipe.backup.tests.servers import Started

RELEASE = "tahoe-lafs==1.20.0"
HOME = Path(sys.prefix) / "tahoe"
"""The environment that has tahoe-lafs."""

PROGRAMS = HOME / "bin"
_PYTHON = PROGRAMS / "python"


def installed() -> bool:
    """Install tahoe-lafs if it is missing; tell whether it is there."""
    HOME.mkdir(exist_ok=True)
    stamp = HOME / RELEASE
    with (HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists():
            venv.create(HOME, with_pip=True)
            pip = [_PYTHON, "-m", "pip", "--disable-pip-version-check", "install", "-qq", RELEASE]
            if subprocess.run(pip, stderr=subprocess.DEVNULL, check=False).returncode:
                return False
            stamp.touch()
    return True


def start_grid(directory: Path) -> Started:
    """Start a grid, of what is installed; its port is that of the web API of its client."""
    ports = servers.free_ports(5)
    arguments = [_PYTHON, Path(__file__).parent / "gridnodes.py", directory, *map(str, ports)]
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


def shares_of_object(grid: Started, capability: str, name: str) -> list[Path]:
    """Return the files on the servers of a grid that have the shares of an object.

    *capability* is that of the directory of the repository, and the only writer is the node.
    """
    [writer] = children(grid.port, capability)
    steps = [writer, *filter(None, (shelf_of(name),)), child_of(name)]
    found = json.loads(_asked(grid.port, (capability, *steps), "t=check&output=JSON"))
    return _shares(grid, found["storage-index"])


def all_shares(grid: Started, capability: str) -> list[list[Path]]:
    """Return the files with the shares of each object below a directory, and of itself."""
    lines = map(json.loads, _asked(grid.port, [capability], "t=stream-manifest").splitlines())
    indexes = {line["storage-index"] for line in lines if line.get("storage-index")}
    return [_shares(grid, index) for index in sorted(indexes)]


def children(port: int, *steps: str) -> dict[str, Any]:
    """Return the children of a directory by name, as the node at *port* describes them."""
    with urllib.request.urlopen(_address(port, steps, "t=json"), timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)[1]["children"]
        return found


def _shares(grid: Started, index: str) -> list[Path]:
    return sorted(Path(grid.directory).glob(f"storage?/storage/shares/{index[:2]}/{index}/*"))


def _asked(port: int, steps: Sequence[str], query: str) -> bytes:
    """Return what is answered to a POST."""
    with urllib.request.urlopen(_address(port, steps, query), data=b"", timeout=60) as answer:
        found: bytes = answer.read()
        return found


def _address(port: int, steps: Sequence[str], query: str) -> str:
    path = "/".join(quote(each, safe="") for each in steps)
    return f"http://127.0.0.1:{port}/uri/{path}?{query}"


def copied(port: int, steps: Sequence[str], target: Path) -> None:
    """Copy a directory of a grid to *target*, as ``tahoe cp -r`` does."""
    target.mkdir()
    for name, (kind, _about) in children(port, *steps).items():
        if kind == "dirnode":
            copied(port, (*steps, name), target / name)
        else:
            with urllib.request.urlopen(_address(port, (*steps, name), ""), timeout=60) as answer:
                (target / name).write_bytes(answer.read())


def lose_a_share_of(alias: str) -> None:
    """Remove a share of an object below an alias of the node whose directory is ``~/.tahoe``."""
    node = (Path.home() / ".tahoe").resolve()
    aliases = dict(
        line.split(": ", 1) for line in (node / "private" / "aliases").read_text().splitlines()
    )
    port = int((node / "node.url").read_text().strip().rstrip("/").rpartition(":")[2])
    grid = Started(0, port, [], str(node.parent))
    [writer] = children(port, aliases[alias])
    name = next(each for each in children(port, aliases[alias], writer) if each.startswith("m_p"))
    shares_of_object(grid, aliases[alias], name.replace("_", "/"))[0].unlink()
