"""Draw all pictures of the documentation anew, from the code and from a real run."""

from __future__ import annotations

import tempfile
from pathlib import Path

from collective.recipe.backup.tests.browser import browsing
from collective.recipe.backup.tests.house import PROJECT
from collective.recipe.backup.tests.pictures import diagrams, story, terminal

STATIC = PROJECT / "docs" / "_static"
WIDTH, HEIGHT = 1000, 1010  # pixels of the report that the picture shows


def main() -> None:
    """Write them to docs/_static."""
    STATIC.mkdir(exist_ok=True)
    for name, drawing in diagrams.all_of_them().items():
        (STATIC / name).write_text(drawing, encoding="utf-8")
    with tempfile.TemporaryDirectory() as directory:
        site, another = Path(directory, "site"), Path(directory, "another")
        site.mkdir()
        lines = story.lines(story.told(site, nights=story.FEW))
        window = terminal.window(lines, "a backup, a loss, a restore")
        (STATIC / "terminal.svg").write_text(window, encoding="utf-8")
        another.mkdir()
        story.told(another, nights=story.MANY)
        page = Path(directory, "report.html")
        page.write_text(story.report(another), encoding="utf-8")
        with browsing(Path(directory, "profile")) as browser:
            browser.show(page, width=WIDTH, height=HEIGHT, dark=False)
            (STATIC / "report.png").write_bytes(browser.picture())


if __name__ == "__main__":
    main()
