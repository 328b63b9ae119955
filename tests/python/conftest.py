"""Seeds and the frameworks whose tensors a test is run with."""

import os
import secrets

import frameworks
import numpy
import pytest

# Compiled graphs call the operators as they were when the graph was stored.
os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"


@pytest.fixture
def rng(request):
    """A generator with a fresh seed, which a failure prints; --seed repeats one."""
    seed = request.config.getoption("--seed")
    seed = secrets.randbits(32) if seed is None else seed
    print(f"repeat with: --seed {seed}")
    return numpy.random.default_rng(seed)


def pytest_addoption(parser):
    parser.addoption("--seed", type=int, default=None, help="of the random inputs")


def pytest_generate_tests(metafunc):
    # Tests of PyTorch alone say so by FRAMEWORKS, or have a fixture of their own.
    chosen = getattr(metafunc.module, "FRAMEWORKS", None)
    if chosen is None and not hasattr(metafunc.module, "torch"):
        chosen = frameworks.all_of_them()
    if "fw" in metafunc.fixturenames and chosen is not None:
        metafunc.parametrize("fw", chosen, indirect=True)


@pytest.fixture
def fw(request):
    """A framework with a device: see frameworks.py."""
    reason = request.param.unavailable()
    if reason:
        pytest.skip(reason)
    return request.param


@pytest.fixture
def prefill_fw(fw):
    """A framework and device for sparse prefill."""
    if fw.device == "cuda":
        pytest.skip("the CUDA backend has no sparse prefill yet")
    return fw
