"""Optional libraries that are there but cannot be used, and a package without its compiled part."""

import os
import pathlib
import shutil
import subprocess
import sys

import flash_mla
import pytest

PACKAGE = pathlib.Path(flash_mla.__file__).parent
# Imports the package, uses it with NumPy, and prints what it says of itself.
USE = """
import numpy, flash_mla
outs, lses = [numpy.ones((1, 1, 2, 512), numpy.float32)] * 2, [numpy.zeros((1, 2, 1), "f4")] * 2
out, lse = flash_mla.merge_states(outs, lses)
assert out[0, 0, 0, 0] == 1 and abs(lse[0, 0, 0] - numpy.log(2)) < 1e-6
assert flash_mla.plan(device="cpu", query_heads=8).schedule(numpy.zeros(1, numpy.int32)).scheduled
info = flash_mla.info()
print(info.torch, *info.problems, sep="|")
assert all(f"problem: {problem}" in str(info) for problem in info.problems)
"""
OLD = """
__version__ = "2.3.1+cu121"
class Tensor: pass
class dtype: pass
"""
# Text of torch/__init__.py, and what info() says of it.
BROKEN = {
    "older than 2.4": (OLD, "PyTorch 2.3.1+cu121 (", ") is older than 2.4"),
    "own libraries missing": (
        "import ctypes; ctypes.CDLL('libtorch_global_deps.so.0')",
        "PyTorch cannot be imported: OSError: libtorch_global_deps.so.0: ",
        "",
    ),
    "OSError": ("raise OSError('no disk')", "PyTorch cannot be imported: OSError: no disk", ""),
    "RuntimeError": ("raise RuntimeError('x')", "PyTorch cannot be imported: RuntimeError: x", ""),
    "needs a module": (
        "import typing_extensions_of_nobody",
        "PyTorch cannot be imported: No module named 'typing_extensions_of_nobody'",
        "",
    ),
    "ImportError": (
        "raise ImportError('undefined symbol: ncclCommShrink')",
        "PyTorch cannot be imported: ImportError: undefined symbol: ncclCommShrink",
        "",
    ),
    "somebody else's": ("Tensor = 3", "torch/__init__.py is imported as torch and is no", ""),
    "raising attributes": (
        "def __getattr__(name):\n    raise RuntimeError(name)",
        "PyTorch cannot be used: RuntimeError: ",
        "",
    ),
    "2.4 without its parts": (
        OLD.replace("2.3.1", "2.9.0"),
        "PyTorch 2.9.0+cu121 (",
        ") lacks what is needed of it: ",
    ),
}


def run(code, *folders, cwd=None):
    path = [*map(str, folders), str(PACKAGE.parent)]
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken_pytorch(tmp_path, name):
    text, *wanted = BROKEN[name]
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(text)
    result = run(USE, tmp_path)
    assert result.returncode == 0 and not result.stderr, result.stderr
    version, *problems = result.stdout.strip().split("|")
    assert version == "None" and len(problems) == 1
    assert all(part in problems[0] for part in wanted), problems


def test_tensors_of_a_broken_pytorch(tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(OLD)
    code = """
import torch, flash_mla
try:
    flash_mla.append(torch.Tensor(), None, None)
except TypeError as error:
    print(error)
"""
    result = run(code, tmp_path)
    assert "cache: given a torch.Tensor" in result.stdout and "older than 2.4" in result.stdout


def test_a_folder_of_the_name_torch(tmp_path):
    """Where no PyTorch is installed, Python takes any folder of that name for it."""
    (tmp_path / "torch" / "notes").mkdir(parents=True)
    finder = f"""
import importlib.machinery, sys
finder = importlib.machinery.PathFinder
find = finder.find_spec
def only_here(name, path=None, target=None):
    return find(name, [{str(tmp_path)!r}] if name == "torch" else path, target)
finder.find_spec = only_here
"""
    result = run(finder + USE, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (
        f"the folder {tmp_path / 'torch'} is imported as torch and is no PyTorch" in result.stdout
    )


def test_without_pytorch_nothing_is_wrong():
    result = run("import sys; sys.modules['torch'] = None" + USE)
    assert result.stdout.strip() == "None", result.stderr


@pytest.mark.parametrize("text", ["raise OSError('no disk')", "raise ImportError('ABI')"])
def test_broken_ml_dtypes(tmp_path, text):
    """NumPy has no bfloat16 then: results that would be of that type are refused by name."""
    (tmp_path / "ml_dtypes.py").write_text(text)
    code = """
import sys; sys.modules["torch"] = None
import numpy, flash_mla
cache, slots = numpy.zeros((2, 4, 1, 656), numpy.uint8), numpy.zeros(3, numpy.int32)
for call in (lambda: flash_mla.gather(cache, slots), lambda: flash_mla.dequantise(cache)):
    try:
        call()
    except TypeError as error:
        print(error.argument, error.wanted)
half = numpy.zeros((2, 4, 1, 512), numpy.float16)
assert flash_mla.gather(flash_mla.quantise(half, "fp16"), slots).shape == (3, 1, 512)
"""
    result = run(code, tmp_path)
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["out", "plain"], result.stderr
    assert all("ml_dtypes cannot be imported" in line for line in lines)


@pytest.mark.parametrize("left", [[], ["_core.cpython-33m-x86_64-linux-gnu.so"]])
def test_without_the_compiled_part(tmp_path, left):
    ignored = shutil.ignore_patterns("_core*", "__pycache__")
    shutil.copytree(PACKAGE, tmp_path / "flash_mla", ignore=ignored)
    for name in left:
        (tmp_path / "flash_mla" / name).touch()
    result = run("import flash_mla", tmp_path)
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: flash_mla: ") and "circular" not in result.stderr
    assert "pip install ." in last and str(tmp_path) in last
    assert (left[0] if left else "no compiled part") in last


def test_with_a_broken_compiled_part(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "flash_mla")
    (core,) = (tmp_path / "flash_mla").glob("_core*.so")
    core.write_bytes(b"no library")
    last = run("import flash_mla", tmp_path).stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: flash_mla: its compiled part ") and str(core) in last
