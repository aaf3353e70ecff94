"""Teachers become students, students programs, programs bundles, and bundles moving stickers."""

__version__ = "0.1.0"

__all__ = ["__version__"]
