"""The libraries that only repositories need: an extra of this distribution."""

from __future__ import annotations

from importlib.util import find_spec

from collective.recipe.backup.errors import ConfigurationError

ALWAYS = ("cryptography", "zstandard")
FOR_SHEETS = ("segno",)


def check_libraries(names: tuple[str, ...] = ALWAYS) -> None:
    """Raise ConfigurationError if one of the libraries with these *names* is not installed."""
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"a repository needs libraries that are not installed: {', '.join(missing)}",
            hint="pip install 'collective.recipe.backup[repository]'; in a buildout: eggs = "
            "collective.recipe.backup[repository] in this part",
        )
