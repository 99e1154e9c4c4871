"""The marker of the layout: what ZODB makes of it is asked of ZODB itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ZODB.blob import FilesystemHelper

from collective.recipe.backup.blobs.layout import MARKER, Layout
from collective.recipe.backup.blobs.marker import (
    flaw_of,
    laid_out,
    marked,
    missing_marker,
    place_of,
    settle,
)
from collective.recipe.backup.tests.blobtrees import blob_id, content, put
from collective.recipe.backup.tests.faults.harness import Hasty

A, B = blob_id(0x0102, 1), blob_id(7, 2)

MARKERS = {
    "bushy": b"bushy",
    "lawn": b"lawn\n",
    "none": None,
    "empty": b"",
    "zeros": bytes(5),
    "unknown": b"meadow",
    "no text": b"\xff\xfe",
}
TREES = {
    "nothing": (),
    "bushy": ((A, Layout.BUSHY), (B, Layout.BUSHY)),
    "lawn": ((A, Layout.LAWN), (B, Layout.LAWN)),
}


def make(root: Path, tree: str, marker: bytes | None) -> Path:
    root.mkdir()
    for blob, layout in TREES[tree]:
        put(root, blob, layout=layout)
    (root / MARKER).unlink(missing_ok=True)
    if marker is not None:
        (root / MARKER).write_bytes(marker)
    return root


def found_by_zodb(root: Path) -> set[str] | None:
    """Return the blobs that ZODB finds, None if it does not open the blobstorage."""
    try:
        helper = FilesystemHelper(str(root))
        helper.create()
    except (KeyError, ValueError):
        return None
    paths = (Path(helper.getBlobFilename(blob.oid, blob.tid)) for blob in (A, B))
    return {path.read_text() for path in paths if path.exists()}


each_marker = pytest.mark.parametrize("marker", MARKERS.values(), ids=MARKERS)
each_tree = pytest.mark.parametrize("tree", TREES)


@each_tree
@each_marker
@pytest.mark.parametrize("besides", ["", "tmp", ".hidden", "lost+found"])
def test_a_flaw_is_what_keeps_zodb_from_the_blobs(tmp_path, tree, marker, besides):
    root = make(tmp_path / "blobs", tree, marker)
    if besides:
        (root / besides).mkdir()
    flaw = flaw_of(root)
    found = found_by_zodb(root)
    assert (flaw is None) == (found == {str(blob) for blob, _layout in TREES[tree]})
    if flaw is not None:
        assert flaw.where == str(root / MARKER)
        assert "write the word" in flaw.hint


@each_tree
@each_marker
def test_once_it_is_settled_zodb_finds_all_blobs(tmp_path, tree, marker):
    root = make(tmp_path / "blobs", tree, marker)
    settle(root, Hasty())
    if TREES[tree]:
        assert flaw_of(root) is None
        assert found_by_zodb(root) == {str(blob) for blob, _layout in TREES[tree]}
        assert marked(root) is laid_out(root)


def test_a_link_in_the_place_of_the_marker_is_replaced_and_not_written_through(tmp_path):
    root = make(tmp_path / "blobs", "bushy", None)
    (tmp_path / "elsewhere").write_text("lawn")
    (root / MARKER).symlink_to(tmp_path / "elsewhere")
    settle(root, Hasty())
    assert not (root / MARKER).is_symlink()
    assert marked(root) is Layout.BUSHY
    assert (tmp_path / "elsewhere").read_text() == "lawn"


def test_a_tree_with_both_layouts_keeps_what_its_marker_says(tmp_path):
    root = make(tmp_path / "blobs", "bushy", b"lawn")
    put(root, blob_id(0xFFFF, 3), layout=Layout.LAWN)
    before = content(root)
    settle(root, Hasty())
    assert content(root) == before
    assert "does not find the blobs that are laid out as bushy" in flaw_of(root).what


@pytest.mark.parametrize("layout", Layout)
def test_a_blob_in_the_place_of_the_other_layout_is_found(tmp_path, layout):
    [other] = set(Layout) - {layout}
    put(tmp_path, A, layout=other)
    put(tmp_path, B, layout=other)
    put(tmp_path, B, layout=layout)
    assert place_of(tmp_path, layout, A) == other.path(A)
    assert place_of(tmp_path, layout, B) == layout.path(B)
    assert place_of(tmp_path, layout, blob_id(9, 9)) == layout.path(blob_id(9, 9))


def test_a_marker_is_missing_only_where_there_are_blobs(tmp_path):
    assert missing_marker(make(tmp_path / "none", "nothing", None)) is None
    assert missing_marker(make(tmp_path / "bushy", "bushy", b"")) is Layout.BUSHY
    assert missing_marker(make(tmp_path / "lawn", "lawn", b"bushy")) is None


def test_a_pipe_in_the_place_of_the_marker_is_not_waited_for(tmp_path):
    root = make(tmp_path / "blobs", "bushy", None)
    os.mkfifo(root / MARKER)
    assert "does not open the blobstorage" in flaw_of(root).what
    settle(root, Hasty())
    assert marked(root) is Layout.BUSHY
