"""The page of sitebackup, docs/reference/sitebackup.rst, as the code tells it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from collective.recipe.backup.sitebackup import storechecking
from collective.recipe.backup.sitebackup.collective import MEANINGLESS
from collective.recipe.backup.sitebackup.commands import DESTINATIONS, FREQUENT, commands
from collective.recipe.backup.sitebackup.completing import COMPLETION, SHELLS, SUMMARY
from collective.recipe.backup.sitebackup.finding import BLOBSTORAGES, CONFIGURATIONS, DATA_FS, VARS
from collective.recipe.backup.sitebackup.settings import OF_THE_SITE

_HEAD = """\
==========
sitebackup
==========

.. This page is made from the code of the command, and a test compares it with that.
   ``render`` in collective.recipe.backup.sitebackup.sitebackuppage makes it.

The command for sites without a buildout.
:doc:`../howto/without-buildout` shows how it is used.

Commands
--------
"""
_ARGUMENTS = """\
What a script of a buildout takes, the command takes as well: :doc:`commands` has it under
``backup`` for ``sitebackup backup``, and under ``backup-list`` for ``sitebackup list`` and so on.
These are more:
"""
_SOURCES = """\
Where options come from
-----------------------

What comes later wins, option by option:

1. ``[tool.collective-backup]`` in ``pyproject.toml``;
2. ``sitebackup.toml``, or the file that ``--config`` or ``SITEBACKUP_CONFIG`` names;
3. ``[tool.sitebackup]`` in ``pyproject.toml``;
4. ``COLLECTIVE_BACKUP_NAME`` variables, first those in ``.env``;
5. ``SITEBACKUP_NAME`` variables;
6. the command line: ``--set NAME=VALUE`` and the flags above, in their order.

The files lie in the working directory, or in that of the file that is named.
If that file is a ``pyproject.toml``, ``sitebackup.toml`` is not read.
The names are those of :doc:`options`, in capitals for variables.
A name that is none is an error, which says what is nearest to it.
In TOML a value may be a text, a number, ``true`` or ``false``; options of several lines or
arguments may be a list.
Relative paths start at ``base_dir``, wherever they are set.
But those of the six directories of backups, from ``location`` to ``blobziplocation``, start at
``locationprefix``, on the command line as well: ``--location /srv/site/b`` or ``--location b``, and
not ``--location var/b``.

Besides the options there are:
"""
_SITE = """\
Where the site is
-----------------

The first of these that there is:

1. the files that ``zope_conf`` and ``zeo_conf`` name;
2. ``datafs`` or ``var_dir``, if it is set;
"""
_FOUND = """\
If two of one kind are there and do not say the same, that is an error, and so is nothing at all;
both list where was looked.
So is a configuration which says that the data of the main database is not in a filestorage
(RelStorage, a ZEO server, a demo storage), whatever lies in ``var``: that may be what the site was
before it moved.
A client and a ``zeo.conf`` go together if the client names this machine and the port of that
server.
What is set by ``datafs``, ``var_dir``, ``zope_conf`` or ``zeo_conf`` is taken as it is.

From ``zope.conf`` and ``zeo.conf`` come the filestorages and their blobs, all of them; the one that
is mounted at ``/``, or is called ``main`` or ``1``, is the main one.
``%define``, ``%include`` and ``$name`` are understood.
A relative path in them starts at ``instancehome``, else at ``base_dir``.

What is ``var`` in a buildout is the directory above ``filestorage``, or the one that holds the
filestorage.
Backups lie in it, unless ``locationprefix`` says where; for ``/data`` they lie in ``/backups`` if
there is such a directory.
The lock that keeps two runs apart lies beside them, in ``.sitebackup-NAME``.

collective-backup
-----------------

What a site has set for that tool is understood as it stands, with these differences:
"""


def render() -> str:
    """Return the page."""
    rows = {name: verb.summary for name, verb in commands().items()}
    rows[f"{storechecking.CHECK_STORE} URL"] = f"{storechecking.SUMMARY}; it needs no site"
    rows[f"{COMPLETION} {'|'.join(SHELLS)}"] = SUMMARY
    lines = [
        *(_HEAD, *_entries(rows), _ARGUMENTS),
        *_entries(_flags()),
        *(_SOURCES, *_entries(OF_THE_SITE)),
        *(_SITE.rstrip(), *_places(), "", _FOUND),
        "* a switch is true or false in one of the words of :doc:`options`: that tool takes any\n"
        "  word that it does not know for false;",
        "* defaults are ours: no program is needed to copy;",
        *(f"* ``{name}`` means nothing: {why};" for name, why in MEANINGLESS.items()),
        "* a name that is no option is an error.",
    ]
    return "\n".join(lines).rstrip() + "\n"


def _flags() -> dict[str, str]:
    """Return options that a script does not have, with their meaning."""
    found = {"--config FILE": "the configuration"}
    for flag, (option, metavar, words) in FREQUENT.items():
        found[f"{flag} {metavar}"] = f"{words}; the option ``{option}``"
    found["--set NAME=VALUE"] = "any option, as often as you like"
    for command, flags in DESTINATIONS.items():
        for flag, (_destination, words) in flags.items():
            found[f"{command} {flag}"] = words
    return found


def _entries(entries: dict[str, str]) -> Iterator[str]:
    for name, words in entries.items():
        yield f"``{name}``\n   {words[:1].upper()}{words[1:]}.\n"


def _places() -> Iterator[str]:
    blobs = " or ".join(f"``{name}``" for name in BLOBSTORAGES)
    yield f"3. {_listed(CONFIGURATIONS)};"
    yield f"4. {_listed(VARS)} with ``{DATA_FS}``, and blobs in {blobs} beside that;"
    yield "5. ``/data`` with the same, as in the official images of Plone."


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"``{name}``" for name in names)
