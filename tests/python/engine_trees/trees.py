"""Puts the module trees of engines, which lie beside this file, into the place of the engines."""

import contextlib
import pathlib
import sys

FOLDER = str(pathlib.Path(__file__).resolve().parent)


def _forget(*roots):
    for name in list(sys.modules):
        if name.partition(".")[0] in roots:
            del sys.modules[name]


@contextlib.contextmanager
def installed():
    """The engines' modules can be imported inside, and are forgotten afterwards."""
    _forget("sglang", "lmdeploy")
    sys.path.insert(0, FOLDER)
    try:
        yield
    finally:
        sys.path.remove(FOLDER)
        _forget("sglang", "lmdeploy")
