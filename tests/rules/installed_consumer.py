#!/usr/bin/env python3
"""Installs the build into a fresh folder, and builds and runs a small program that finds it there.
usage: installed_consumer.py CMAKE BUILD SCRATCH"""

import pathlib
import shutil
import subprocess
import sys


def main():
    cmake, build, scratch = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
    consumer = pathlib.Path(__file__).resolve().parent / "consumer"
    shutil.rmtree(scratch, ignore_errors=True)
    prefix, work = scratch / "prefix", scratch / "build"
    for command in (
        [cmake, "--install", build, "--prefix", str(prefix)],
        [cmake, "-S", str(consumer), "-B", str(work), f"-DCMAKE_PREFIX_PATH={prefix}",
         "-DCMAKE_BUILD_TYPE=Release"],
        [cmake, "--build", str(work)],
        [str(work / "consumer")],
    ):
        print("+", *command, flush=True)
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
