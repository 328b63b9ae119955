#!/usr/bin/env python3
"""Every line fits into 100 columns and has no tab, and the repository names no path of one machine.
usage: plain_text.py ROOT"""

import re

import source_tree

COLUMNS = 100
CODE = {".h", ".cpp", ".cu", ".py", ".cmake", ".sh", ".json", ""}
DATA = {".csv", ".svg", ".png", ".npy", ".patch"}
# Tables and links have no line breaks.
PROSE = {".md"}
# Recorded data, whatever its form.
RECORDED = ("tests/fuzz/corpus", "benchmarks/reference", "benchmarks/results")
ONE_MACHINE = re.compile(r"(?<![\w.])/(?:work|home|root|Users|mnt)/[\w.]|\.\./shared\b")


def fault(path, line):
    if ONE_MACHINE.search(line):
        return f"names a path of one machine: {ONE_MACHINE.search(line).group()}"
    if path.suffix in PROSE:
        return ""
    if "\t" in line:
        return "has a tab"
    if len(line) > COLUMNS:
        return f"has {len(line)} columns"
    return ""


def violations(root):
    found = []
    for path in source_tree.files_of(root):
        if any(root / folder in path.parents for folder in RECORDED):
            continue
        known = path.suffix in CODE | PROSE or path.name == "CMakeLists.txt"
        if not known or path.suffix in DATA:
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            reason = fault(path, line)
            if reason:
                found.append(f"{path.relative_to(root)}:{number}: {reason}")
    return found


if __name__ == "__main__":
    source_tree.report("plain_text", violations(source_tree.root_argument()))
