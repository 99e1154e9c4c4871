"""How quickly a moment is opened and read, against the Data.fs of a restore.

``python -m benchmarks.moments --scratch DIRECTORY [--size MEGABYTES] [--blobs NUMBER]`` makes
a site, backs it up plainly, with gzip and into a repository, restores it, and measures each in a
process of its own: the first object, all objects twice in the order of their oids, and memory.
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

from benchmarks.site import main as build
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
    if not (scratch / "site").exists():
        build(str(scratch / "site"), str(namespace.size), str(namespace.blobs))
    for way in WAYS[1:]:
        if not (scratch / way).exists():
            prepare(scratch, way)
    print(f"{'':12} {'first':>8} {'goal':>6} {'all':>8} {'again':>8} {'memory':>8}")
    for way in WAYS:
        command = [sys.executable, "-m", "benchmarks.moments", "--read", way]
        done = subprocess.run(
            [*command, "--scratch", scratch], check=True, stdout=subprocess.PIPE, text=True
        )
        first, every, again, memory = json.loads(done.stdout)
        figures = f"{first:6.2f} s {GOALS[way]:>6} {every:6.2f} s {again:6.2f} s {memory:5.0f} MB"
        print(f"{way:12} {figures}", flush=True)


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


def read(scratch: Path, way: str) -> tuple[float, float, float, float]:
    """Return the seconds to the first object, of all, and of all again; megabytes of memory."""
    begin = time.perf_counter()
    storage = opened(scratch, way)
    storage.load(bytes(8))
    first = time.perf_counter() - begin
    oids = []
    following: bytes | None = None
    while True:
        oid, _tid, _data, following = storage.record_iternext(following)
        oids.append(oid)
        if following is None:
            break
    every = time.perf_counter() - begin - first
    begin = time.perf_counter()
    for oid in oids:
        storage.load(oid)
    again = time.perf_counter() - begin
    storage.close()
    return first, every, again, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


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
