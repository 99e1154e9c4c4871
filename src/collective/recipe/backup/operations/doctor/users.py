"""Users, as a finding names them."""

from __future__ import annotations

import pwd

from collective.recipe.backup.errors import printable


def user(number: int) -> str:
    """Return the name of the user with that *number*, or the number where there is none."""
    try:
        return printable(pwd.getpwuid(number).pw_name)
    except KeyError:
        return str(number)
