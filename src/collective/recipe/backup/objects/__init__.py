"""The objects in a log at one moment, read without any class of the site.

::

    inert              the state of an object, unpickled so that nothing of it can run
    quickreferences    which objects a record refers to, read off its bytes where they tell
    references         which objects a state refers to, and by which names
    current            where the current record of each object is, and what it holds
    subtree            what an object holds: all that is reached from it, cut where it leaves
    paths              from a path to an object
    graph              what refers to what at a moment, and what is reached from the root
    graphpaths         the path of an object of a graph
    comparison         what is gone between two moments, and what has moved
    departure          when that was, and who did it
    folderchanges      how much changed, folder by folder, and what of one object
    statetext          the state of an object as text
    zexp               an export as ZODB imports it

Nothing is written.  What a pickle says was written by strangers: see ``inert``.
"""
