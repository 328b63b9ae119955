"""python -m flash_mla."""

import json
import os
import subprocess
import sys

import flash_mla
import pytest


def run(*arguments, **environment):
    result = subprocess.run(
        [sys.executable, "-m", "flash_mla", *arguments], capture_output=True, text=True,
        env={**os.environ, **environment},
    )  # fmt: skip
    return result.returncode, result.stdout, result.stderr


def test_text():
    status, output, errors = run()
    assert (status, errors) == (0, "")
    assert output.startswith(str(flash_mla.info()))
    assert "\ncalls on cpu:0, " in output
    for call in ("dense_decode, bf16, h_q = 128", "sparse_decode, v4 cache", "sparse_prefill"):
        assert f"\n  {call}" in output
    cuda = [backend for backend in flash_mla.info().backends if backend.name == "cuda"]
    usable = bool(cuda) and not cuda[0].unavailable
    assert ("\ncalls on cuda:0, " in output) is usable


def test_json():
    status, output, errors = run("--json")
    values = json.loads(output)
    assert (status, errors) == (0, "")
    assert values["version"] == flash_mla.__version__ and values["problems"] == []
    assert [backend["name"] for backend in values["backends"]] == [
        backend.name for backend in flash_mla.info().backends
    ]
    cpu = next(device for device in values["served"] if device["device"] == "cpu:0")
    assert len(cpu["calls"]) >= 12
    for call in cpu["calls"]:
        assert ", tiles of " in call["kernel"] and call["refusal"] == ""


@pytest.mark.gpu
def test_gpu():
    import frameworks

    if frameworks.Torch("cuda").unavailable():
        pytest.skip(frameworks.Torch("cuda").unavailable())
    status, output, _ = run("--json", "--need", "cuda")
    calls = next(d for d in json.loads(output)["served"] if d["device"] == "cuda:0")["calls"]
    dense = [call["kernel"] for call in calls if call["call"].startswith("dense_decode")]
    assert status == 0
    assert any(kernel.startswith("swap_ab") for kernel in dense)
    assert any(kernel.startswith("seesaw") for kernel in dense)
    for call in calls:
        assert bool(call["kernel"]) is not bool(call["refusal"])


def test_exit_status():
    assert run("--need", "cpu")[0] == 0
    status, output, errors = run("--need", "cpu", FLASHMLA_BACKEND="cuda")
    assert (status, errors) == (1, "the backend cpu cannot be used here\n")
    assert "filtered out by FLASHMLA_BACKEND=cuda" in output and "calls on cpu" not in output
    assert run("--need", "tpu")[0] == 2


def test_a_problem_is_status_1(tmp_path):
    info = tmp_path / "sgl_flash_mla-1.0.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sgl-flash-mla\nVersion: 1.0.0\n")
    (info / "top_level.txt").write_text("flash_mla\n")
    own = tmp_path / "flash_mla_as_installed-1.0.0.dist-info"
    own.mkdir()
    (own / "METADATA").write_text("Metadata-Version: 2.1\nName: flash_mla\nVersion: 1.0.0\n")
    (own / "top_level.txt").write_text("flash_mla\n")
    paths = os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(tmp_path)])
    status, output, _ = run(PYTHONPATH=paths.strip(os.pathsep))
    assert status == 1 and "problem: the distributions" in output
