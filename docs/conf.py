"""How Sphinx makes the pages; ``make docs`` does it, and any warning is an error."""

from __future__ import annotations

from configparser import ConfigParser
from pathlib import Path

_setup = ConfigParser()
_setup.read(Path(__file__).parent.parent / "setup.cfg", encoding="utf-8")

project = _setup["metadata"]["name"]
version = release = _setup["metadata"]["version"]
author = "its maintainers"
copyright = "GPL-2.0-or-later"  # noqa: A001  Sphinx calls it that

extensions = ["sphinx_copybutton"]
# of a console, copy what is typed, and not what is answered
copybutton_prompt_text = "$ "
exclude_patterns = ["_build"]
nitpicky = True
# the prompt of examples is part of them; nothing here is code to be looked up
highlight_language = "text"

html_theme = "furo"
linkcheck_timeout = 30
# forges turn machines away
linkcheck_ignore = [r"https://github\.com/.*/(issues|security|blob)/.*"]
html_title = f"Backup {version}"
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
