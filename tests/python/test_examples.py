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


WAYS = ["--interleave", "64", "1", "0"]  # pages in turn, tokens in turn, a run for each rank
SPARSE = ["--kind", "sparse", "--kv-format", "bf16", "v32", "v4"]


def context_parallel(ranks, backend, results, *arguments):
    report = run("context_parallel.py", "--ranks", str(ranks), *arguments)
    assert report.count(f"{ranks} ranks on {backend}, ") == results
    assert report.count("equal to the single rank") == results


@pytest.mark.parametrize("ranks, empty", [(1, "+inf"), (2, "-inf"), (3, "+inf"), (4, "+inf")])
def test_context_parallel_dense(ranks, empty):
    exchanges = ["gather"] if ranks == 3 else ["gather", "heads"]  # of 16 heads
    arguments = [*WAYS, f"--empty-lse={empty}", "--exchange", *exchanges, "--device", "cpu"]
    context_parallel(ranks, "gloo", 3 * len(exchanges), *arguments)


@pytest.mark.parametrize("ranks, empty", [(2, "+inf"), (2, "-inf"), (4, "-inf")])
def test_context_parallel_sparse(ranks, empty):
    arguments = [*SPARSE, *WAYS, f"--empty-lse={empty}", "--device", "cpu"]
    context_parallel(ranks, "gloo", 9, *arguments)


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_context_parallel_on_two_gpus(kind):
    if torch.cuda.device_count() < 2:
        pytest.skip(f"{torch.cuda.device_count()} GPUs, wanted 2")
    if frameworks.Torch("cuda").unavailable():
        pytest.skip(frameworks.Torch("cuda").unavailable())
    if kind == "sparse":
        pytest.skip("the CUDA backend has no quantise() yet")
    context_parallel(2, "nccl", 6, "--kind", kind, *WAYS, "--exchange", "gather", "heads")


@pytest.mark.parametrize("interleave", [1, 3, 64, 192, 0])
@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_tokens_of_a_rank(ranks, interleave, monkeypatch):
    """Each token belongs to one rank, where the first ones lie without a gap."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    from context_parallel import Deal

    deals = [Deal(interleave, rank, ranks, 13) for rank in range(ranks)]
    tokens = torch.arange(13 * 64)
    assert (sum(deal.holds(tokens).int() for deal in deals) == 1).all()
    for deal in deals:
        places = deal.place(tokens[deal.holds(tokens)])
        assert places.tolist() == list(range(len(places)))
        held = torch.cat([torch.zeros(1), deal.holds(tokens).cumsum(0)]).int()
        assert deal.length(torch.arange(len(tokens) + 1)).tolist() == held.tolist()
