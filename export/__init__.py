"""A student becomes a program, a program becomes artifacts, artifacts become a bundle."""
