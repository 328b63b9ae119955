#!/usr/bin/env python3
"""Plants known bugs, one at a time, and demands that a unit test fails for each.

A bug is a file tests/mutants/NAME.patch: a line that says what is wrong, a line "tests: ROOM ..."
with the test binaries to ask first (test_ROOM), and a unified diff. Everything happens in a copy of
the tree under build/mutants. A patch that does not apply, or does not build, is an error and never
a catch.

A line "needs: gpu" marks a bug that only tests on a GPU can catch. Such a bug is built with CUDA,
in a build folder of its own, and only the test binaries that it names are built and asked. Where
there is no GPU it is skipped.

Exit status: 0 every bug is caught or skipped, 1 one survived, 2 an error."""

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


def there_is_a_gpu():
    return any(pathlib.Path("/dev").glob("nvidia[0-9]*"))


class Workshop:
    """A build of the copy, and the test binaries in it."""

    def __init__(self, name, cuda, jobs):
        self.build_folder = ROOT / "build/mutants" / name
        self.cuda = cuda
        self.jobs = jobs
        self.limits = {}  # seconds that a test binary may take, of those that pass unchanged

    def configure(self):
        copy_tree()
        result = run(["cmake", "-G", "Ninja", "-S", TREE, "-B", self.build_folder,
                      "-DCMAKE_BUILD_TYPE=Release", f"-DFLASHMLA_CUDA={self.cuda}",
                      "-DFLASHMLA_BENCHMARKS=OFF",
                      f"-DCMAKE_RUNTIME_OUTPUT_DIRECTORY={self.build_folder}/bin"])
        if result.returncode:
            raise Broken(result.stdout + result.stderr)

    def test_targets(self):
        listing = run(["cmake", "--build", self.build_folder, "--target", "help"])
        return re.findall(r"^(test_\w+): phony$", listing.stdout, re.MULTILINE)

    def build(self, targets):
        result = run(["cmake", "--build", self.build_folder, "--parallel", self.jobs, "--target",
                      *targets])
        if result.returncode:
            raise Broken("does not build:\n" + result.stdout[-4000:] + result.stderr[-2000:])

    def unit_tests(self):
        """Names of the test binaries that hold unit tests. Builds all of them."""
        self.build(self.test_targets())
        listing = run(["ctest", "--test-dir", self.build_folder, "-L", "^unit$",
                       "--show-only=json-v1"])
        tests = json.loads(listing.stdout)["tests"]
        programs = {pathlib.Path(t["command"][0]) for t in tests if "command" in t}
        binaries = {path.name for path in programs if path.parent == self.build_folder / "bin"}
        if not binaries:
            raise Broken("there are no unit tests")
        return sorted(binaries)

    def run_tests(self, binary, limit):
        """(exit status, output) of a test binary; status None when it takes too long."""
        command = [self.build_folder / "bin" / binary, "--gtest_fail_fast", "--gtest_color=no"]
        try:
            result = run(command, timeout=limit, cwd=TREE)
            return result.returncode, result.stdout
        except subprocess.TimeoutExpired as expired:
            return None, (expired.stdout or b"").decode(errors="replace")

    def failing_test(self, binary):
        """Name of the first test in a binary that fails, None when all pass."""
        status, output = self.run_tests(binary, self.limits[binary])
        return None if status == 0 else name_of_failure(binary, status, output)

    def check_clean(self, binaries):
        """The unchanged tree has to pass; from then on a binary may take its time and more."""
        unknown = set(binaries) - set(self.test_targets())
        if unknown:
            raise Broken(f"names tests that are not there: {', '.join(sorted(unknown))}")
        unchecked = [binary for binary in binaries if binary not in self.limits]
        if not unchecked:
            return
        print(f"mutants: building and testing the unchanged tree: {' '.join(unchecked)}",
              flush=True)
        self.build(unchecked)
        for binary in unchecked:
            started = time.monotonic()
            status, output = self.run_tests(binary, 600)
            if status != 0:
                raise Broken(f"the unchanged tree fails: {name_of_failure(binary, status, output)}")
            if "[       OK ]" not in output:
                raise Broken(f"{binary} skips all of its tests:\n{output[-2000:]}")
            self.limits[binary] = 60 + 10 * (time.monotonic() - started)


def name_of_failure(binary, status, output):
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
        self.needs_gpu = re.search(r"^needs: gpu$", head, re.MULTILINE) is not None

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

    def caught_by(self, workshop):
        """The failing test's name, None when the bug survives."""
        found = self.failing_test_of(workshop, self.first)
        if found or self.needs_gpu:
            return found
        return self.failing_test_of(workshop, [name for name in workshop.unit_tests()
                                               if name not in self.first])

    def failing_test_of(self, workshop, binaries):
        workshop.check_clean(binaries)
        try:
            self.plant()
            workshop.build(binaries)
            return next(filter(None, map(workshop.failing_test, binaries)), None)
        finally:
            copy_tree()


def try_mutant(mutant, workshop):
    """(verdict, test or reason)"""
    try:
        found = mutant.caught_by(workshop)
        return ("caught", found) if found else ("SURVIVED", mutant.what)
    except Broken as reason:
        return "ERROR", str(reason)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", default="2", help="processors for the build")
    parser.add_argument("--gpu-only", action="store_true", help="only the bugs that need a GPU")
    parser.add_argument("names", nargs="*", help="only these bugs, by name without .patch")
    return parser.parse_args()


def selected(arguments):
    """The bugs to plant: those of the host first."""
    mutants = [Mutant(path) for path in sorted(HERE.glob("*.patch"))
               if not arguments.names or path.stem in arguments.names]
    if len(mutants) < max(1, len(arguments.names)):
        raise Broken("no such bug: " + " ".join(arguments.names))
    if arguments.gpu_only:
        mutants = [mutant for mutant in mutants if mutant.needs_gpu]
        if not mutants:
            raise Broken("none of these bugs needs a GPU")
    return sorted(mutants, key=lambda mutant: mutant.needs_gpu)


def try_all(mutants, jobs):
    """The verdict on each bug, printed as it is known."""
    width = max(len(mutant.name) for mutant in mutants)
    workshops = {}
    verdicts = []
    for mutant in mutants:
        started = time.monotonic()
        if mutant.needs_gpu and not there_is_a_gpu():
            verdict, detail = "skipped", "needs a GPU"
        else:
            if mutant.needs_gpu not in workshops:
                workshop = (Workshop("build_cuda", "ON", jobs) if mutant.needs_gpu
                            else Workshop("build", "OFF", jobs))
                workshop.configure()
                workshops[mutant.needs_gpu] = workshop
            verdict, detail = try_mutant(mutant, workshops[mutant.needs_gpu])
        verdicts.append(verdict)
        print(f"{mutant.name:{width}}  {verdict:8}  {time.monotonic() - started:4.0f} s  {detail}",
              flush=True)
    return verdicts


def main():
    arguments = parse_arguments()
    verdicts = try_all(selected(arguments), arguments.jobs)
    counts = {v: verdicts.count(v) for v in ("caught", "SURVIVED", "ERROR", "skipped")}
    print(f"mutants: {counts['caught']} of {len(verdicts)} caught, {counts['SURVIVED']} survived, "
          f"{counts['ERROR']} errors, {counts['skipped']} skipped")
    return 2 if counts["ERROR"] else 1 if counts["SURVIVED"] else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Broken as reason:
        print(f"mutants: {reason}", file=sys.stderr)
        sys.exit(2)
