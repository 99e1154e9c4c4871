"""A moment as a read-only storage of ZODB, read from the backups.

::

    readpages           the bytes of a stored log, quickly: in their place, or from a cache
    objectindex         where the current record of each object is
    momentrecords       the records and transactions, as FileStorage reads them
    momenthistory       what it tells of the past
    momentiterator      its transactions, one after the other
    loggedextensions    what a transaction says of itself, read without running it
    momentblobs         each blob as a file that can be opened by its path
    momentstorage       all of it as ZODB wants a storage to be
    momentmaking        one of a state, with what it holds while it is open
    privatecache        a directory that one process has for itself

ZODB is imported here, so nothing imports these rooms before a moment is opened.
"""
