"""The plug-in with the classes of the vLLM that is installed here, on the CPU."""

import importlib.util
import pathlib
import subprocess
import sys

import pytest


def test_installed_vllm():
    """In a process of its own: vLLM's import changes much, and other tests replace its modules."""
    for name in ("torch", "vllm"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    script = pathlib.Path(__file__).with_name("vllm_classes.py")
    result = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    print(result.stdout[-3000:], result.stderr[-3000:])
    assert result.returncode == 0 and "FLASHMLA_SPARSE are right" in result.stdout
