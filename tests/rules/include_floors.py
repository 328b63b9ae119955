#!/usr/bin/env python3
"""Includes point down: the floors of docs/architecture.md as a table.
usage: include_floors.py ROOT"""

import re

import source_tree

# Families of kernels: none includes another one.
KERNELS = ("cache", "combine", "dense_decode", "merge", "plan", "sparse_decode")
ON_KERNELS = [
    "include", "src/core", "src/schedule", "src/gpu", "src/sm90/attend", "src/sm90/ops",
    "src/sm90/pipeline", "src/sm90/tile", "src/sm90/ptx",
]
# What a room may include besides itself. The longest prefix of a path is its room.
FLOORS = {
    "include": [],
    "src/core": ["include"],
    "src/schedule": ["include", "src/core"],
    "src/gpu": ["include", "src/core"],
    "src/sm90/ptx": ["include", "src/core"],
    "src/sm90/tile": ["include", "src/core"],
    "src/sm90/pipeline": ["include", "src/core", "src/sm90/tile", "src/sm90/ptx"],
    "src/sm90/ops": ["include", "src/core", "src/sm90/pipeline", "src/sm90/tile", "src/sm90/ptx"],
    "src/sm90/attend": [
        "include", "src/core", "src/schedule", "src/sm90/ops", "src/sm90/pipeline", "src/sm90/tile",
        "src/sm90/ptx",
    ],
    **{f"src/sm90/kernels/{family}": ON_KERNELS for family in KERNELS},
    "src/backends": ["include", "src/core", "src/schedule"],
    "src/backends/cpu": ["include", "src/core", "src/schedule", "src/backends"],
    "src/backends/cuda": [
        "include", "src/core", "src/schedule", "src/backends", "src/gpu", "src/sm90",
    ],
    "src/api": ["include", "src"],
    "support": ["include"],
    "tools": ["include", "support"],
    "examples": ["include"],
    "python": ["include"],
    "benchmarks": ["include", "support"],
    "tests": ["include", "support"],
}
# A test knows the room that it tests, and what that room knows.
TESTED = {
    f"tests/{room.removeprefix('src/')}": [room, *allowed, "support", "tests"]
    for room, allowed in FLOORS.items()
    if room.startswith("src/") or room in ("support", "tools")
}
# Operands of wgmma lie as tile/ says, and so tests of ptx/ know it. The harness is for all of them.
GROUND = ["include", "src/core", "src/sm90/ptx", "src/sm90/tile", "support", "tests"]
TESTED.update(dict.fromkeys(("tests/sm90", "tests/sm90/ptx", "tests/sm90/tile"), GROUND))
TESTED["tests/fuzz"] = ["include", "support", "tools", "tests"]
WITH_ALL_BELOW = ("src", "src/sm90", "tests")
ROOMS = {**FLOORS, **TESTED}
INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')
FROM_THE_SYSTEM = ("sys/", "cuda/", "nv/", "flashmla/")


def room_of(path):
    """The room of a path relative to the root."""
    parts = path.parts
    for length in range(len(parts) - 1, 0, -1):
        room = "/".join(parts[:length])
        if room in ROOMS:
            return room
    return None


def resolve(root, path, name):
    for base in (path.parent, root / "include", root / "src", root):
        if (base / name).is_file():
            return (base / name).resolve().relative_to(root)
    return None


def fault(root, path, mark, name):
    """Why a file may not include a name; empty when it may."""
    room = room_of(path.relative_to(root))
    if room is None:
        return "stands in no room that tests/rules/include_floors.py knows"
    target = resolve(root, path, name)
    if target is None:
        if mark == '"':
            return f'"{name}" is no file of the repository'
        library = room == "include" or room.startswith("src/")
        if library and "/" in name and not name.startswith(FROM_THE_SYSTEM):
            return f"<{name}>: the library needs nothing but the standard library and CUDA"
        return ""
    place = room_of(target)
    allowed = [room, *ROOMS[room]]
    whole = [floor + "/" for floor in allowed if floor in WITH_ALL_BELOW]
    if place in allowed or str(target).startswith(tuple(whole)):
        return ""
    return f'"{name}": {room} may not know {place}'


def violations(root):
    found = []
    for path in source_tree.code_files(root, *{room.split("/")[0] for room in FLOORS}):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = INCLUDE.match(line)
            reason = match and fault(root, path, *match.groups())
            if reason:
                found.append(f"{path.relative_to(root)}:{number}: {reason}")
    return found


if __name__ == "__main__":
    source_tree.report("include_floors", violations(source_tree.root_argument()))
