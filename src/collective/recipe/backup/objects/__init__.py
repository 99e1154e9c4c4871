"""What a log holds: the objects of one moment, read without any class of the site.

::

    inert       the state of an object, unpickled so that nothing of it can run
    references  which objects a state refers to, and by which names
    current     where the current record of each object is, and what it holds
    subtree     what an object holds: all that is reached from it, cut where it leaves
    paths       from a path to an object
    zexp        an export as ZODB imports it

Nothing is written.  What a pickle says was written by strangers: see ``inert``.
"""
