"""LMDeploy 0.18.0 with this package as its flash_mla: every call that it makes.

engine_trees/lmdeploy has its modules, as far as they have to do with flash_mla.
"""

import importlib

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import frameworks  # noqa: E402
import reference  # noqa: E402
from cases import normal, quantised  # noqa: E402
from engine_trees import trees  # noqa: E402

FRAMEWORKS = frameworks.torch_devices()
ATTENTION = "lmdeploy.pytorch.backends.cuda.attention"
LAYERS = 2


@pytest.fixture(autouse=True)
def lmdeploy():
    with trees.installed(), torch.inference_mode():
        yield


def module(name):
    return importlib.import_module(f"{ATTENTION}.{name}")


def lists(rng, shape, slots):
    indices = rng.integers(0, slots, shape)
    indices[rng.random(shape) < 0.2] = -1
    return indices


def check(fw, out, wanted):
    """Out alone: LMDeploy drops the lse."""
    reference.check(fw.numbers(out).reshape(wanted[0].shape), wanted[1], *wanted)


@pytest.mark.parametrize("s_q", [1, 2])
def test_dense_decoding(fw, rng, s_q):
    b, heads, pages = 3, 8, 20
    mla = module("mla").FlashMLAImpl(heads, 0.06)
    mla.make_cudagraph_buffer(b, s_q, fw.device)
    for _ in range(2):
        lengths = rng.integers(s_q, 300, b)
        table = rng.permutation(pages)[: b * 5].reshape(b, 5)
        kv_seqlens = fw.array(lengths, "i64")
        mla.fill_cudagraph_buffer(kv_seqlens, s_q)
        for _ in range(LAYERS):
            q, cache = normal(fw, rng, b * s_q, heads, 576), normal(fw, rng, pages, 64, 1, 576)
            out = mla.decoding_paged(q, cache, fw.array(table, "i32"), kv_seqlens)
            values = fw.numbers(q).reshape(b, s_q, heads, 576), fw.numbers(cache)
            check(fw, out, reference.dense(*values, table, lengths, 0.06, True))


@pytest.mark.parametrize("s_q", [1, 2])
def test_deepseek_v32_decoding_from_fp8(fw, rng, s_q):
    """Without padded heads: LMDeploy pads for a schedule that is an object."""
    b, heads, topk = 2, 8, 64
    mla = module("mla").FlashMLAImpl(heads, 0.05, index_topk=topk, is_fp8_kvcache=True)
    mla.make_cudagraph_buffer(b, s_q, fw.device)
    for _ in range(2):
        kv_seqlens = fw.array(rng.integers(s_q, 200, b), "i64")
        mla.fill_cudagraph_buffer(kv_seqlens, s_q)
        for _ in range(LAYERS):
            q = normal(fw, rng, b * s_q, heads, 576)
            cache, rows = quantised(fw, normal(fw, rng, 4, 64, 1, 576), "v32")
            indices = lists(rng, (b, s_q, topk), 256)
            out = mla.decoding_paged(
                q, cache.view(torch.float8_e4m3fn), fw.full((b, 4), 0, "i32"), kv_seqlens,
                indices=fw.array(indices, "i32"), causal=False,
            )  # fmt: skip
            values = fw.numbers(q).reshape(b, s_q, heads, 576), rows, indices
            check(fw, out, reference.sparse(*values, 0.05))


@pytest.mark.parametrize("page_stride", [64 * 576, 64 * 576 + 128])
def test_deepseek_v32_decoding_from_bf16(prefill_fw, rng, page_stride):
    """Rows that overlap: an index names every 64th element of the cache's memory."""
    fw, tokens, heads = prefill_fw, 3, 8
    memory = normal(fw, rng, 4 * page_stride)
    cache = memory.as_strided((4, 64, 1, 576), (page_stride, 576, 576, 1))
    q, slots = normal(fw, rng, tokens, heads, 576), lists(rng, (tokens, 48), 256)
    out = module("sparse_mla").decoding_sparse_bf16(q, cache, fw.array(slots, "i32"), 0.05)
    rows = fw.numbers(cache).reshape(256, 1, 576)
    wanted = reference.prefill(fw.numbers(q), rows, slots[:, None], 0.05)
    check(fw, out, (wanted[0], wanted[2]))


def test_deepseek_v32_prefill(prefill_fw, rng):
    fw = prefill_fw
    q, kv, indices = (
        normal(fw, rng, 5, 8, 576),
        normal(fw, rng, 90, 1, 576),
        lists(rng, (5, 1, 32), 90),
    )
    out = module("sparse_mla").prefill_sparse(q, kv, fw.array(indices, "i32"), 0.05)
    wanted = reference.prefill(fw.numbers(q), fw.numbers(kv), indices, 0.05)
    check(fw, out, (wanted[0], wanted[2]))


def test_deepseek_v4(fw, rng):
    b, heads = 2, 64
    v4 = module("v4").TritonV4AttentionImpl(512, 0.04)
    sink = rng.standard_normal(heads)
    counts, extra_counts = rng.integers(1, 65, b), rng.integers(1, 129, b)
    for _ in range(LAYERS):
        q = normal(fw, rng, b, 1, heads, 512)
        cache, rows = quantised(fw, normal(fw, rng, 3, 64, 1, 512), "v4")
        window, window_rows = quantised(fw, normal(fw, rng, 2, 128, 1, 512), "v4")
        indices, extra = lists(rng, (b, 1, 64), 192), lists(rng, (b, 1, 128), 256)
        out = v4.decode(
            q, cache.squeeze(2), fw.array(indices, "i32"), fw.array(counts, "i32"),
            fw.array(sink, "fp32"), window, fw.array(extra, "i32"), fw.array(extra_counts, "i32"),
        )  # fmt: skip
        second = window_rows, extra, extra_counts
        check(fw, out, reference.sparse(fw.numbers(q), rows, indices, 0.04, sink, counts, second))
    if fw.device == "cuda":
        return  # the CUDA backend has no sparse prefill yet
    kv, indices, counts = normal(fw, rng, 70, 1, 512), lists(rng, (4, 1, 64), 70), [1, 64, 30, 64]
    q = normal(fw, rng, 4, heads, 512)
    out = v4.prefill(
        q, kv, fw.array(indices, "i32"), fw.array(sink, "fp32"), fw.array(counts, "i32")
    )
    wanted = reference.prefill(fw.numbers(q), fw.numbers(kv), indices, 0.04, sink, counts)
    check(fw, out, (wanted[0], wanted[2]))
