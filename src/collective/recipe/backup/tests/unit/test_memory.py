"""How much memory the commands need does not depend on how many blobs a site has."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from collective.recipe.backup.config import STANDARD
from collective.recipe.backup.model import BlobId, Oid
from collective.recipe.backup.tests.blobtrees import put
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.scripts import environment

pytestmark = pytest.mark.slow

FEW, MANY = 1_000, 16_000
ROOM = 4_500_000
"""Bytes, 300 for each blob more; buffers of threads come and go with one or two million."""

# the kernel counts what a process had before it became another one; not so here
_PROCESS = """
import sys
from collective.recipe.backup.cli import main
code = main(*sys.argv[1:4], sys.argv[4:])
print(open("/proc/self/status").read())
sys.exit(code)
"""


def peak(operated: Operated, verb: str, *arguments: str) -> int:
    """Return how many bytes of memory a command needed at most."""
    done = subprocess.run(
        [sys.executable, "-c", _PROCESS, verb, STANDARD, operated.config_path, "-q", *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"^VmHWM:\s+(\d+) kB$", done.stdout, re.MULTILINE)
    assert found
    return int(found[1]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no Linux tells of it")
def test_memory_does_not_grow_with_the_number_of_blobs(site: Site) -> None:
    tid = site.commit({"a": 1}, {"b": b"blob"})
    operated = Operated(site)
    peaks: list[dict[str, int]] = []
    there = 0
    for number in (FEW, MANY):
        for oid in range(1000 + there, 1000 + number):
            put(site.blobstorage, BlobId(Oid(oid.to_bytes(8, "big")), tid))
        there = number
        peaks.append(
            {
                "backup": peak(operated, "backup", "--full"),
                "full": peak(operated, "backup", "--full"),
                "verify": peak(operated, "verify"),
                "restore over": peak(operated, "restore", "--no-prompt"),
                "restore": peak(
                    operated, "restore", "--no-prompt", "--to", f"{site.directory}/{number}"
                ),
            }
        )
    restored = site.directory / str(MANY) / site.blobstorage.name
    assert sum(1 for _blob in restored.rglob("*.blob")) == MANY + 1
    few, many = peaks
    assert {name: many[name] - few[name] > ROOM for name in few} == dict.fromkeys(few, False)
