"""Run the narratives and the pages of the documentation: every example in them is a test.

Each document is a story in a fresh buildout.  These parts of it are run, in their order:

* ``.. code-block:: ini`` with a ``:caption:`` is a file of that name (in the README a
  ``:name:``, as captions are only known to Sphinx);
* ``.. code-block:: console`` holds commands after ``$``, each followed by what it prints,
  and by ``(exit code N)`` if that is not 0; what stands after the prompt is typed in;
* ``>>>`` is Python, with the names of ``zc.buildout.testing`` (``write``, ``cat``, ``ls``,
  ``system``, ``buildout``, ``sample_buildout``) and those of NAMES below.  What a reader
  need not see of it stands in a comment of the page (``..`` and an indented block).

Stamps, transaction ids, sizes, durations and the path of the buildout may be any; ``...``
stands for anything.  ``.. needs: rsync`` says that a document needs a program.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from functools import partial
from itertools import takewhile
from pathlib import Path

import pytest
import zc.buildout.testing
from zope.testing.renormalizing import RENormalizing

from collective.recipe.backup.tests import grids
from collective.recipe.backup.tests.samples import Site, contents_of

HERE = Path(__file__).parent
PROJECT = HERE.parents[4]
DOCUMENTS = sorted(
    [
        *(HERE / "narrative").glob("*.rst"),
        *(PROJECT / "docs").rglob("*.rst"),
        PROJECT / "README.rst",
    ]
)

BUILDOUT = "/srv/site"
"""How documents call the directory of the buildout."""

PROMPT = "[no]: "
"""What stands before an answer: it is typed in, as the document shows it."""

CHECKER = RENormalizing(
    [
        (re.compile(r"[^\s\"':(]*/_TEST_/sample-buildout"), BUILDOUT),
        (re.compile(r"\b\d{4}-\d\d-\d\d([-T ])\d\d([-:])\d\d\2\d\d\b"), r"YYYY-MM-DD\1HH\2MM\2SS"),
        (re.compile(r"\b0[0-9a-f]{15}\b"), "0123456789abcdef"),
        (re.compile(r"\b[\d.,]+ ?([kKMGT]?i?B|bytes)\b"), r"N \1"),
        (re.compile(r"\b\d+(\.\d+)? ?(m?s|min)\b"), "T s"),
    ]
)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.REPORT_NDIFF | doctest.FAIL_FAST


class Parser(doctest.DocTestParser):
    """Finds files and commands as well as Python."""

    def get_examples(self, string: str, name: str = "<string>") -> list[doctest.Example]:
        examples = [*super().get_examples(string, name), *files_and_commands(string)]
        return sorted(examples, key=lambda example: example.lineno)


def files_and_commands(text: str) -> Iterator[doctest.Example]:
    """Yield an example for each file and each command that *text* shows."""
    for language, caption, start, body in code_blocks(text):
        if language == "console":
            yield from commands(body, start)
        elif caption:
            yield doctest.Example(f"save({caption!r}, {body!r})\n", "", lineno=start)


def code_blocks(text: str) -> Iterator[tuple[str, str, int, str]]:
    """Yield language, caption, line number and text of each code block."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        directive = re.fullmatch(r"( *)\.\. code-block:: *(\w+)", line)
        if not directive:
            continue
        deeper = directive[1] + " "
        inside = partial(re.match, rf"{deeper}|\s*$")
        block = [each.rstrip() for each in takewhile(inside, lines[number + 1 :])]
        header = block.index("") if "" in block else len(block)
        options = block[:header]
        captions = [re.fullmatch(r" +:(?:caption|name): *(.+)", option) for option in options]
        caption = next((found[1] for found in captions if found), "")
        body = textwrap.dedent("\n".join(block[header + 1 :])).rstrip() + "\n"
        yield directive[2], caption, number + header + 2, body


def commands(body: str, start: int) -> Iterator[doctest.Example]:
    """Yield an example for each command of a console block."""
    pieces = re.split(r"^\$ (.*)\n", body, flags=re.MULTILINE)
    lineno = start + pieces[0].count("\n")
    for command, output in zip(pieces[1::2], pieces[2::2], strict=True):
        answers = re.findall(rf"{re.escape(PROMPT)}(.+)$", output, re.MULTILINE)
        source = f"run({command!r}, *{answers!r})\n"
        yield doctest.Example(source, output.rstrip("\n"), lineno=lineno)
        lineno += 1 + output.count("\n")


def run(command: str, *answers: str) -> None:
    """Run a shell command and print what it prints, in the order in which it does.

    The answers are shown where a terminal would show them.
    """
    done = subprocess.run(
        command,
        shell=True,
        input="".join(f"{answer}\n" for answer in answers),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={
            # what is meant for the tests is nothing that a reader has
            **{name: os.environ[name] for name in os.environ if name != "BACKUP_TESTS_MUST_RUN"},
            "PATH": os.pathsep.join(
                [str(Path(sys.executable).parent), os.environ["PATH"], str(grids.PROGRAMS)]
            ),
            "PYTHONUNBUFFERED": "1",
            # zc.buildout 4 and 5 cannot do without it
            "PYTHONWARNINGS": "ignore:pkg_resources is deprecated",
            "TERM": "dumb",
        },
        check=False,
    )
    shown = done.stdout
    for answer in answers:
        shown = re.sub(rf"{re.escape(PROMPT)}(?!yes|no)", f"{PROMPT}{answer}\n", shown, count=1)
    if shown:
        print(shown.rstrip("\n"))
    if done.returncode:
        print(f"(exit code {done.returncode})")


def save(path: str, text: str) -> None:
    """Write a file."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8")


NAMES = {
    "Path": Path,
    "Site": Site,
    "contents_of": contents_of,
    "datetime": datetime,
    "run": run,
    "save": save,
    "timedelta": timedelta,
    "utc": timezone.utc,
}


@contextmanager
def fresh_buildout(test: doctest.DocTest) -> Iterator[None]:
    """Give *test* a directory with a bootstrapped buildout that needs no network."""
    test.globs.update(NAMES)
    zc.buildout.testing.buildoutSetUp(test)
    try:
        for project in ("collective.recipe.backup", "zc.recipe.egg"):
            zc.buildout.testing.install_develop(project, test)
        yield
    finally:
        zc.buildout.testing.buildoutTearDown(test)


def parsed(text: str, name: str, path: str) -> doctest.DocTest:
    return Parser().get_doctest(text, {"__name__": "__main__"}, name, path, 0)


def failure(test: doctest.DocTest) -> str:
    """Run *test*; return what was different, "" if nothing was."""
    with fresh_buildout(test):
        report: list[str] = []
        runner = doctest.DocTestRunner(checker=CHECKER, optionflags=FLAGS, verbose=False)
        runner.run(test, out=report.append, clear_globs=False)
        return "".join(report) if runner.failures else ""


def stories() -> Iterator[pytest.param]:
    """Yield the documents that have something to run."""
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        name = str(path.relative_to(PROJECT)) if "docs" in path.parts else path.name
        if Parser().get_examples(text):
            needs = re.findall(r"^\.\. needs: *(\w+)$", text, re.MULTILINE)
            yield pytest.param(path, id=name, marks=[pytest.mark.needs(each) for each in needs])


@pytest.mark.parametrize("path", list(stories()))
def test_narrative(path, request):
    test = parsed(path.read_text(encoding="utf-8"), path.stem, str(path))
    if "\n.. needs: tahoe\n" in test.docstring:
        grid = request.getfixturevalue("grid")
        test.globs["node"] = Path(grid.directory) / "client"
    different = failure(test)
    if different:
        pytest.fail(different, pytrace=False)


SELF = """
A file and a command:

.. code-block:: ini
   :caption: sub/file.cfg

   [one]

   two = three

.. code-block:: console

    $ cat sub/file.cfg
    [one]

    two = three
    $ pwd; echo err >&2; echo 2020-02-02-02-02-02 1 kB in 7.3 s; false
    /srv/site
    err
    2026-03-01-12-30-05 27 kB in 0.1 s
    (exit code 1)
    $ printf 'Really? [no]: ' && read answer && echo "Answered $answer"
    Really? [no]: yes
    Answered yes

* An item:

  .. code-block:: console

     $ cat sub/file.cfg | head -n 1
     [one]

.. A comment:

    >>> len(Site(Path(sample_buildout)).tids())
    2
"""


def test_files_commands_and_hidden_python_are_run():
    test = parsed(SELF, "self", "self.rst")
    assert len(test.examples) == 6
    assert failure(test) == ""


@pytest.mark.parametrize(
    "change",
    [("two = three", "two = four"), ("(exit code 1)", ""), ("err\n", ""), ("    2\n", "    3\n")],
    ids=["file", "exit code", "output", "python"],
)
def test_what_a_document_says_must_be_so(change):
    head, tail = SELF[: len(SELF) // 2], SELF[len(SELF) // 2 :]
    wrong = (
        head + tail.replace(*change, 1) if change[0] in tail else head.replace(*change, 1) + tail
    )
    assert wrong != SELF
    assert failure(parsed(wrong, "self", "self.rst"))
