#!/usr/bin/env python3
"""Says which kernels of two builds of the library differ in their machine code.

    scripts/same_machine_code.py BEFORE/libflashmla.so AFTER/libflashmla.so

A kernel's code is what `cuobjdump -sass` prints, without names and addresses: a rename, or a
parameter that moves inside its structure, changes nothing. Offsets into constant banks are masked.
Kernels that exist on one side alone, or whose code differs, are listed.

Exit status: 0 all are the same, 1 some differ."""

import collections
import re
import subprocess
import sys

# The parts of an instruction that depend on the place of a parameter, not on what is computed.
CONSTANT_OFFSET = re.compile(r"(c\[0x[0-9a-f]+\]\[)[^\]]*\]")
ENCODING = re.compile(r"/\* 0x[0-9a-f]{16} \*/")
FUNCTION = re.compile(r"^\s*Function : (\S+)", re.MULTILINE)


def readable(name):
    return (
        subprocess.run(["c++filt", name], capture_output=True, text=True, check=True)
        .stdout.strip()
        .partition("(")[0]
    )


def code_of(text):
    lines = []
    for line in text.splitlines():
        line = ENCODING.sub("", line).rstrip()
        if re.match(r"^\s*/\*[0-9a-f]{4,}\*/", line):
            lines.append(CONSTANT_OFFSET.sub(r"\1]", line.strip()))
    return "\n".join(lines)


def kernels_of(library):
    """{code: names of the kernels that have it}"""
    listing = subprocess.run(
        ["cuobjdump", "-sass", library], capture_output=True, text=True, check=True
    ).stdout
    parts = FUNCTION.split(listing)
    if len(parts) < 3:
        sys.exit(f"{library}: has no kernels")
    found = collections.defaultdict(list)
    for name, text in zip(parts[1::2], parts[2::2]):
        found[code_of(text)].append(readable(name))
    return found


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    before, after = (kernels_of(library) for library in sys.argv[1:])
    same = changed = 0
    for code in {**before, **after}:
        one, other = before.get(code, []), after.get(code, [])
        same += min(len(one), len(other))
        if len(one) == len(other):
            continue
        changed += 1
        for sign, names in (("-", one), ("+", other)):
            for name in names:
                print(f"{sign} {name}, {len(code.splitlines())} instructions")
    print(f"{same} kernels are the same, {changed} pieces of code differ")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
