"""Small trees of files with a text in each."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def fill(root: Path, content: Mapping[str, str]) -> None:
    """Write *content*, texts by their paths; each file has a time of its own."""
    for number, (name, text) in enumerate(sorted(content.items())):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, ns=(10**18 + len(text) * 10**9 + number,) * 2)


def texts(root: Path) -> dict[str, str]:
    """Return the texts of all files below *root* by their paths; no link is followed."""
    return {
        str(path.relative_to(root)): path.read_text()
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink()
    }
