#!/usr/bin/env python3
"""Every planted bug of tests/mutants fits the source: the lines that it changes stand in their
file. So a bug that a change of the source has outdated is seen without planting it.
usage: mutants_apply.py ROOT"""

import re

import source_tree


def hunks_of(patch):
    """(file, lines before, lines after) of each hunk of a unified diff."""
    hunks = []
    name = None
    for line in patch.splitlines():
        if line.startswith("+++ b/"):
            name = line[len("+++ b/"):]
        elif line.startswith("@@") and name:
            hunks.append((name, [], []))
        elif hunks and not line.startswith("--- "):
            _, before, after = hunks[-1]
            if not line.startswith("+"):
                before.append(line[1:])
            if not line.startswith("-"):
                after.append(line[1:])
    return hunks


def contains(lines, part):
    return any(lines[i:i + len(part)] == part for i in range(len(lines) - len(part) + 1))


def faults(root, path):
    text = path.read_text()
    head, mark, diff = text.partition("\n--- ")
    if not mark or not re.search(r"^tests: \S", head, re.MULTILINE):
        return ["wanted a description, a line 'tests: ...' and a diff"]
    found = []
    for name, before, after in hunks_of("--- " + diff):
        if not (root / name).is_file():
            found.append(f"{name} is no file")
        elif before == after or not contains((root / name).read_text().splitlines(), before):
            found.append(f"its lines are not in {name}")
    return found or ([] if hunks_of("--- " + diff) else ["has no changes"])


def violations(root):
    return [f"{path.relative_to(root)}: {reason}"
            for path in sorted((root / "tests/mutants").glob("*.patch"))
            for reason in faults(root, path)]


if __name__ == "__main__":
    source_tree.report("mutants_apply", violations(source_tree.root_argument()))
