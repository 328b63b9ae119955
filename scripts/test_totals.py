#!/usr/bin/env python3
"""Totals of the JUnit files that ctest and pytest wrote, as one last line:
'N passed, N failed, N skipped'."""

import pathlib
import sys
import xml.etree.ElementTree as xml


def outcome(case):
    children = {child.tag for child in case}
    if case.get("status") == "fail" or children & {"failure", "error"}:
        return "failed"
    # ctest gives a status, pytest none.
    skipped = "skipped" in children or case.get("status", "run") != "run"
    return "skipped" if skipped else "passed"


def main():
    totals = {"passed": 0, "failed": 0, "skipped": 0}
    for path in map(pathlib.Path, sys.argv[1:]):
        if not path.is_file():
            continue
        counts = dict.fromkeys(totals, 0)
        for case in xml.parse(path).getroot().iter("testcase"):
            counts[outcome(case)] += 1
        print(f"{path.stem}: " + ", ".join(f"{n} {name}" for name, n in counts.items()))
        for name, number in counts.items():
            totals[name] += number
    print(", ".join(f"{number} {name}" for name, number in totals.items()))


if __name__ == "__main__":
    main()
