"""The package's own number, by which engines check what it offers; the library's is 0.x."""

__version__ = "1.1.0"
