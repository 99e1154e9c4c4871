"""Backups in a web browser: a page for each question, for one user of this machine.

::

    pageserver       listens on this machine, and hands each request to one thread
    application      what is answered to whom: token, host, method; errors as pages
    askedpage        what a URL asks for, and the URLs of other pages
    pageframe        what all pages have in common
    timelinepage     the restore points
    logpage          transactions: of all, or of one object
    objectspage      what the site was at a moment
    deletedpage      what is gone, when it went, and who did it
    downloads        one thing as an export, one blob as a file
    heldmoments      moments that stay open from one page to the next

Nothing is written, neither to the site nor to the backups.  Nothing that is stored is run, and
no text of it gets into a page as anything but text (see ``report.markup``).
"""
