"""flash_mla_sparse_fwd."""

import cases
import numpy
import pytest
import reference
from flash_mla import flash_mla_sparse_fwd


@pytest.fixture(autouse=True)
def _served(fw):
    if fw.device == "cuda":
        pytest.skip("the CUDA backend has no sparse prefill yet")


def check(fw, results, wanted):
    out, most, lse = (fw.numbers(result) for result in results)
    wanted_out, max_wanted, wanted_lse = wanted
    reference.check(out, lse, wanted_out, wanted_lse)
    assert most.shape == max_wanted.shape
    empty = numpy.isinf(max_wanted)
    assert (most[empty] == -numpy.inf).all() and empty[0].all()
    near, wanted = most[~empty], max_wanted[~empty]
    assert (numpy.abs(near - wanted) <= 1e-4 * numpy.maximum(1, numpy.abs(wanted))).all()


@pytest.mark.parametrize("d", [576, 512])
@pytest.mark.parametrize("h_q", [1, 6, 128])
def test_matches_the_reference(fw, rng, d, h_q):
    tensors, values = cases.prefill(fw, rng, h_q=h_q, d=d)
    check(fw, flash_mla_sparse_fwd(*tensors, 0.05), reference.prefill(*values, 0.05))


def test_sink_and_lengths(fw, rng):
    tensors, values = cases.prefill(fw, rng)
    sink, counts = rng.standard_normal(6), rng.integers(0, 21, 5)
    results = flash_mla_sparse_fwd(
        *tensors, 0.05, 512, fw.array(sink, "fp32"), fw.array(counts, "i32")
    )
    wanted = reference.prefill(*values, 0.05, sink, counts)
    out, _, lse = (fw.numbers(result) for result in results)
    reference.check(out, lse, wanted[0], wanted[2])


def test_given_outputs_are_returned(fw, rng):
    tensors, values = cases.prefill(fw, rng)
    given = [fw.full((5, 6, 512), numpy.nan, "bf16")]
    given += [fw.full((5, 6), numpy.nan, "fp32") for _ in range(2)]
    results = flash_mla_sparse_fwd(
        *tensors, sm_scale=0.05, d_v=512, out=given[0], max_logits=given[1], lse=given[2]
    )
    assert all(result is wanted for result, wanted in zip(results, given))
    check(fw, results, reference.prefill(*values, 0.05))


def test_calls_that_differ_in_one_size(fw, rng):
    """A plan may be kept from call to call, but only for the same problem."""
    same = {"s_q": 5, "h_q": 6, "s_kv": 70, "topk": 20}
    for other in ({}, {"h_q": 4}, {"s_q": 4}, {"topk": 7}, {"s_kv": 30}, {"d": 512}):
        for sizes in ({}, other):
            tensors, values = cases.prefill(fw, rng, **{**same, **sizes})
            check(fw, flash_mla_sparse_fwd(*tensors, 0.05), reference.prefill(*values, 0.05))


def test_no_query_tokens(fw, rng):
    tensors, _ = cases.prefill(fw, rng)
    out, most, lse = flash_mla_sparse_fwd(tensors[0][:0], tensors[1], tensors[2][:0], 0.05)
    assert tuple(out.shape) == (0, 6, 512) and tuple(most.shape) == tuple(lse.shape) == (0, 6)
