#!/usr/bin/env python3
"""Every header compiles by itself, without warnings.
usage: headers_alone.py ROOT COMPILER [NVCC]; device headers are skipped without nvcc"""

import concurrent.futures
import os
import pathlib
import subprocess
import sys
import tempfile

import source_tree

FLAGS = ["-std=c++20", "-fsyntax-only", "-Werror", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow",
         "-Wconversion", "-Wno-sign-conversion", "-x", "c++"]
NVCC_FLAGS = ["-std=c++20", "-gencode", "arch=compute_90a,code=sm_90a", "-x", "cu", "-cubin",
              "-o", os.devnull]
FOLDERS = ("include", "src", "support", "tools")
FOR_DEVICES = ("src/sm90/", "src/gpu/", "src/backends/cuda/", "support/device/")


def is_for_devices(root, header):
    return str(header.relative_to(root)).startswith(FOR_DEVICES)


def compile_alone(root, compiler, flags, header):
    """The compiler's complaints about one header."""
    name = f'#include "{header}"\n'
    command = [compiler, *flags, f"-I{root}/include", f"-I{root}/src", f"-I{root}", "-"]
    result = subprocess.run(command, input=name, capture_output=True, text=True, check=False)
    return "" if result.returncode == 0 else result.stderr or "does not compile\n"


def nvcc_alone(root, nvcc, header):
    # nvcc reads no standard input.
    with tempfile.TemporaryDirectory() as folder:
        unit = pathlib.Path(folder, "unit.cu")
        unit.write_text(f'#include "{header}"\n')
        command = [nvcc, *NVCC_FLAGS, f"-I{root}/include", f"-I{root}/src", f"-I{root}", str(unit)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if result.returncode == 0 else result.stdout + result.stderr


def violations(root, compiler, nvcc=""):
    headers = [path for path in source_tree.code_files(root, *FOLDERS) if path.suffix == ".h"]
    if not nvcc:
        skipped = [header for header in headers if is_for_devices(root, header)]
        headers = [header for header in headers if header not in skipped]
        print(f"headers_alone: {len(headers)} headers; no nvcc, {len(skipped)} skipped")

    def complaint(header):
        if is_for_devices(root, header):
            return nvcc_alone(root, nvcc, header)
        return compile_alone(root, compiler, FLAGS, header)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        complaints = zip(headers, pool.map(complaint, headers))
        return [f"{path.relative_to(root)}: {text}" for path, text in complaints if text]


if __name__ == "__main__":
    source_tree.report("headers_alone", violations(source_tree.root_argument(), *sys.argv[2:]))
