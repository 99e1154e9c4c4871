"""The kinds of chunks that the restore points of sites consist of, as numbers.

A number that was given is never given again: it is in every repository.  Nodes have 128 and
more, see ``repository.chunks``.
"""

from __future__ import annotations

SEGMENT = 1
"""Bytes of a log; see docs/design/selection.rst."""

RECORD_INDEX = 2
"""The record index of a segment, or a piece of it; see docs/design/selection.rst."""

LOG = 128
"""The root of the state of a log; see docs/design/selection.rst."""

SPANS = 129
"""A page of the spans of a log; see docs/design/selection.rst."""

BLOB = 3
"""The bytes of a blob, or a piece of them; see blobpages."""

BLOB_LIST = 130
"""The list of the pages of blobs of a restore point; see blobpages."""

BLOB_PAGE = 131
"""A page of blobs; see blobpages."""

BLOB_PIECES = 132
"""A list of the pieces of a large blob; see blobpages."""

FILE = 4
"""A piece of a file of a tree; see treepages."""

FILE_PIECES = 133
"""A list of the pieces of a large file; see treepages."""

TREE_PAGE = 134
"""A page of the entries of a directory; see treepages."""

TREE = 135
"""The root of the further files of a restore point; see treepages."""

FOREIGN_LIST = 136
"""The list of the foreign files in a blobstorage; see foreignpages."""

FOREIGN_PAGE = 137
"""A page of foreign files; see foreignpages."""
