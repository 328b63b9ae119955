#!/usr/bin/env python3
"""Holds what the compiler made of every kernel against tests/rules/kernel_limits.txt: registers,
stack, spills, and advice about wgmma. Where cuobjdump is found, kernels of tensor cores have to
have HGMMA in their machine code, and UTMALDG where the table does not say "wgmma".
usage: kernel_gate.py LIMITS OBJECT:OBJECT...; beside each object lies OBJECT.ptxas, what ptxas -v
said. Without objects (a build without nvcc) it is skipped: exit status 77."""

import fnmatch
import os
import pathlib
import re
import shutil
import subprocess
import sys

import source_tree

SKIPPED = 77
ENTRY = re.compile(r"Compiling entry function '(\w+)'")
PROPERTIES = re.compile(r"Function properties for (\w+)")
MEMORY = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
REGISTERS = re.compile(r"Used (\d+) registers")
# C7508: setmaxnreg is ignored; C7510 and up: wgmma is serialised, or waits are put in.
ADVICE = re.compile(r"\((C75(?:08|1\d|2\d))\)(.*)")
IN_FUNCTION = re.compile(r"in (?:the )?function '?(\w+)'?")
FIGURES = ("registers", "stack", "stores", "loads")
INSTRUCTIONS = ("HGMMA", "UTMALDG")
# What the machine code has to have, by the table's column "tensor cores".
TENSOR_CORES = {"yes": INSTRUCTIONS, "wgmma": ("HGMMA",), "no": ()}


class Kernel:
    """What ptxas said about one kernel."""

    def __init__(self, name):
        self.name = name
        self.registers = 0
        self.stack = 0
        self.stores = 0
        self.loads = 0
        self.advice = []


class Limit:
    """One line of the table: what kernels of a name may need."""

    def __init__(self, line, number):
        fields = [field.strip() for field in line.split("|")]
        if len(fields) != 7 or not fields[6]:
            raise ValueError(f"line {number}: wanted seven columns, the last a reason")
        self.pattern = fields[0]
        self.registers, self.stack, self.stores, self.loads = map(int, fields[1:5])
        if fields[5] not in TENSOR_CORES:
            raise ValueError(f"line {number}: {fields[5]}, wanted one of {', '.join(TENSOR_CORES)}")
        self.instructions = TENSOR_CORES[fields[5]]
        self.used = False

    def fits(self, name):
        return fnmatch.fnmatchcase(name, self.pattern)


def read_limits(text):
    lines = enumerate(text.splitlines(), 1)
    return [Limit(line, number) for number, line in lines
            if line.strip() and not line.startswith("#")]


def plain_names(names):
    """Mangled names as people read them, without namespaces that all of them share."""
    names = sorted(names)
    if not names:
        return {}
    result = subprocess.run(["c++filt", *names], capture_output=True, text=True, check=True)
    plain = {}
    for mangled, line in zip(names, result.stdout.splitlines()):
        line = line.replace("(anonymous namespace)::", "")
        # Enumerators, and by some versions integers, are written (type)9.
        line = re.sub(r"\([\w:]+\)(?=-?\d)", "", line)
        line = re.sub(r"\(.*\)$", "", line)
        plain[mangled] = line.removeprefix("void ").removeprefix("flashmla::sm90::")
    return plain


def read_log(text):
    """The entry functions of a log by their mangled names."""
    kernels = {}
    entry = None
    inside = None
    advice = []
    for line in text.splitlines():
        if match := ADVICE.search(line):
            place = IN_FUNCTION.search(line)
            advice.append((place and place.group(1), match.group(1) + match.group(2)))
        elif match := ENTRY.search(line):
            entry = kernels.setdefault(match.group(1), Kernel(match.group(1)))
        elif match := PROPERTIES.search(line):
            inside = match.group(1)
        elif (match := MEMORY.search(line)) and entry:
            # A function that the kernel calls counts as the kernel.
            stack, stores, loads = map(int, match.groups())
            owner = kernels.get(inside, entry)
            owner.stack += stack
            owner.stores += stores
            owner.loads += loads
        elif (match := REGISTERS.search(line)) and entry:
            entry.registers = int(match.group(1))
    for name, words in advice:
        kernel = kernels.get(name) or kernels.setdefault(name or "?", Kernel(name or "?"))
        kernel.advice.append(words.strip())
    return kernels


def faults_of(kernel, name, limits):
    found = [f"{name}: {words}" for words in kernel.advice]
    limit = next((limit for limit in limits if limit.fits(name)), None)
    if limit is None:
        return found + [f"{name}: no line in the table"]
    limit.used = True
    for figure in FIGURES:
        given, most = getattr(kernel, figure), getattr(limit, figure)
        if given > most:
            found.append(f"{name}: {given} {figure}, at most {most} in the table")
    return found


def instruction_counts(dump):
    """{mangled name: {instruction: count}} of what `cuobjdump -sass` prints."""
    counts = {}
    current = None
    for line in dump.splitlines():
        if match := re.search(r"Function : (\w+)", line):
            current = counts.setdefault(match.group(1), dict.fromkeys(INSTRUCTIONS, 0))
        elif current is not None:
            for instruction in INSTRUCTIONS:
                current[instruction] += bool(re.search(rf"\b{instruction}\b", line))
    return counts


def faults_in_code(counts, names, limits):
    found = []
    for mangled, instructions in counts.items():
        name = names.get(mangled, mangled)
        limit = next((limit for limit in limits if limit.fits(name)), None)
        found += [f"{name}: no {instruction} in its machine code"
                  for instruction in (limit.instructions if limit else ())
                  if instructions[instruction] == 0]
    return found


def find_cuobjdump():
    places = [os.environ.get("CUOBJDUMP"), shutil.which("cuobjdump"),
              "/usr/local/cuda/bin/cuobjdump"]
    return next((place for place in places if place and pathlib.Path(place).is_file()), None)


def violations(limits_path, objects, cuobjdump=None):
    limits = read_limits(limits_path.read_text())
    kernels = {}
    for path in objects:
        log = path.with_name(path.name + ".ptxas")
        if not log.is_file():
            return [f"{log}: not there; the build keeps it beside the object"]
        kernels.update(read_log(log.read_text()))
    if not kernels:
        return ["no kernel in any log"]
    names = plain_names(kernels)
    found = []
    for mangled, kernel in sorted(kernels.items(), key=lambda item: names[item[0]]):
        found += faults_of(kernel, names[mangled], limits)
    found += [f"{limit.pattern}: in the table, but no such kernel" for limit in limits
              if not limit.used]
    for path in objects if cuobjdump else []:
        dump = subprocess.run([cuobjdump, "-sass", str(path)], capture_output=True, text=True,
                              check=True)
        found += faults_in_code(instruction_counts(dump.stdout), names, limits)
    return found


def print_figures(objects):
    """The table's figures as they are now, for whoever changes it."""
    for path in objects:
        kernels = read_log(path.with_name(path.name + ".ptxas").read_text())
        names = plain_names(kernels)
        for mangled, kernel in kernels.items():
            print(f"{names[mangled]} | " +
                  " | ".join(str(getattr(kernel, figure)) for figure in FIGURES))


def main():
    # The table, then the objects.
    objects = [pathlib.Path(name) for name in (sys.argv[2:] or [""])[0].split(":") if name]
    if not objects:
        print("kernel_gate: skipped, this build has no kernels (no nvcc)")
        sys.exit(SKIPPED)
    if "--print" in sys.argv:
        print_figures(objects)
        return
    cuobjdump = find_cuobjdump()
    if cuobjdump is None:
        print("kernel_gate: no cuobjdump (PyPI: nvidia-cuda-cuobjdump), machine code is skipped")
    source_tree.report("kernel_gate", violations(pathlib.Path(sys.argv[1]), objects, cuobjdump))


if __name__ == "__main__":
    main()
