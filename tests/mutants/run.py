#!/usr/bin/env python3
"""Plants known bugs, one at a time, and demands that a unit test fails for each.

A bug is a file tests/mutants/NAME.patch: a line that says what is wrong, a line "tests: ROOM ..."
with the test binaries to ask first (test_ROOM), and a unified diff. Everything happens in a copy of
the tree under build/mutants. A patch that does not apply, or does not build, is an error and never
a catch.

Exit status: 0 every bug is caught, 1 one survived, 2 an error."""

import argparse
import json
import pathlib
import re
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "rules"))
sys.dont_write_bytecode = True
import source_tree  # noqa: E402

TREE = ROOT / "build/mutants/tree"
BUILD = ROOT / "build/mutants/build"
LEFT_OUT = {".csv", ".svg", ".patch"}


class Broken(Exception):
    """Something that says nothing about the tests: a patch that does not apply, a failing build."""


def run(command, **options):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, errors="replace",
                          check=False, **options)


def same(path, copy):
    return copy.is_file() and copy.read_bytes() == path.read_bytes()


def copy_tree():
    """Brings the copy up to date; files that are the same keep their time, so builds stay short."""
    wanted = {path.relative_to(ROOT) for path in source_tree.files_of(ROOT)
              if path.suffix not in LEFT_OUT}
    for path in sorted(TREE.rglob("*")) if TREE.exists() else []:
        if path.is_file() and path.relative_to(TREE) not in wanted:
            path.unlink()
    for name in wanted:
        if not same(ROOT / name, TREE / name):
            (TREE / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, TREE / name)


def configure():
    result = run(["cmake", "-G", "Ninja", "-S", TREE, "-B", BUILD, "-DCMAKE_BUILD_TYPE=Release",
                  "-DFLASHMLA_CUDA=OFF", "-DFLASHMLA_BENCHMARKS=OFF",
                  f"-DCMAKE_RUNTIME_OUTPUT_DIRECTORY={BUILD}/bin"])
    if result.returncode:
        raise Broken(result.stdout + result.stderr)


def test_targets():
    listing = run(["cmake", "--build", BUILD, "--target", "help"])
    return re.findall(r"^(test_\w+): phony$", listing.stdout, re.MULTILINE)


def build(jobs, targets):
    result = run(["cmake", "--build", BUILD, "--parallel", jobs, "--target", *targets])
    if result.returncode:
        raise Broken("does not build:\n" + result.stdout[-4000:] + result.stderr[-2000:])


def unit_tests():
    """Names of the test binaries that hold unit tests."""
    listing = run(["ctest", "--test-dir", BUILD, "-L", "^unit$", "--show-only=json-v1"])
    tests = json.loads(listing.stdout)["tests"]
    programs = {pathlib.Path(t["command"][0]) for t in tests if "command" in t}
    binaries = {path.name for path in programs if path.parent == BUILD / "bin"}
    if not binaries:
        raise Broken("there are no unit tests")
    return sorted(binaries)


def failing_test(binary, limit):
    """Name of the first test in a binary that fails, None when all pass."""
    command = [BUILD / "bin" / binary, "--gtest_fail_fast", "--gtest_color=no"]
    try:
        result = run(command, timeout=limit, cwd=TREE)
        output, status = result.stdout, result.returncode
    except subprocess.TimeoutExpired as expired:
        output, status = (expired.stdout or b"").decode(errors="replace"), None
    if status == 0:
        return None
    failed = re.search(r"^\[  FAILED  \] ([^\s,]+)", output, re.MULTILINE)
    if failed:
        return f"{binary} {failed.group(1)}"
    begun = re.findall(r"^\[ RUN      \] (\S+)", output, re.MULTILINE)
    if not begun:
        raise Broken(f"{binary} cannot be run (exit status {status})")
    manner = "timed out" if status is None else f"crashed, exit status {status}"
    return f"{binary} {begun[-1]} ({manner})"


class Mutant:
    def __init__(self, path):
        self.path = path
        self.name = path.stem
        head, mark, _ = path.read_text().partition("\n--- ")
        named = re.search(r"^tests: (.+)$", head, re.MULTILINE)
        if not mark or not named:
            raise Broken(f"{path.name}: wanted a description, a line 'tests: ...' and a diff")
        self.what = head.splitlines()[0]
        self.first = [f"test_{room}" for room in named.group(1).split()]

    def files(self):
        return re.findall(r"^\+\+\+ b/(\S+)", self.path.read_text(), re.MULTILINE)

    def plant(self):
        result = run(["patch", "-p1", "--forward", "--batch", "--fuzz=0", "--reject-file=-",
                      "--no-backup-if-mismatch", "-i", self.path], cwd=TREE)
        if result.returncode:
            raise Broken("does not apply:\n" + result.stdout + result.stderr)
        for name in self.files():
            if same(ROOT / name, TREE / name):
                raise Broken(f"changes nothing in {name}")

    def caught_by(self, binaries, limits, jobs):
        """The failing test's name, None when the bug survives all of them."""
        unknown = set(self.first) - set(binaries)
        if unknown:
            raise Broken(f"names tests that are not there: {', '.join(sorted(unknown))}")
        rest = [name for name in binaries if name not in self.first]
        for group in (self.first, rest):
            build(jobs, group)
            for binary in group:
                found = failing_test(binary, limits[binary])
                if found:
                    return found
        return None


def check_clean(jobs):
    """Builds the unchanged tree; every test binary with the time that it may take from now on."""
    print("mutants: building and testing the unchanged tree", flush=True)
    copy_tree()
    configure()
    build(jobs, test_targets())
    limits = {}
    for binary in unit_tests():
        started = time.monotonic()
        found = failing_test(binary, 600)
        if found:
            raise Broken(f"the unchanged tree fails: {found}")
        limits[binary] = 60 + 10 * (time.monotonic() - started)
    return limits


def try_mutant(mutant, limits, jobs):
    """(verdict, test or reason)"""
    try:
        mutant.plant()
        found = mutant.caught_by(sorted(limits), limits, jobs)
        return ("caught", found) if found else ("SURVIVED", mutant.what)
    except Broken as reason:
        return "ERROR", str(reason)
    finally:
        copy_tree()


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", default="2", help="processors for the build")
    parser.add_argument("names", nargs="*", help="only these bugs, by name without .patch")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    mutants = [Mutant(path) for path in sorted(HERE.glob("*.patch"))
               if not arguments.names or path.stem in arguments.names]
    if len(mutants) < max(1, len(arguments.names)):
        raise Broken("no such bug: " + " ".join(arguments.names))
    limits = check_clean(arguments.jobs)
    width = max(len(mutant.name) for mutant in mutants)
    verdicts = []
    for mutant in mutants:
        started = time.monotonic()
        verdict, detail = try_mutant(mutant, limits, arguments.jobs)
        verdicts.append(verdict)
        print(f"{mutant.name:{width}}  {verdict:8}  {time.monotonic() - started:4.0f} s  {detail}",
              flush=True)
    counts = {v: verdicts.count(v) for v in ("caught", "SURVIVED", "ERROR")}
    print(f"mutants: {counts['caught']} of {len(mutants)} caught, {counts['SURVIVED']} survived, "
          f"{counts['ERROR']} errors")
    return 2 if counts["ERROR"] else 1 if counts["SURVIVED"] else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Broken as reason:
        print(f"mutants: {reason}", file=sys.stderr)
        sys.exit(2)
