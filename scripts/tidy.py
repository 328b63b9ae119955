#!/usr/bin/env python3
"""clang-tidy over the project's C++ sources, in parallel. A source whose text, headers, flags and
checks are those of an earlier clean run is not read again."""

import argparse
import concurrent.futures
import hashlib
import json
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clang-tidy", required=True)
    parser.add_argument("--build", required=True, help="folder of compile_commands.json")
    parser.add_argument("--cache", required=True)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("folders", nargs="+")
    return parser.parse_args()


def commands_of(build, folders):
    """Compile command of each C++ source below the folders: {path: command}."""
    wanted = {}
    for entry in json.loads((pathlib.Path(build) / "compile_commands.json").read_text()):
        path = pathlib.Path(entry["directory"], entry["file"]).resolve()
        inside = any((ROOT / folder) in path.parents for folder in folders)
        if inside and path.suffix == ".cpp":
            wanted[path] = entry["command"]
    return wanted


def headers_of(path, seen):
    """The project's headers that a file includes, at any depth."""
    for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(), re.MULTILINE):
        for base in (path.parent, ROOT / "include", ROOT / "src", ROOT):
            header = base / name
            if header.is_file() and header not in seen:
                seen.add(header)
                headers_of(header, seen)
    return seen


def fingerprint(path, command, settings):
    digest = hashlib.sha256((settings + command).encode())
    for part in [path, *sorted(headers_of(path, set()))]:
        digest.update(str(part.relative_to(ROOT)).encode() + b"\0" + part.read_bytes())
    return digest.hexdigest()


def tidy(arguments, path):
    command = [
        arguments.clang_tidy,
        "--quiet",
        "-p",
        arguments.build,
        "--extra-arg=-Wno-unknown-warning-option",
        "--extra-arg=-Wno-ignored-optimization-argument",
        str(path),
    ]
    result = subprocess.run(command, capture_output=True, text=True)
    return result.returncode, result.stdout + ("" if result.returncode == 0 else result.stderr)


def main():
    arguments = parse_arguments()
    started = time.monotonic()
    version = subprocess.run([arguments.clang_tidy, "--version"], capture_output=True, text=True)
    settings = version.stdout + (ROOT / ".clang-tidy").read_text()
    cache = pathlib.Path(arguments.cache)
    cache.mkdir(parents=True, exist_ok=True)

    commands = commands_of(arguments.build, arguments.folders)
    if not commands:
        sys.exit(f"tidy: no sources of {arguments.folders} in {arguments.build}")
    stamps = {p: cache / fingerprint(p, c, settings) for p, c in commands.items()}
    todo = [path for path, stamp in sorted(stamps.items()) if not stamp.exists()]
    print(f"tidy: {len(todo)} of {len(commands)} sources to read, {arguments.jobs} at a time")

    failures = 0
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        for path, (status, text) in zip(todo, pool.map(lambda p: tidy(arguments, p), todo)):
            if status == 0:
                stamps[path].touch()
                continue
            failures += 1
            print(f"--- {path.relative_to(ROOT)}\n{text}", flush=True)
    print(f"tidy: {failures} of {len(commands)} sources with findings, "
          f"{time.monotonic() - started:.0f} s")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
