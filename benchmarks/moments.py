"""How quickly a moment is opened and read, against the Data.fs of a restore.

``python -m benchmarks.moments --scratch DIRECTORY [--size MEGABYTES] [--blobs NUMBER]`` makes
a site, backs it up plainly, with gzip and into a repository, restores it, and measures each in a
process of its own: the first object, all objects twice in the order of their oids, and memory.
Seconds of processor time are in parentheses.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.measuring import compile_ours
from benchmarks.states import States

WAYS = ("restored", "plain", "gzip", "repository")
GOALS = {"plain": "0.5 s", "gzip": "5 s", "repository": "2 s", "restored": ""}
_COMMAND = Path(sys.executable).with_name("sitebackup")


def main() -> None:
    """Make what is not there yet, and print what each way took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.moments")
    parser.add_argument("--scratch", type=Path, required=True, metavar="DIRECTORY")
    parser.add_argument("--size", type=int, default=1100, help="MB of Data.fs (%(default)s)")
    parser.add_argument("--blobs", type=int, default=40_000, help="(%(default)s)")
    parser.add_argument("--read", choices=WAYS, help=argparse.SUPPRESS)
    namespace = parser.parse_args()
    scratch = namespace.scratch.resolve()
    if namespace.read:
        print(json.dumps(read(scratch, namespace.read)))
        return
    scratch.mkdir(parents=True, exist_ok=True)
    compile_ours()
    if not (scratch / "site").exists():
        # in a process of its own: what a child takes of memory is at least what its parent had
        site = [scratch / "site", str(namespace.size), str(namespace.blobs)]
        subprocess.run([sys.executable, "-m", "benchmarks.site", *site], check=True)
    for way in WAYS[1:]:
        if not (scratch / way).exists():
            prepare(scratch, way)
    print(f"{'':12}{'first':>16}{'goal':>7}{'all':>18}{'again':>18}{'memory':>9}")
    for way in WAYS:
        command = [sys.executable, "-m", "benchmarks.moments", "--read", way]
        done = subprocess.run(
            [*command, "--scratch", scratch], check=True, stdout=subprocess.PIPE, text=True
        )
        first, every, again, memory = json.loads(done.stdout)
        told = f"{way:12}{_shown(first)}{GOALS[way]:>7}{_shown(every):>18}{_shown(again):>18}"
        print(f"{told} {memory:5.0f} MB", flush=True)


def _shown(taken: list[float]) -> str:
    seconds, cpu = taken
    return f"{seconds:6.2f} ({cpu:.2f}) s"


def prepare(scratch: Path, way: str) -> None:
    """Back the site up in one *way*; the plain one is restored as well."""
    states = States(scratch / "site")
    directory = scratch / way
    directory.mkdir()
    settings: dict[str, Any] = {
        "datafs": str(states.filestorage),
        "blob_storage": str(states.blobstorage),
        "locationprefix": str(directory),
        "gzip": way != "plain",
    }
    if way == "repository":
        (directory / "passphrase").write_text("of a benchmark\n")
        (directory / "passphrase").chmod(0o600)
        settings |= {
            "location": "none",
            "repository": str(directory / "repository"),
            "repository_passphrase_file": str(directory / "passphrase"),
        }
    lines = [f"{name} = {json.dumps(value)}\n" for name, value in settings.items()]
    (directory / "sitebackup.toml").write_text("".join(lines))
    configured = ["--quiet", "--config", directory / "sitebackup.toml"]
    if way == "repository":
        subprocess.run([_COMMAND, "repository", "init", *configured], check=True)
    subprocess.run([_COMMAND, "backup", *configured], check=True)
    if way == "plain":
        target = ["--no-prompt", "--to", scratch / "restored"]
        subprocess.run([_COMMAND, "restore", *target, *configured], check=True)


Took = tuple[float, float]
"""Seconds by the clock, and of processor time."""


def read(scratch: Path, way: str) -> tuple[Took, Took, Took, float]:
    """Return what the first object took, all, and all again; megabytes of memory."""
    watch = _Watch()
    storage = opened(scratch, way)
    storage.load(bytes(8))
    first = watch.lap()
    oids = []
    following: bytes | None = None
    while True:
        oid, _tid, _data, following = storage.record_iternext(following)
        oids.append(oid)
        if following is None:
            break
    every = watch.lap()
    for oid in oids:
        storage.load(oid)
    again = watch.lap()
    storage.close()
    return first, every, again, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


class _Watch:
    def __init__(self) -> None:
        self._begin = time.perf_counter(), time.process_time()

    def lap(self) -> Took:
        """Return what the time since the last lap was."""
        before, self._begin = self._begin, (time.perf_counter(), time.process_time())
        return self._begin[0] - before[0], self._begin[1] - before[1]


def opened(scratch: Path, way: str) -> Any:
    """Return the storage, from a cold start: ZODB is imported here."""
    import ZODB.config

    if way == "restored":
        text = f"<filestorage>\npath {scratch}/restored/Data.fs\nread-only true\n</filestorage>"
    else:
        keys = f"config {scratch}/{way}/sitebackup.toml\ncache-dir {scratch}/cache"
        text = f"%import collective.recipe.backup\n<restorepoint>\n{keys}\n</restorepoint>"
    return ZODB.config.storageFromString(f"{text}\n")


if __name__ == "__main__":
    main()
