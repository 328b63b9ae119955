"""Other installed distributions that own a folder flash_mla/, as this one does."""

from __future__ import annotations

import functools
import importlib.metadata
import re

_FILE = "flash_mla/__init__.py"


def _owns(distribution):
    names = distribution.read_text("top_level.txt")
    if names is not None:
        return "flash_mla" in names.split()
    return any(line.startswith(_FILE) for line in (distribution.read_text("RECORD") or "").split())


@functools.cache
def owners():
    """Names of all installed distributions that own a folder flash_mla/, this one among them."""
    found = {}
    for distribution in importlib.metadata.distributions():
        # NOTE: no other installed package may keep this one from being imported.
        try:
            if _owns(distribution):
                name = str(distribution.metadata["Name"])
                found[re.sub("[-_.]+", "-", name).lower()] = name
        except Exception:
            continue
    return tuple(sorted(found.values()))


def collision():
    """What is wrong where several distributions own the folder; "" where all is well."""
    names = owners()
    if len(names) < 2:
        return ""
    return (
        f"the distributions {', '.join(names)} each install a folder flash_mla/, and the last one "
        "installed has overwritten files of the others: uninstall all of them, then install one"
    )
