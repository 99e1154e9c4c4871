"""The names of the files beside a filestorage, as ZODB makes them."""

from __future__ import annotations

from pathlib import Path


def index_of(filestorage: Path) -> Path:
    """Return the path of the index of *filestorage*."""
    return filestorage.with_name(f"{filestorage.name}.index")
