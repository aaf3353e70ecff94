"""One verb of the command line a module; the conventions are in common.py."""
