"""Memory stays constant however often each form of the calls is used."""

import contextlib
import copy
import ctypes
import gc
import os

import pytest
from flash_mla import FlashMLASchedMeta, flash_mla_with_kvcache, get_mla_metadata

CALLS = 20_000
MOST_GROWTH = 1 << 20


def resident():
    """Bytes of memory that the process holds, after what can be given back has been."""
    gc.collect()
    with contextlib.suppress(AttributeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm") as figures:
        return int(figures.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Case:
    """One request of three tokens and one head, so that a call is nearly all overhead."""

    def __init__(self, fw):
        self.fw = fw
        self.lengths = fw.full((1,), 3, "i32")
        self.tensors = (
            fw.full((1, 1, 1, 576), 0.5, "bf16"),
            fw.full((1, 16, 1, 576), 0.5, "bf16"),
            fw.full((1, 1), 0, "i32"),
        )
        self.out, self.lse = fw.full((1, 1, 1, 512), 0.0, "bf16"), fw.full((1, 1, 1), 0.0, "fp32")
        self.reused = get_mla_metadata()[0]

    def decode(self, *schedule, lengths=None, **outputs):
        lengths = self.lengths if lengths is None else lengths
        flash_mla_with_kvcache(*self.tensors, lengths, 512, *schedule, **outputs)


def object_with_decode(case):
    case.decode(*get_mla_metadata())


def object_reused(case):
    case.decode(case.reused, out=case.out, lse=case.lse)


def object_copied(case):
    case.decode(copy.deepcopy(case.reused))


def tensors_alone(case):
    get_mla_metadata(case.lengths, 1, 1)


def tensors_with_decode(case):
    case.decode(*get_mla_metadata(case.lengths, 1, 1))


def tensors_in_an_object(case):
    work, splits = get_mla_metadata(case.lengths, 1, 1)
    case.decode(FlashMLASchedMeta(tile_scheduler_metadata=work, num_splits=splits))


def tensors_of_fresh_lengths(case):
    lengths = case.fw.full((1,), 2, "i32")
    case.decode(*get_mla_metadata(lengths, 1, 1), lengths=lengths)


FORMS = [
    object_with_decode, object_reused, object_copied, tensors_alone, tensors_with_decode,
    tensors_in_an_object, tensors_of_fresh_lengths,
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_constant(fw, form):
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("needs /proc")
    case = Case(fw)
    for _ in range(1000):
        form(case)
    before = resident()
    for _ in range(CALLS):
        form(case)
    assert resident() - before < MOST_GROWTH
