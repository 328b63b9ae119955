"""Dimensions of size 0: results are empty, or those of queries that see no token, or unchanged."""

import cases
import numpy
import pytest
from flash_mla import (
    FlashMLASchedMeta,
    flash_mla_sparse_fwd,
    flash_mla_with_kvcache,
    get_mla_metadata,
)


def schedules(fw, lengths, rows=8):
    """Every form of the schedule."""
    yield (get_mla_metadata()[0],)
    work, splits = get_mla_metadata(lengths, rows, 1)
    yield work, splits
    yield (FlashMLASchedMeta(tile_scheduler_metadata=work, num_splits=splits),)


@pytest.mark.parametrize("b, s_q", [(2, 0), (0, 1), (0, 0)])
def test_no_queries(fw, b, s_q):
    q, cache = fw.full((b, s_q, 8, 576), 0.0, "bf16"), fw.full((4, 16, 1, 576), 0.5, "bf16")
    table, lengths = fw.full((b, 2), 0, "i32"), fw.full((b,), 5, "i32")
    for schedule in schedules(fw, lengths):
        for _ in range(2):
            out, lse = flash_mla_with_kvcache(q, cache, table, lengths, 512, *schedule)
            assert tuple(out.shape) == (b, s_q, 8, 512) and tuple(lse.shape) == (b, 8, s_q)


@pytest.mark.parametrize("pages, width", [(4, 0), (0, 0), (0, 2)])
def test_no_tokens(fw, pages, width):
    q, cache = fw.full((2, 1, 8, 576), 1.0, "bf16"), fw.full((pages, 16, 1, 576), 0.5, "bf16")
    table, lengths = fw.full((2, width), -1, "i32"), fw.full((2,), 0, "i32")
    for schedule in schedules(fw, lengths):
        out, lse = flash_mla_with_kvcache(q, cache, table, lengths, 512, *schedule)
        assert (fw.numbers(out) == 0).all() and (fw.numbers(lse) == numpy.inf).all()


def test_lists_without_entries(fw, rng):
    case = cases.sparse(fw, rng, h_q=8)
    none = fw.full((2, 2, 0), 0, "i32")

    def decode(indices, **extra):
        meta = get_mla_metadata()[0]
        return flash_mla_with_kvcache(
            case.q, case.cache, None, None, 512, meta, is_fp8_kvcache=True, indices=indices, **extra
        )

    out, lse = decode(none)
    assert (fw.numbers(out) == 0).all() and (fw.numbers(lse) == numpy.inf).all()
    plain = decode(case.indices)
    counts = fw.full((2,), 0, "i32")
    for more in ({}, {"extra_topk_length": counts}):
        extra = {"extra_k_cache": case.cache, "extra_indices_in_kvcache": none, **more}
        assert all(fw.same(a, b) for a, b in zip(decode(case.indices, **extra), plain))
    # Empty here, full there: the same tokens.
    swapped = decode(none, extra_k_cache=case.cache, extra_indices_in_kvcache=case.indices)
    for result, wanted in zip(swapped, plain):
        assert numpy.allclose(fw.numbers(result), fw.numbers(wanted), atol=2**-7)


@pytest.mark.parametrize("s_q, s_kv, topk", [(0, 9, 4), (3, 0, 4), (3, 9, 0), (0, 0, 0)])
def test_prefill(prefill_fw, s_q, s_kv, topk):
    fw = prefill_fw
    q, kv = fw.full((s_q, 8, 576), 1.0, "bf16"), fw.full((s_kv, 1, 576), 0.5, "bf16")
    out, most, lse = flash_mla_sparse_fwd(q, kv, fw.full((s_q, 1, topk), 0, "i32"), 0.1)
    assert tuple(out.shape) == (s_q, 8, 512)
    assert tuple(most.shape) == tuple(lse.shape) == (s_q, 8)
    assert (fw.numbers(out) == 0).all() and (fw.numbers(most) == -numpy.inf).all()
    assert (fw.numbers(lse) == numpy.inf).all()


def test_what_may_not_be_empty(fw):
    table, lengths = fw.full((2, 2), 0, "i32"), fw.full((2,), 5, "i32")
    for q, cache, name, part in [
        ((2, 1, 0, 576), (4, 16, 1, 576), "q", "h_q"),
        ((2, 1, 8, 0), (4, 16, 1, 0), "q", "d_qk"),
        ((2, 1, 8, 576), (4, 0, 1, 576), "k_cache", "page_block_size"),
        ((2, 1, 8, 576), (4, 16, 0, 576), "k_cache", "h_kv"),
    ]:
        tensors = fw.full(q, 0.0, "bf16"), fw.full(cache, 0.0, "bf16"), table, lengths
        with pytest.raises(ValueError, match=f"^{name}: given {part} = 0, wanted ") as caught:
            flash_mla_with_kvcache(*tensors, 512, get_mla_metadata()[0])
        assert caught.value.argument == name
