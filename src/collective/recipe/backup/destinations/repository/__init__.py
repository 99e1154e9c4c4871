"""Repositories as destinations: these rooms know both ZODB and repositories."""
