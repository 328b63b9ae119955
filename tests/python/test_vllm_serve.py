"""examples/vllm_serve.py: with vLLM on a GPU, and with workers that only speak as its own do."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import frameworks
import pytest

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"

# A worker without vLLM. Log-probabilities of a way differ from those of `own` by NOISE[way].
WORKER = """
import json, sys

NOISE = {"custom": 0.01, "replaced": 0.01, "own": 0.0, "flash_attn": 0.02, "triton": -0.01}
CALLS = {"custom": {"FlashMLA in capture": 4}, "replaced": {"FlashMLA": 3}, "own": {"vendored": 3}}
KERNELS = {"custom": "void flashmla::swap_ab", "replaced": "void flashmla::swap_ab"}
SPOILED
way = sys.argv[sys.argv.index("--way") + 1]
print("a line of the log")
print("RESULT " + json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    command, *numbers = line.split()
    if command == "end":
        break
    if command == "check":
        steps = [{str(token): -1.0 - token + NOISE[way]} for token in range(40)]
        row = {"tokens": list(range(40)), "logprobs": steps}
        result = {"rows": {"forced": [row] * 3, "free": [row]}, "calls": CALLS.get(way, {})}
    else:
        batch, context, steps = map(int, numbers)
        result = {"tokens_per_s": batch * 100.0, "attention_us_a_layer": context / 100}
        result["kernels"] = {KERNELS.get(way, "another"): 1.0}
    print("RESULT " + json.dumps(result), flush=True)
"""


@pytest.fixture
def examples(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    for name in ("vllm_model", "vllm_serve"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def run(tmp_path, monkeypatch, spoiled="", arguments=()):
    """(exit status) of the example with the worker above."""
    import vllm_serve

    worker = tmp_path / "worker.py"
    worker.write_text(WORKER.replace("SPOILED", spoiled))
    monkeypatch.setattr(vllm_serve, "WORKER", worker)
    given = ["--heads", "16", "--logs", str(tmp_path / "logs"), *arguments]
    return vllm_serve.main(given)


def test_agrees(examples, tmp_path, monkeypatch, capsys):
    assert run(tmp_path, monkeypatch, arguments=["--batches", "1", "64", "--rounds", "2"]) == 0
    report = capsys.readouterr().out
    assert report.endswith("FlashMLA agrees with vLLM's own backends\n")
    assert "eager: flash_attn and triton differ by 0.0300 in the mean" in report
    assert "graphs: own and custom differ by 0.0100, p99 0.0100, at most 0.0100" in report
    assert "custom, forced: 3 of 3 requests equal, eager and in graphs" in report
    assert "batch 64, context 8192      6400.0" in report
    assert "custom: void flashmla::" in report
    assert "a line of the log" in (tmp_path / "logs" / "own-16-eager.log").read_text()


@pytest.mark.parametrize(
    ("spoiled", "fault"),
    [
        ('NOISE["custom"] = 0.05', "custom, eager: the mean difference 0.0500 is too large"),
        ('NOISE["custom"] = float("nan")', "custom, graphs: the mean difference nan is too"),
        ("NOISE.update(custom=0.1, triton=0.9)", "custom, eager: the p99 of the differences 0.1"),
        ('CALLS["custom"] = {}', "custom, graphs: FlashMLA was called 0 times, the vendored 0"),
        ('CALLS["replaced"]["vendored"] = 1', "replaced, eager: FlashMLA was called 3 times"),
        ('CALLS["own"] = {"FlashMLA": 1}', "own, eager: FlashMLA was called 1 times"),
        ('KERNELS["custom"] = "another"', "custom, batch 1, context 1024: FlashMLA's kernels are"),
        ('KERNELS["own"] = "flashmla::x"', "own, batch 16, context 8192: FlashMLA's kernels are r"),
    ],
)
def test_disagrees(examples, tmp_path, monkeypatch, capsys, spoiled, fault):
    assert run(tmp_path, monkeypatch, spoiled, ["--rounds", "1"]) == 1
    report = capsys.readouterr().out
    assert f"WRONG: {fault}" in report and "agrees" not in report


def test_a_worker_ends(examples, tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match="a worker has ended with 3: see .*custom-16-eager.log"):
        run(tmp_path, monkeypatch, "sys.exit(3)")


def test_compare_ends_where_tokens_part(examples):
    from vllm_model import compare, statistics_of

    def row(tokens, *logprobs):
        return {"tokens": tokens, "logprobs": [{"7": value} for value in logprobs]}

    first, other = row([1, 2, 3], -1.0, -2.0, -3.0), row([1, 9, 3], -1.5, -2.25, -9.0)
    assert compare([first, first], [other, first]) == ([0.0, 0.0, 0.0, 0.25, 0.5], 1)
    assert statistics_of([0.0, 0.25, 0.5]) == (0.25, 0.5, 0.5)
    assert all(value != value for value in statistics_of([]))


def test_model(examples, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    import vllm_model

    vllm_model.write_config(tmp_path / "model", 128, 3, 8192)
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["num_attention_heads"] == 128 and config["first_k_dense_replace"] == 3
    assert config["kv_lora_rank"] + config["qk_rope_head_dim"] == 576
    models = [
        torch.nn.Sequential(torch.nn.Embedding(64, 32), torch.nn.Linear(32, 16)) for _ in "ab"
    ]
    for model in models:
        vllm_model.fill_weights(model)
    for one, other in zip(models[0].parameters(), models[1].parameters()):
        assert torch.equal(one, other)
    embedding, weight, bias = models[0].parameters()
    assert 0.9 < embedding.std() < 1.1 and 0.15 < weight.std() < 0.21 and not bias.any()
    prompts = vllm_model.prompts_of(vllm_model.PROMPT_LENGTHS, 7)
    assert [len(prompt) for prompt in prompts] == list(vllm_model.PROMPT_LENGTHS)
    assert prompts[1] != prompts[2] and prompts == vllm_model.prompts_of([*map(len, prompts)], 7)


@pytest.mark.gpu
def test_serve():
    """vLLM with FlashMLA and with its own FlashMLA and Triton kernels."""
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed")
    if frameworks.Torch("cuda").unavailable():
        pytest.skip(frameworks.Torch("cuda").unavailable())
    command = [sys.executable, str(EXAMPLES / "vllm_serve.py"), "--heads", "16", "--rounds", "1"]
    command += ["--ways", "custom", "replaced", "own", "triton", "--batches", "4"]
    result = subprocess.run(command, capture_output=True, text=True)
    print(result.stdout, result.stderr)
    assert result.returncode == 0
