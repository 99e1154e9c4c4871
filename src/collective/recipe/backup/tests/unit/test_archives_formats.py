"""Archives that are years old: see formats/gnu-tar-1.34/README and formats/archives-1/README."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from collective.recipe.backup.blobs.archives.archivecheck import verify_contents
from collective.recipe.backup.blobs.archives.archivenames import (
    chain_of,
    find_archives,
    find_chains,
)
from collective.recipe.backup.blobs.archives.archivestaging import stage
from collective.recipe.backup.blobs.layout import Layout
from collective.recipe.backup.files import Files
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.tests.archived import FIRST, SECOND, THIRD
from collective.recipe.backup.tests.blobtrees import blob_id, content
from collective.recipe.backup.times import LAST_TID

FORMATS = Path(__file__).parents[1] / "formats"
THEIRS, OURS = FORMATS / "gnu-tar-1.34", FORMATS / "archives-1"
LATIN = b"caf\xe9".decode("utf-8", "surrogateescape")
LONG = "/".join(["d" * 110] * 3 + ["f" * 120])


def blobs(*ids):
    return {Layout.BUSHY.path(blob): str(blob).encode("ascii") for blob in ids}


AT_FIRST = {
    ".layout": b"bushy",
    LONG: b"long\n",
    LATIN: b"latin-1\n",
    "notes/a": b"a\n",
    **blobs(blob_id(0, 1), blob_id(300, 2), blob_id(600, 3)),
}
THEN = {
    ".layout": b"bushy",
    LONG: b"long\n",
    LATIN: b"latin-1\n",
    "renamed/a": b"a\n",
    **blobs(blob_id(0, 1), blob_id(600, 3), blob_id(5, 11)),
}
AT_LAST = {
    ".layout": b"bushy",
    LATIN: b"changed\n",
    "renamed/a": b"a\n",
    **blobs(blob_id(0, 1), blob_id(600, 3), blob_id(5, 11), blob_id(0, 12)),
}
STATES = {
    "1": AT_FIRST,
    "0": AT_FIRST,
    FIRST: AT_FIRST,
    f"{SECOND}.delta": THEN,
    f"{THIRD}.delta": AT_LAST,
}


OUR_STATES = {
    FIRST: {**AT_FIRST, "notes/link": "a"},
    f"{SECOND}.delta": {
        **AT_FIRST,
        "notes/link": "a",
        **blobs(blob_id(5, 11), blob_id(0, 12)),
    },
}


def test_all_are_found_and_sound():
    found = find_archives(THEIRS, "blobstorage")
    assert [each.key for each in found] == list(STATES)
    assert [len(chain) for chain in find_chains(found)] == [1, 1, 3]
    assert list(verify_contents(found, progress=Silent())) == []
    found = find_archives(OURS, "blobstorage")
    assert [each.key for each in found] == list(OUR_STATES)
    assert list(verify_contents(found, progress=Silent())) == []


@pytest.mark.parametrize(
    ("directory", "key", "state"),
    [(THEIRS, *each) for each in STATES.items()] + [(OURS, *each) for each in OUR_STATES.items()],
)
def test_archives_of_each_format_are_restored(tmp_path, directory, key, state):
    found = find_archives(directory, "blobstorage")
    [newest] = [each for each in found if each.key == key]
    target = tmp_path / "restored"
    stage(
        chain_of(found, newest),
        target,
        live=None,
        until=LAST_TID,
        files=Files(),
        progress=Silent(),
    )
    assert content(target) == state
    assert stat.S_IMODE(target.stat().st_mode) == 0o700
    blob = target / Layout.BUSHY.path(blob_id(0, 1))
    assert stat.S_IMODE(blob.stat().st_mode) == 0o400
    assert stat.S_IMODE(blob.parent.stat().st_mode) == 0o700
    assert int(blob.stat().st_mtime) == 1_000_000_001
