"""The question before something that cannot be taken lightly."""

from __future__ import annotations

import sys

from collective.recipe.backup.errors import BackupError

_TRIES = 3
"""Number of times that a question is asked; a program may answer wrongly for ever."""


def lines_typed(question: str) -> str:
    """Show *question*; return the lines that follow, up to an empty one or the end."""
    print(question, file=sys.stderr, flush=True)
    lines: list[str] = []
    for line in sys.stdin or ():
        if not line.strip():
            break
        lines.append(line)
    return "".join(lines)


def ask(question: str) -> bool:
    """Show *question* on the terminal; only the whole word yes is a yes."""
    print(question, file=sys.stderr)
    for _try in range(_TRIES):
        print("Are you sure? (yes/no) [no]: ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline() if sys.stdin else ""
        if not line:
            print(file=sys.stderr)  # the next text begins a line
            raise BackupError(
                "there was no answer, so nothing was done",
                hint="run it in a terminal, or with --no-prompt if you are sure",
            )
        answer = line.strip().lower()
        if answer in ("", "n", "no"):
            return False
        if answer == "yes":
            return True
        print("Type yes, the whole word, to go on, or no to change nothing.", file=sys.stderr)
    raise BackupError(
        f"{_TRIES} answers were neither yes nor no, so nothing was done",
        hint="run it again and type the whole word yes, or use --no-prompt if you are sure",
    )
