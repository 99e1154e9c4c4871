"""The pictures of the documentation: ``make pictures`` writes them to docs/_static.

::

    story     what is typed, and what the commands answer: a real site, a real disk
    terminal  that text in the window of a terminal, as SVG
    diagrams  boxes and arrows: a chain, a restore point, a swap, a repository
"""
