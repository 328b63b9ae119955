#!/usr/bin/env python3
"""The library prints nothing and ends no process: neither its sources nor its undefined symbols
name what would. And it exports the C API and flashmla:: alone.
usage: quiet_library.py ROOT [LIBRARY]"""

import re
import subprocess
import sys

import source_tree

PRINTS = r"\b(?:f|v|vf|w|fw|d)?printf\s*\(|\b(?:f|w)?puts\s*\(|\bf?putc(?:har)?\s*\(|\bperror\s*\("
STREAMS = r"\bstd\s*::\s*w?(?:cout|cerr|clog|print|println)\b|#\s*include\s*<(?:iostream|print)>"
ENDS = (r"\b(?:abort|exit|_exit|_Exit|quick_exit|terminate|raise|assert)\s*\("
        r"|\b__builtin_trap\b")
FORBIDDEN = re.compile("|".join((PRINTS, STREAMS, ENDS)))

# std::terminate is not here: the compiler calls it where an exception leaves a noexcept function.
FORBIDDEN_SYMBOL = re.compile(
    r"^(?:_?_?v?f?w?printf(?:_chk)?|__v?fprintf_chk|__printf_chk|f?puts|f?putc|putchar|perror"
    r"|abort|_?exit|_Exit|quick_exit|raise|__assert_fail|std::w?(?:cout|cerr|clog))\b"
)
OURS = re.compile(r"^(?:(?:typeinfo|typeinfo name|vtable|VTT|guard variable) for )?flashmla::"
                  r"|^flashmla_\w+$")
INSIDE = re.compile(r"flashmla::(?:backends|cpu|schedule|switches|cuda|sm90|support|tools)::")


def in_sources(root):
    found = []
    for path in source_tree.code_files(root, "src", "include"):
        code = source_tree.bare_code(path.read_text())
        for number, line in enumerate(code.splitlines(), 1):
            match = FORBIDDEN.search(line)
            if match:
                place = f"{path.relative_to(root)}:{number}"
                found.append(f"{place}: the library may not use {match.group().strip()}")
    return found


def symbols(library, *options):
    """(type, demangled name) of dynamic symbols."""
    command = ["nm", "-D", "-C", *options, str(library)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    parts = (line.split(maxsplit=2 if "--defined-only" in options else 1) for line in lines)
    return [(p[-2], p[-1].split("@")[0]) for p in parts]


def in_library(library):
    found = []
    for _, name in symbols(library, "--undefined-only"):
        if FORBIDDEN_SYMBOL.search(name):
            found.append(f"{library}: calls {name}")
    for _, name in symbols(library, "--defined-only"):
        if not OURS.search(name):
            found.append(f"{library}: exports {name}")
        elif INSIDE.match(name):
            found.append(f"{library}: exports {name}, which is internal")
    return found


if __name__ == "__main__":
    violations = in_sources(source_tree.root_argument())
    if len(sys.argv) > 2:
        violations += in_library(sys.argv[2])
    source_tree.report("quiet_library", violations)
