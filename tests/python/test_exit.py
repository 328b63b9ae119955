"""The process ends while daemon threads are in calls: with status 0, and without a word."""

import os
import subprocess
import sys

import frameworks
import pytest

CALLS = """
import sys, threading, time
torch = None
if sys.argv[1] == "torch":
    import torch
else:
    sys.modules["torch"] = None  # quicker to begin with
import ml_dtypes, numpy, flash_mla

def tensor(array, kind):
    return array if torch is None else torch.from_numpy(array).to(getattr(torch, kind))

def zeros(*shape):
    array = numpy.zeros(shape, numpy.float32)
    return array.astype(ml_dtypes.bfloat16) if torch is None else tensor(array, "bfloat16")

q, cache = zeros(2, 1, 64, 576), zeros(64, 64, 1, 576)
table = tensor(numpy.arange(64, dtype=numpy.int32).reshape(2, 32), "int32")
lengths = tensor(numpy.full(2, 2048, numpy.int32), "int32")
slots = tensor(numpy.arange(4096, dtype=numpy.int32), "int32")
meta = flash_mla.get_mla_metadata()[0]
call = q, cache, table, lengths, 512

results = dict(zip(("out", "lse"), flash_mla.flash_mla_with_kvcache(*call, meta)))

def decode():
    flash_mla.flash_mla_with_kvcache(*call, meta, **results)

def helpers():
    flash_mla.append(cache, flash_mla.gather(cache, slots), slots)

def work(function):
    while True:
        function()
        began.set()

began = threading.Event()
# NOTE: what allocates through PyTorch, or is an operator of it, can abort in PyTorch itself.
for function in [decode, helpers] if torch is None else [decode]:
    function()
    threading.Thread(target=work, args=(function,), daemon=True).start()
began.wait()
time.sleep(float(sys.argv[2]))
"""


# With PyTorch one abort was seen in some 400 runs. Its cause was not found; before Python 3.14 a
# plain call of PyTorch can abort so (docs/python.md). The mistake that this test is for made 3 of 4
# runs abort.
@pytest.mark.parametrize("kind, runs, aborts", [("numpy", 20, 0), ("torch", 5, 1)])
def test_daemon_threads_in_a_call(kind, runs, aborts):
    if kind == "torch" and not frameworks.HAS_TORCH:
        pytest.skip("PyTorch is not installed")
    faults = []
    for i in range(runs):
        result = subprocess.run(
            [sys.executable, "-c", CALLS, kind, str(0.002 * i)], capture_output=True, text=True,
            env={**os.environ, "FLASHMLA_NUM_THREADS": "2"}, check=False, timeout=120,
        )  # fmt: skip
        if (result.returncode, result.stdout, result.stderr) != (0, "", ""):
            faults.append((i, result.returncode, result.stdout, result.stderr))
    assert len(faults) <= aborts, faults
