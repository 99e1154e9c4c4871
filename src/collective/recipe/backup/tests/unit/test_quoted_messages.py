"""The messages that the docs explain are messages that the code has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from collective.recipe.backup.tests.unit.test_rules import PACKAGE

DOCS = PACKAGE.parents[3] / "docs"
QUOTED = re.compile(r'^"(.+)"\n +\S', re.MULTILINE)
"""A message in quotes, on a line of its own above its explanation."""


def quoted() -> list[str]:
    """Return the messages that any page explains; ``...`` in them is what differs."""
    pages = sorted(DOCS.rglob("*.rst"))
    return [text for page in pages for text in QUOTED.findall(page.read_text(encoding="utf-8"))]


def strings() -> Iterator[str]:
    """Yield each string that the code has, with ``...`` for what an f-string puts in."""
    for path in PACKAGE.rglob("*.py"):
        if "tests" not in path.relative_to(PACKAGE).parts:
            yield from strings_of(path)


def strings_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "..." for part in node.values
            )


def is_said(message: str, texts: list[str]) -> bool:
    return any(message.removesuffix("...") in text for text in texts)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return list(strings())


@pytest.mark.parametrize("message", quoted())
def test_a_message_that_a_page_explains_is_one_that_the_code_has(message, texts):
    assert is_said(message, texts)


def test_a_message_that_the_code_does_not_have_is_found(texts):
    assert quoted()
    assert not is_said("no restore point serves ...", texts)
    assert is_said("no restore point has the state at ...", texts)
