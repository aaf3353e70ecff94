"""An artifact becomes frames: one module a library, each saying why where it cannot."""
