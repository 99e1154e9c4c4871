"""Back up and restore the filestorages and blobs of a ZODB, as a zc.buildout recipe.

A source (a filestorage and its blobstorage) is backed up to a destination, which holds restore
points.  The promises about them, in short:

* Exit code 0 means that everything asked for was done, is durable and is whole.
* A restore point exists only once it is whole, and it holds every blob that its
  filestorage names.
* Nothing live is removed before its replacement is whole and verified.
* A run that dies anywhere harms no earlier restore point; the next one heals what it left.
* A backup costs what changed since the last one.

docs/design/guarantees.rst says it in full, docs/design/architecture.rst shows the rooms of
this house and which of them may import which.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collective.recipe.backup.recipe import Recipe

__all__ = ["Recipe", "__version__"]

__version__ = "7.0.0.dev0"


def __getattr__(name: str) -> Any:
    """Import the recipe when buildout asks for it, so that no script has to import buildout."""
    if name != "Recipe":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # here, not above: see the docstring
    from collective.recipe.backup.recipe import Recipe

    return Recipe
