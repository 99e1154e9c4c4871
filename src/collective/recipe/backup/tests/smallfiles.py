"""Small files of ours, written anew by a test: with a check that fits, as no damage leaves them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from collective.recipe.backup.jsonfile import Form


def rewrite(path: Path, form: Form, **changes: Any) -> None:
    """Let the small file at *path* say *changes* in place of what it says."""
    content = json.loads(path.read_bytes())
    path.write_bytes(form.encode({**content_of(content, form), **changes}))


def content_of(content: dict[str, Any], form: Form) -> dict[str, Any]:
    """Return *content* without the keys that *form* adds."""
    added = {"format", form.check and form.check.key}
    return {key: value for key, value in content.items() if key not in added}


def of_later_release(path: Path, form: Form) -> None:
    """Let a release that knows the next format have written the small file at *path*."""
    content = {**content_of(json.loads(path.read_bytes()), form), "format": (form.version or 0) + 1}
    if form.check is not None:
        content[form.check.key] = form.check.digest(
            json.dumps(content, sort_keys=True).encode("ascii")
        )
    path.write_text(json.dumps(content), encoding="ascii")
