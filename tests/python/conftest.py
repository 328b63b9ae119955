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
    if "fw" in metafunc.fixturenames and not hasattr(metafunc.module, "torch"):
        metafunc.parametrize("fw", frameworks.all_of_them(), indirect=True)


@pytest.fixture
def fw(request):
    """A framework with a device: see frameworks.py."""
    reason = request.param.unavailable()
    if reason:
        pytest.skip(reason)
    return request.param
