"""The examples, as a user runs them."""

import importlib.util
import pathlib
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import frameworks  # noqa: E402

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"


def run(name, *arguments):
    result = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments], capture_output=True, text=True
    )
    print(result.stdout, result.stderr)
    assert result.returncode == 0
    return result.stdout


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_deepseek_decode(device):
    if importlib.util.find_spec("transformers") is None:
        pytest.skip("transformers is not installed")
    if frameworks.Torch(device).unavailable():
        pytest.skip(frameworks.Torch(device).unavailable())
    report = run("deepseek_decode.py", "--device", device, "--steps", "64")
    assert report.count("request ") == 4 and report.rstrip().endswith("agrees")


@pytest.mark.parametrize("ranks", [1, 3])
def test_context_parallel(ranks):
    report = run("context_parallel.py", "--ranks", str(ranks))
    assert f"{ranks} ranks on " in report and "equal to the single rank" in report
