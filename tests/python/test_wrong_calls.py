"""Each argument of the drop-in functions spoiled once: the error names it, given and wanted."""

import pytest
from flash_mla import flash_mla_sparse_fwd, flash_mla_with_kvcache, get_mla_metadata


def dense(fw):
    return {
        "q": fw.full((2, 1, 8, 576), 0.0, "bf16"),
        "k_cache": fw.full((4, 64, 1, 576), 0.0, "bf16"),
        "block_table": fw.full((2, 2), 0, "i32"),
        "cache_seqlens": fw.full((2,), 5, "i32"),
        "head_dim_v": 512,
        "tile_scheduler_metadata": get_mla_metadata()[0],
    }


def sparse(fw):
    return {
        **dense(fw),
        "k_cache": fw.full((4, 64, 1, 656), 0, "u8"),
        "is_fp8_kvcache": True,
        "indices": fw.full((2, 1, 16), 0, "i32"),
    }


def prefill(fw):
    return {
        "q": fw.full((2, 8, 576), 0.0, "bf16"),
        "kv": fw.full((9, 1, 576), 0.0, "bf16"),
        "indices": fw.full((2, 1, 16), 0, "i32"),
        "sm_scale": 0.1,
    }


V, T, N = ValueError, TypeError, NotImplementedError
DENSE = [
    ("q", lambda fw: None, T),
    ("q", lambda fw: 3.0, T),
    ("q", lambda fw: fw.full((2, 8, 576), 0.0, "bf16"), V),
    ("q", lambda fw: fw.full((2, 1, 8, 576), 0.0, "fp32"), V),
    ("q", lambda fw: fw.full((2, 1, 0, 576), 0.0, "bf16"), V),
    ("k_cache", lambda fw: None, T),
    ("k_cache", lambda fw: fw.full((4, 64, 576), 0.0, "bf16"), V),
    ("k_cache", lambda fw: fw.full((4, 64, 1, 512), 0.0, "bf16"), V),
    ("k_cache", lambda fw: fw.full((4, 64, 1, 576), 0.0, "fp16"), V),
    ("k_cache", lambda fw: fw.full((4, 64, 1, 656), 0, "u8"), N),
    ("k_cache", lambda fw: fw.full((4, 64, 1, 1152), 0.0, "bf16")[..., ::2], V),
    ("block_table", lambda fw: None, T),
    ("block_table", lambda fw: fw.full((3, 2), 0, "i32"), V),
    ("block_table", lambda fw: fw.full((2,), 0, "i32"), V),
    ("block_table", lambda fw: fw.full((2, 2), 0, "i64"), V),
    ("cache_seqlens", lambda fw: None, T),
    ("cache_seqlens", lambda fw: fw.full((3,), 5, "i32"), V),
    ("cache_seqlens", lambda fw: fw.full((2,), 5, "i64"), V),
    ("cache_seqlens", lambda fw: fw.full((4,), 5, "i32")[::2], V),
    ("head_dim_v", lambda fw: 256, V),
    ("head_dim_v", lambda fw: None, V),
    ("tile_scheduler_metadata", lambda fw: None, T),
    ("tile_scheduler_metadata", lambda fw: "plan", T),
    ("softmax_scale", lambda fw: True, T),
    ("softmax_scale", lambda fw: False, T),
    ("softmax_scale", lambda fw: "0.1", T),
    ("softmax_scale", lambda fw: float("nan"), V),
    ("causal", lambda fw: 0.1, T),
    ("is_fp8_kvcache", lambda fw: 1, T),
    ("attn_sink", lambda fw: fw.full((9,), 0.0, "fp32"), V),
    ("attn_sink", lambda fw: fw.full((8,), 0.0, "bf16"), V),
    ("extra_k_cache", lambda fw: fw.full((4, 64, 1, 576), 0.0, "bf16"), V),
    ("extra_indices_in_kvcache", lambda fw: fw.full((2, 1, 4), 0, "i32"), V),
    ("topk_length", lambda fw: fw.full((2,), 0, "i32"), V),
    ("extra_topk_length", lambda fw: fw.full((2,), 0, "i32"), V),
    ("out", lambda fw: fw.full((2, 1, 8, 576), 0.0, "bf16"), V),
    ("out", lambda fw: fw.full((2, 1, 8, 512), 0.0, "fp16"), V),
    ("out", lambda fw: fw.full((2, 1, 8, 1024), 0.0, "bf16")[..., ::2], V),
    ("lse", lambda fw: fw.full((2, 1, 8), 0.0, "fp32"), V),
    ("lse", lambda fw: fw.full((2, 8, 1), 0.0, "bf16"), V),
]
SPARSE = [
    ("q", lambda fw: fw.full((2, 1, 8, 576), 0.0, "fp16"), V),
    ("q", lambda fw: fw.full((2, 1, 8, 500), 0.0, "bf16"), V),
    ("k_cache", lambda fw: fw.full((4, 64, 1, 584), 0, "u8"), V),
    ("k_cache", lambda fw: fw.full((4, 64, 2, 656), 0, "u8"), V),
    ("k_cache", lambda fw: fw.full((4, 65, 1, 656), 0, "u8")[:, ::2], V),
    ("is_fp8_kvcache", lambda fw: False, V),
    ("indices", lambda fw: fw.full((2, 16), 0, "i32"), V),
    ("indices", lambda fw: fw.full((3, 1, 16), 0, "i32"), V),
    ("indices", lambda fw: fw.full((2, 1, 16), 0, "i64"), V),
    ("causal", lambda fw: True, V),
    ("attn_sink", lambda fw: fw.full((9,), 0.0, "fp32"), V),
    ("topk_length", lambda fw: fw.full((3,), 0, "i32"), V),
    ("topk_length", lambda fw: fw.full((2,), 0, "i64"), V),
    ("extra_topk_length", lambda fw: fw.full((2,), 0, "i32"), V),
    ("lse", lambda fw: fw.full((2, 8, 2), 0.0, "fp32"), V),
]
PREFILL = [
    ("q", lambda fw: None, T),
    ("q", lambda fw: fw.full((1, 2, 8, 576), 0.0, "bf16"), V),
    ("q", lambda fw: fw.full((2, 8, 576), 0.0, "fp16"), V),
    ("kv", lambda fw: fw.full((9, 576), 0.0, "bf16"), V),
    ("kv", lambda fw: fw.full((9, 1, 512), 0.0, "bf16"), V),
    ("kv", lambda fw: None, T),
    ("indices", lambda fw: fw.full((2, 16), 0, "i32"), V),
    ("indices", lambda fw: fw.full((2, 1, 16), 0.0, "fp32"), V),
    ("sm_scale", lambda fw: None, T),
    ("sm_scale", lambda fw: True, T),
    ("sm_scale", lambda fw: float("inf"), V),
    ("d_v", lambda fw: 576, V),
    ("attn_sink", lambda fw: fw.full((7,), 0.0, "fp32"), V),
    ("topk_length", lambda fw: fw.full((3,), 0, "i32"), V),
    ("out", lambda fw: fw.full((2, 8, 576), 0.0, "bf16"), V),
    ("max_logits", lambda fw: fw.full((8, 2), 0.0, "fp32"), V),
    ("max_logits", lambda fw: fw.full((2, 16), 0.0, "fp32")[:, ::2], V),
    ("lse", lambda fw: fw.full((2, 8), 0.0, "bf16"), V),
    ("lse", lambda fw: fw.full((2, 16), 0.0, "fp32")[:, ::2], V),
]
# Where no single tensor is wrong, but two of them do not fit together, either may be named.
PARTNERS = {
    "indices": "indices|topk",
    "causal": "causal",
    "q": "q|query_heads|qk_dim|k_cache|kv",
    "k_cache": "k_cache|kv_heads|is_fp8_kvcache",
    "kv": "kv",
}


def names(table):
    return [f"{name}-{i}" for i, (name, _, _) in enumerate(table)]


def check(function, call, name, spoiled, kind):
    function(**call)
    fresh = {**call, name: spoiled}
    if "tile_scheduler_metadata" in call and name != "tile_scheduler_metadata":
        fresh["tile_scheduler_metadata"] = get_mla_metadata()[0]
    with pytest.raises(kind, match=f"^({PARTNERS.get(name, name)}): given .*, wanted ") as caught:
        function(**fresh)
    assert type(caught.value) is kind and caught.value.given and caught.value.wanted
    function(**call)


@pytest.mark.parametrize("name, spoil, kind", DENSE, ids=names(DENSE))
def test_dense(fw, name, spoil, kind):
    check(flash_mla_with_kvcache, dense(fw), name, spoil(fw), kind)


@pytest.mark.parametrize("name, spoil, kind", SPARSE, ids=names(SPARSE))
def test_sparse(fw, name, spoil, kind):
    check(flash_mla_with_kvcache, sparse(fw), name, spoil(fw), kind)


@pytest.mark.parametrize("name, spoil, kind", PREFILL, ids=names(PREFILL))
def test_prefill(fw, name, spoil, kind):
    if fw.device == "cuda":
        pytest.skip("the CUDA backend has no sparse prefill yet")
    check(flash_mla_sparse_fwd, prefill(fw), name, spoil(fw), kind)


@pytest.mark.parametrize("missing", ["extra_k_cache", "extra_indices_in_kvcache"])
def test_extra_cache_and_its_lists_come_together(fw, missing):
    call = sparse(fw)
    call["extra_k_cache"] = call["k_cache"]
    call["extra_indices_in_kvcache"] = call["indices"]
    flash_mla_with_kvcache(**call)
    call[missing] = None
    call["tile_scheduler_metadata"] = get_mla_metadata()[0]
    with pytest.raises(ValueError, match=f"^{missing}: given None"):
        flash_mla_with_kvcache(**call)


def test_prefill_is_refused_by_name_where_it_is_missing(fw):
    if fw.device != "cuda":
        pytest.skip("the CPU backend has it")
    with pytest.raises(NotImplementedError, match="sparse_prefill"):
        flash_mla_sparse_fwd(**prefill(fw))
