"""The reference of the options, docs/reference/options.rst, as the table tells it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from collective.recipe.backup.options import Options, declarations
from collective.recipe.backup.options.declaring import Declaration, Group

_HEAD = """\
=======
Options
=======

.. This page is made from the table of options, and a test compares it with the table.
   ``render`` in collective.recipe.backup.options.optionspage makes it.

These are the options of a buildout part whose recipe is ``collective.recipe.backup``.
None of them is needed: without any, the part backs up the site that the other parts of the
buildout make.

**Switches** are ``true``, ``yes``, ``on`` or ``1``, and ``false``, ``no``, ``off`` or ``0``, in
upper or lower case.
In **paths** a leading ``~`` and ``$NAME`` are expanded, when buildout runs; an empty path is the
same as none.
A **Zope part** is a part listed in ``parts`` of the ``[buildout]`` section whose recipe is
``plone.recipe.zeoserver``, ``plone.recipe.zope2instance`` or ``plone.recipe.zope2zeoserver``.
``P`` is the name of a part that is not called ``backup``.

Buildout reports all that is wrong with the options at once and ends, with exit code 1, which it
has for every error; nothing was written then.
A name that is no option but close to one is taken for a mistake; any other name is a variable
of your own, and only mentioned.
"""


def render() -> str:
    """Return the page."""
    return "\n".join([_HEAD, *(line for group in Group for line in _chapter(group))])


def _chapter(group: Group) -> Iterator[str]:
    yield from [group.value, "=" * len(group.value), ""]
    for name, declared in declarations().items():
        if declared.group is group:
            yield from _entry(name, declared)


def _entry(name: str, declared: Declaration) -> Iterator[str]:
    yield f"``{name}``"
    yield f"    {declared.kind.says}"
    yield f"    Default: {declared.unset or _default(name, declared)}."
    yield ""
    yield from (f"    {line}" for line in _sentences(declared.doc))
    for alias in declared.aliases:
        yield ""
        if alias.deprecated:
            yield f"    ``{alias.name}`` is an old name for it, which works and warns."
        else:
            yield f"    ``{alias.name}`` is the same."
    yield ""


def _default(name: str, declared: Declaration) -> str:
    values: dict[str, Any] = {option.name: option.default for option in fields(Options)}
    shown = declared.kind.show(values[name])
    return f"``{shown}``" if shown else "empty"


def _sentences(text: str) -> list[str]:
    """Return *text* with each sentence on a line of its own."""
    return text.replace(".  ", ".\n").splitlines()
