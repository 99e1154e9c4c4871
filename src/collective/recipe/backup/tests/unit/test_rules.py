"""Rules of the house that no other tool can see: who may do what, by reading the code.

ruff knows functions of modules (``os.rename``); methods of a Path it cannot know.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from inspect import cleandoc
from itertools import pairwise
from pathlib import Path

import pytest

import collective.recipe.backup

PACKAGE = Path(collective.recipe.backup.__file__).parent
ROOMS = sorted(
    path for path in PACKAGE.rglob("*.py") if "tests" not in path.relative_to(PACKAGE).parts
)

# fmt: off
CHANGES = {
    "chmod", "copy_file_range", "copyfileobj", "fchmod", "fchown", "ftruncate", "hardlink_to",
    "lchmod", "lchown", "link", "link_to", "makedirs", "mkdir", "mkdtemp", "mkfifo", "mknod",
    "mkstemp", "posix_fallocate", "pwrite", "pwritev", "removedirs", "removexattr", "rename",
    "renames", "rmdir", "rmtree", "sendfile", "setxattr", "splice", "symlink", "symlink_to",
    "touch", "truncate", "unlink", "utime", "write_bytes", "write_text", "writev",
}
# fmt: on
"""Attributes that change a disk, of a Path, of ``os`` or of ``shutil``."""

OF_FILES = {"chmod", "link", "mkdir", "rename", "symlink", "touch", "unlink"}
"""Names that Files has as well: calls of those are what we want."""

WRITE_FLAGS = {"O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND", "O_EXCL"}

PLURAL = re.compile(
    r" (?:more |newer |whole )?"
    r"(?:backups|blobs|files|keys|objects|pieces|problems|ranges|restore points|sites|things|"
    r"transactions)\b"
)
"""What is said of a number."""

NO_NUMBER = re.compile(r"number_of\(|purpose$|_CONTEXT$")

MAY_CHANGE_A_DISK = {
    "files/": "the rooms that do",
    "held.py": "the calls that it does so by",
    "locking.py": "a lock is a file that its holder writes its name into, and no data of anybody",
    "stores/sftp/sftpstore.py": "it is the disk of another machine",
    "operations/zopescript.py": "what it holds is run by Zope, not here",
}
MAY_OPEN_ANYTHING = {
    "operations/doctor/writers.py": "the kernel writes /proc, and nobody else can",
    "mounts.py": "likewise",
    "process.py": "likewise",
    "locking.py": "likewise",
    "held.py": "it opens for others, and directories for itself",
    "operations/zopescript.py": "what it holds is run by Zope, not here",
}
MAY_IMPORT = {
    "operations/zopescript.py": (
        r"zope\.component|ZODB\.(_compat|utils)",
        "what it holds is run by Zope, not here",
    ),
    "recipe.py": (r"zc\.", "the door that buildout opens"),
    "operations/siteopening.py": (
        r"ZODB\.",
        "a rehearsal opens a site as Zope does, in a function",
    ),
    **{
        f"served/{name}.py": (r"(ZODB|persistent|zope\.interface)(\.|$)", "a storage of ZODB")
        for name in (
            "momenthistory",
            "momentiterator",
            "momentrecords",
            "momentstorage",
            "objectindex",
        )
    },
    "served/momentchanges.py": (r"(ZODB|zc\.lockfile)(\.|$)", "a DemoStorage"),
    "operations/momentserver.py": (r"ZEO\.", "the server, in a function"),
}
COMPILED = {
    "blobs/archives/archivereading.py": "a member of an archive is made for each blob",
    "blobs/copying.py": "a Transfer, of which others inherit",
    "blobs/rsync.py": "a Transfer",
    "blobs/snapshots.py": "a Transfer",
    "blobs/restoration.py": "a Transfer",
}
"""Rooms with frozen dataclasses of the standard library; only a run with work to do needs them."""
MAY_PRINT = {
    "cli/": "the door that the user opens",
    "repozo/command.py": "the door for those who type repozo",
}

NO_SUBJECT = re.compile(r"(^|_)(utils?|utilities|helpers?|common|misc|stuff)(_|$)")


def changes_of_a_disk(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in WRITE_FLAGS:
            yield node
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        if isinstance(function, ast.Attribute):
            of_files = function.attr in OF_FILES and is_files(function.value)
            if function.attr in CHANGES and not of_files:
                yield node
        name = getattr(function, "attr", getattr(function, "id", ""))
        if name in {"open", "fdopen", "open_code"} and opens_for_writing(node):
            yield node


def is_files(node: ast.AST) -> bool:
    """Tell whether an expression is an object of class Files, which goes by that name."""
    return getattr(node, "id", getattr(node, "attr", "")) in {"files", "_files"}


def opens_for_writing(call: ast.Call) -> bool:
    """Tell whether a call of ``open``, in whatever guise, has a mode that writes."""
    given = [*call.args, *(word.value for word in call.keywords if word.arg == "mode")]
    modes = (node.value for node in given if isinstance(node, ast.Constant))
    return any(
        isinstance(mode, str) and re.fullmatch(r"[rwaxbt+]+", mode) and set(mode) & set("wax+")
        for mode in modes
    )


def openings(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield what opens a path for reading, whatever lies there: a pipe is waited for."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        if isinstance(function, ast.Name) and function.id == "open":
            yield node
        elif isinstance(function, ast.Attribute):
            of_a_path = function.attr in {"read_bytes", "read_text"}
            opens = function.attr == "open" and ast.unparse(function.value) not in OTHER_OPEN
            if of_a_path or (opens and not node.args[1:]):
                yield node


OTHER_OPEN = {
    "opener",
    "blobs",
    "self._blobs",
    "destination",
    "job.destination",
    "self._state.blobs",
}
"""What has a method ``open`` that opens no file."""


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def parsed(path: Path) -> ast.AST:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def is_among(path: Path, exceptions: Iterable[str]) -> bool:
    """Tell whether *exceptions* name the room *path*, or the rooms that it is one of (``x/``)."""
    room = path.relative_to(PACKAGE).as_posix()
    return any(room == each or (each[-1] == "/" and room.startswith(each)) for each in exceptions)


def lines(nodes: Iterator[ast.AST]) -> list[str]:
    return [f"line {node.lineno}: {ast.unparse(node)}" for node in nodes]


def each_room(check: Callable[[Path], None]) -> Callable[[], None]:
    """Turn the check of one room into a test of all of them: one for each would take a minute."""

    def test() -> None:
        wrong = []
        for path in ROOMS:
            try:
                check(path)
            except AssertionError as error:
                wrong.append(f"{path.relative_to(PACKAGE)}: {error}")
        assert not wrong, "\n".join(wrong)

    test.__name__ = check.__name__
    test.__doc__ = check.__doc__
    return test


@each_room
def test_only_files_changes_a_disk(path):
    assert is_among(path, MAY_CHANGE_A_DISK) or lines(changes_of_a_disk(parsed(path))) == []


@pytest.mark.parametrize("exception", MAY_CHANGE_A_DISK)
def test_each_room_that_may_change_a_disk_still_does(exception):
    excepted = [path for path in ROOMS if is_among(path, [exception])]
    assert any(lines(changes_of_a_disk(parsed(path))) for path in excepted)


@pytest.mark.parametrize(
    "code",
    [
        "path.unlink()",
        "path.write_bytes(b'')",
        "Path(a, b).mkdir(parents=True)",
        "temporary.rename(final)",
        "open(path, 'wb')",
        "open(path, mode='a')",
        "path.open('r+b')",
        "io.open(path, 'x')",
        "gzip.open(path, 'wb')",
        "os.fdopen(descriptor, 'w')",
        "os.open(path, os.O_RDWR | os.O_CREAT)",
        "os.ftruncate(descriptor, 0)",
        "shutil.copyfileobj(a, b)",
    ],
)
def test_a_change_of_a_disk_is_seen(code):
    assert lines(changes_of_a_disk(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        "open(path, 'rb')",
        "open(path)",
        "path.open()",
        "path.open(encoding='ascii')",
        "os.open(path, os.O_RDONLY | os.O_CLOEXEC)",
        "files.rename(a, b)",
        "self.files.link(a, b)",
        "self._files.symlink('a', b)",
        "text.replace('a', 'b')",
        "names.remove(name)",
    ],
)
def test_what_reads_or_asks_files_is_no_change(code):
    assert lines(changes_of_a_disk(ast.parse(code))) == []


@each_room
def test_nothing_is_read_but_what_is_a_regular_file(path):
    """A room opens what it reads by smallfile: what lies there may be a named pipe."""
    found = lines(openings(parsed(path)))
    if path.relative_to(PACKAGE).as_posix() in MAY_OPEN_ANYTHING:
        assert found, "the exception is not needed any more"
    else:
        assert found == []


@pytest.mark.parametrize(
    "code", ["open(path)", "path.open('rb')", "path.read_bytes()", "Path(a, b).read_text('ascii')"]
)
def test_an_opening_of_whatever_lies_there_is_seen(code):
    assert lines(openings(ast.parse(code)))


@each_room
def test_only_the_recipe_imports_buildout_and_only_a_rehearsal_zodb(path):
    foreign = re.compile(r"(ZODB|ZEO|BTrees|persistent|transaction|zc|zope|setuptools)(\.|$)")
    found = sorted(name for name in imported(parsed(path)) if foreign.match(name))
    allowed, _reason = MAY_IMPORT.get(path.relative_to(PACKAGE).as_posix(), ("(?!)", ""))
    assert [name for name in found if not re.match(allowed, name)] == []


@each_room
def test_a_frozen_dataclass_is_one_that_costs_little(path):
    """Those of the standard library are compiled whenever a script starts."""
    compiled = "dataclasses.dataclass" in set(imported(parsed(path)))
    if compiled and re.search(r"^@dataclass\(frozen=True", path.read_text("utf-8"), re.M):
        assert str(path.relative_to(PACKAGE)) in COMPILED


@each_room
def test_only_times_says_what_a_stamp_looks_like(path):
    """``\\d`` fits the digits of every script, of which no release makes a stamp."""
    assert path.name == "times.py" or not re.search(r"\{4\}\(\?:-", path.read_text("utf-8"))


@each_room
def test_only_the_room_cli_prints(path):
    calls = (node for node in ast.walk(parsed(path)) if isinstance(node, ast.Call))
    prints = [call for call in calls if getattr(call.func, "id", "") in {"print", "input"}]
    assert is_among(path, MAY_PRINT) or not lines(iter(prints))


def plurals(tree: ast.AST) -> Iterator[str]:
    """Yield each number in *tree* that a plural follows in a text."""
    for node in ast.walk(tree):
        for value, text in pairwise(node.values if isinstance(node, ast.JoinedStr) else []):
            if isinstance(value, ast.FormattedValue) and isinstance(text, ast.Constant):
                said = ast.unparse(value.value)
                if PLURAL.match(str(text.value)) and not NO_NUMBER.match(said):
                    yield f"{said}{text.value}"


@each_room
def test_what_is_counted_is_called_by_number_of(path):
    assert [*plurals(parsed(path))] == [], "one is no plural: amounts.number_of knows"


def test_a_plural_that_is_made_by_hand_is_seen():
    tree = ast.parse("f'{len(found):,} blobs and {number_of(2, kind)} blobs'")
    assert [*plurals(tree)] == ["len(found) blobs and "]


@each_room
def test_no_room_ends_the_process(path):
    """A text that holds the words, as the script template does, is no call of them."""
    exits = {"exit", "_exit", "quit"}
    calls = (node for node in ast.walk(parsed(path)) if isinstance(node, ast.Call))
    found = [
        call
        for call in calls
        if getattr(call.func, "id", "") in exits
        or (
            isinstance(call.func, ast.Attribute)
            and call.func.attr in exits
            and getattr(call.func.value, "id", "") in {"sys", "os"}
        )
    ]
    raised = (
        node
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Raise) and "SystemExit" in ast.unparse(node)
    )
    assert lines(iter([*found, *raised])) == []


@pytest.mark.parametrize(
    "path",
    sorted({*PACKAGE.rglob("*.py"), *(room.parent for room in ROOMS)}),
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_a_room_has_a_subject(path):
    assert not NO_SUBJECT.search(path.stem)


TWICE = {
    "format": "of a filestorage, which ZODB calls so; the object of that name in a repository",
}
"""Names of rooms that stand for two things, and why."""


def rooms_of_a_name() -> dict[str, list[str]]:
    """Return the rooms that have each name; a verb and its operation are one thing."""
    found: dict[str, list[str]] = {}
    for path in ROOMS:
        room = path.relative_to(PACKAGE).as_posix()
        is_verb = (PACKAGE / "operations" / path.name).exists() and room.startswith("cli/verbs/")
        if path.name != "__init__.py" and not is_verb:
            found.setdefault(path.stem, []).append(room)
    return found


def test_no_name_of_a_room_stands_for_two_things():
    rooms = rooms_of_a_name()
    assert rooms["verify"] == ["operations/verify.py"]
    twice = {name: homes for name, homes in rooms.items() if len(homes) > 1}
    assert {name: homes for name, homes in twice.items() if name not in TWICE} == {}
    assert set(TWICE) <= set(twice), "the exception is not needed any more"


def homes_of_classes() -> dict[str, list[str]]:
    """Return the rooms that define each public class, by its name."""
    found: dict[str, list[str]] = {}
    for path in ROOMS:
        for node in parsed(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(path.relative_to(PACKAGE).as_posix())
    return found


def test_no_name_of_a_class_stands_for_two_things():
    homes = homes_of_classes()
    assert homes["SiteStatus"] == ["operations/sitestatus.py"]
    assert {name: rooms for name, rooms in homes.items() if len(rooms) > 1} == {}


@pytest.mark.parametrize("name", ["design/guarantees.rst", "development/contract.rst"])
def test_what_a_page_promises_is_shown_by_tests_that_exist(name):
    page = (PACKAGE.parents[3] / "docs" / name).read_text(encoding="utf-8")
    named = re.findall(r"``([\w/]+\.(?:py|rst))(?:::(\w+))?``", page)
    assert named
    missing = [
        f"{file}::{test}"
        for file, test in named
        if not (path := PACKAGE / "tests" / file).is_file()
        or (test and not re.search(rf"^ *def {test}\(", path.read_text(encoding="utf-8"), re.M))
    ]
    assert missing == []


def test_each_promise_names_a_test():
    page = (PACKAGE.parents[3] / "docs" / "development" / "contract.rst").read_text("utf-8")
    _head, entries = page.split("The recipe\n-----", 1)
    entries = entries.replace("\n\n   *Shown by*", "\n   *Shown by*")
    titles = re.findall(r"^((?:[^ \n-]|\d+\. ).*)\n +(?=\S)", entries, re.M)
    blocks = re.findall(r"^(?:[^ \n-]|\d+\. ).*\n(?: +.*\n|\n(?= ))+", entries, re.M)
    assert len(titles) == len(blocks) > 80
    assert [block.splitlines()[0] for block in blocks if "*Shown by* ``" not in block] == []


FREE_RELATIVE = re.compile(
    r"((by|for|to|with|from|of|in|on|at) )?"
    r"(who|whose|whoever|what|whatever|that which|which|where|wherever|when|how) ",
    re.IGNORECASE,
)
A_LATER_ONE = re.compile(r"(?:[.:;]\s+|\n\n)((?:Who|Whose|Whoever|What|Whatever) [^.:;]*)")
"""A sentence that begins so further on in a docstring."""
ANAPHORA = re.compile(r"(\w+ the same\b(?! \w)|It (is|does|has)\b|Likewise\b)")
"""Of a first line that says nothing without the one before."""

MAY_BEGIN_FREELY = {"operations/zopescript.py": "what it holds is run by Zope, not here"}


def docstrings(tree: ast.AST) -> Iterator[str]:
    """Yield each text that stands alone: of a module, a class, a function, a name."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for each in body if isinstance(body, list) else []:
            value = each.value if isinstance(each, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield value.value


def riddles(tree: ast.AST) -> list[str]:
    """Return sentences of docstrings that a stranger has to solve."""
    texts = [cleandoc(text) for text in docstrings(tree)]
    lines = [text.split("\n")[0] for text in texts]
    return [
        *(line for line in lines if FREE_RELATIVE.match(line) or ANAPHORA.match(line)),
        *(found[1] for text in texts for found in A_LATER_ONE.finditer(text)),
    ]


@each_room
def test_a_docstring_names_what_it_is_about(path):
    """Its sentences begin with a noun or a verb, not with "What ..." or "Return the same."."""
    assert is_among(path, MAY_BEGIN_FREELY) or riddles(parsed(path)) == []


@pytest.mark.parametrize(
    "text",
    [
        "What a run has done.",
        "Who may read a file.",
        "By what files are known again.",
        "Where the objects lie.",
        "How thoroughly to verify.",
        "Copy files.\n\nWhat is there already is left out.",
        "Copy files.  Who reads them is not asked.",
        "Yield the same.",
        "It is.",
        "Likewise.",
    ],
)
def test_a_riddle_is_seen(text):
    assert riddles(ast.parse(f"def f():\n    {text!r}\n"))


@pytest.mark.parametrize("text", ["The result of a run.", "Whether it is full.", "Yield blobs."])
def test_a_plain_sentence_is_no_riddle(text):
    assert riddles(ast.parse(f"def f():\n    {text!r}\n")) == []


def is_of_data(node: ast.ClassDef) -> bool:
    made = " ".join(ast.unparse(each) for each in (*node.decorator_list, *node.bases))
    return "dataclass" in made or "NamedTuple" in made


def bare_fields(text: str) -> list[str]:
    """Return the fields of classes of data without a line that says what they are.

    The line is a comment behind the field or above it, or a string below; an option has its own.
    """
    lines = text.split("\n")
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.ClassDef) or not is_of_data(node):
            continue
        for field, following in zip(node.body, [*node.body[1:], None], strict=True):
            if not isinstance(field, ast.AnnAssign) or field.end_lineno is None:
                continue
            is_option = ast.unparse(field.value or field.target).startswith("option(")
            has_string = isinstance(getattr(following, "value", None), ast.Constant) and isinstance(
                following, ast.Expr
            )
            has_comment = "#" in lines[field.end_lineno - 1] + lines[field.lineno - 2].strip()[:1]
            if not (is_option or has_string or has_comment):
                found.append(f"{node.name}: {ast.unparse(field)}")
    return found


@each_room
def test_each_field_of_data_has_a_line(path):
    """It says the unit, and what None means."""
    assert bare_fields(path.read_text(encoding="utf-8")) == []


def test_a_bare_field_is_seen():
    head = "class A(NamedTuple):\n    "
    assert bare_fields(f"{head}size: int\n") == ["A: size: int"]
    assert bare_fields(f"{head}size: int  # bytes\n") == []
    assert bare_fields(f"{head}size: int\n    'Bytes.'\n") == []


NO_SENTENCE = re.compile(
    r"test_(also|and|but|it|its|likewise|neither_does|nor|not|one_that|otherwise|so|that|they|those|"
    r"who|whoever|whose)_"
)
"""Of a name that refers to the test before it, which a list of failures does not show."""

TOO_SHORT = re.compile(r"test_(?:what(?:_[^_]+){1,4}|[^_]+(?:_[^_]+){0,2})$")
"""A name that leaves open what the test is about: "test_a_number", "test_what_is_gone_says_so"."""

MAY_BE_SHORT = {"test_narrative"}  # its parameter is the name of a page


def test_a_name_that_refers_to_another_test_is_seen():
    assert NO_SENTENCE.match("test_and_it_stays")
    assert not NO_SENTENCE.match("test_a_blob_stays")


def test_a_name_that_is_too_short_is_seen():
    assert all(map(TOO_SHORT.match, ["test_bash", "test_a_number", "test_what_is_gone_says_so"]))
    assert not TOO_SHORT.match("test_bash_completes_names_of_files")


def test_the_name_of_each_test_can_be_read_alone():
    found = {
        path: re.findall(r"def (test_\w+)\(", path.read_text(encoding="utf-8"))
        for path in (PACKAGE / "tests").rglob("*.py")
        if path.name != "test_conftest.py"  # it writes tests, for a run of pytest within
    }
    assert len(found) > 200
    wrong = [
        (path, name)
        for path, names in found.items()
        for name in names
        if NO_SENTENCE.match(name) or (TOO_SHORT.match(name) and name not in MAY_BE_SHORT)
    ]
    assert wrong == []
