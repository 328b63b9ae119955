"""SGLang 0.5.23 with this package in the place of sgl-flash-mla: every call that it makes.

engine_trees/sglang has its modules, as far as they have to do with flash_mla. The tests drive them
as SGLang's runner does: metadata once a step, then the layers, each with a cache of its own.
"""

import importlib
import importlib.metadata
import sys

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import frameworks  # noqa: E402
import numpy  # noqa: E402
import reference  # noqa: E402
from cases import normal, quantised  # noqa: E402
from engine_trees import trees  # noqa: E402

FRAMEWORKS = frameworks.torch_devices()
LAYERS = 2
ATTENTION = "sglang.srt.layers.attention"


@pytest.fixture(autouse=True)
def sglang():
    """SGLang runs its models in inference mode."""
    with trees.installed(), torch.inference_mode():
        yield


def backend_of(name):
    return importlib.import_module(f"{ATTENTION}.{name}")


def check(fw, out, lse, wanted):
    """Without an lse, where the engine drops it."""
    reference.check(fw.numbers(out), wanted[1] if lse is None else fw.numbers(lse), *wanted)


class DenseStep:
    """A step's requests: lengths with the s_q query tokens, and their block table."""

    def __init__(self, fw, rng, b, s_q, pages):
        lengths = rng.integers(s_q, 300, b)
        width = -(-int(lengths.max()) // 64)
        self.numbers = rng.permutation(pages)[: b * width].reshape(b, width)
        self.lengths = lengths
        self.seq_lens, self.table = fw.array(lengths, "i64"), fw.array(self.numbers, "i32")

    def layer(self, fw, rng, backend, s_q, heads, pages):
        b = len(self.lengths)
        q, cache = normal(fw, rng, b * s_q, heads, 576), normal(fw, rng, pages * 64, 1, 576)
        out, lse = backend.forward(q, cache, self.seq_lens, 0.06)
        values = fw.numbers(q).reshape(b, s_q, heads, 576), fw.numbers(cache)
        wanted = reference.dense(
            values[0], values[1].reshape(pages, 64, 1, 576), self.numbers, self.lengths, 0.06, True
        )
        check(fw, out, lse, wanted)


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("s_q", [1, 3])
def test_dense_decoding_and_verification(fw, rng, s_q, graph):
    heads, pages = 8, 24
    backend = backend_of("flashmla_backend").FlashMLABackend(
        heads, pages, torch.bfloat16, s_q, fw.device
    )
    backend.init_cuda_graph_state(4, 1024)
    for b in (4, 2, 4):
        step = DenseStep(fw, rng, b, s_q, pages)
        init = backend.init_forward_metadata
        (backend.init_forward_metadata_out_graph if graph else init)(step.seq_lens, step.table, s_q)
        for _ in range(LAYERS):
            step.layer(fw, rng, backend, s_q, heads, pages)


def test_dense_fp8_says_that_it_has_no_kernel(fw, rng):
    backend = backend_of("flashmla_backend").FlashMLABackend(
        8, 8, torch.float8_e4m3fn, 1, fw.device
    )
    step = DenseStep(fw, rng, 1, 1, 8)
    backend.init_forward_metadata(step.seq_lens, step.table)
    cache = normal(fw, rng, 8 * 64, 1, 576).to(torch.float8_e4m3fn)
    with pytest.raises(NotImplementedError, match="no kernel yet") as caught:
        backend.forward(normal(fw, rng, 1, 8, 576), cache, step.seq_lens, 0.06)
    assert caught.value.argument in ("q", "k_cache", "descale_q")


def lists(rng, shape, slots):
    indices = rng.integers(0, slots, shape)
    indices[rng.random(shape) < 0.2] = -1
    return indices


@pytest.mark.parametrize("byte_type", ["u8", "e4m3"])
def test_deepseek_v32_decoding(fw, rng, byte_type):
    tokens, heads, topk = 3, 16, 128
    backend = backend_of("dsa_backend").DeepseekSparseAttnBackend(heads, topk)
    lens = fw.full((tokens,), topk, "i32")
    for _ in range(2):
        backend._compute_flashmla_metadata(lens)
        for _ in range(LAYERS):
            q, plain = normal(fw, rng, tokens, heads, 576), normal(fw, rng, 4, 64, 1, 576)
            cache, rows = quantised(fw, plain, "v32")
            indices = lists(rng, (tokens, topk), 256)
            out = backend._forward_flashmla_kv(
                q, cache.view(getattr(torch, frameworks.TORCH_TYPES[byte_type])), 512, 0.05,
                lens, fw.array(indices, "i32"),
            )  # fmt: skip
            wanted = reference.sparse(fw.numbers(q)[:, None], rows, indices[:, None], 0.05)
            check(fw, out, None, wanted)


@pytest.mark.parametrize("with_sink", [False, True])
def test_deepseek_v32_prefill(prefill_fw, rng, with_sink):
    fw, tokens, heads = prefill_fw, 5, 16
    backend = backend_of("dsa_backend").DeepseekSparseAttnBackend(heads, 64)
    q, kv = normal(fw, rng, tokens, heads, 576), normal(fw, rng, 200, 1, 576)
    indices, counts = lists(rng, (tokens, 64), 200), rng.integers(1, 65, tokens)
    sink = rng.standard_normal(heads) if with_sink else None
    out = backend._forward_flashmla_sparse(
        q, kv, 512, fw.array(indices, "i32"), 0.05, fw.array(counts, "i32"),
        None if sink is None else fw.array(sink, "fp32"),
    )  # fmt: skip
    wanted = reference.prefill(fw.numbers(q), fw.numbers(kv), indices[:, None], 0.05, sink, counts)
    check(fw, out, None, (wanted[0], wanted[2]))


def v4_pool(fw, rng, v4, pages, size):
    """(pool [pages, bytes] whose pages end in bytes of no token, rows as numbers)."""
    cache, rows = quantised(fw, normal(fw, rng, pages, size, 1, 512), "v4")
    pool = fw.full((pages, v4.page_bytes(size)), 255, "u8")
    pool[:, : size * 584] = cache.view(pages, -1)
    return pool, rows


@pytest.mark.parametrize("interleaved", [False, True])  # use_legacy is True, and False
@pytest.mark.parametrize("compressed", [False, True])
def test_deepseek_v4_decoding(fw, rng, compressed, interleaved):
    tokens, heads = 3, 64
    v4 = backend_of("deepseek_v4_backend")
    backend = v4.DeepseekV4AttnBackend(0.04, interleaved)
    sink = rng.standard_normal(heads)
    for _ in range(2):
        backend.init_forward_metadata()
        counts, extra_counts = rng.integers(1, 129, tokens), rng.integers(0, 65, tokens)
        for _ in range(LAYERS):
            q = normal(fw, rng, tokens, heads, 512)
            pool, rows = v4_pool(fw, rng, v4, 2, 256)
            extra_pool, extra_rows = v4_pool(fw, rng, v4, 3, 64)
            indices, extra = lists(rng, (tokens, 128), 512), lists(rng, (tokens, 64), 192)
            out = backend.forward(
                q, pool, 256, fw.array(indices, "i32"), fw.array(counts, "i32"),
                fw.array(sink, "fp32"),
                (extra_pool, 64, fw.array(extra, "i32"), fw.array(extra_counts, "i32"))
                if compressed else None,
            )  # fmt: skip
            second = (extra_rows, extra[:, None], extra_counts) if compressed else None
            wanted = reference.sparse(
                fw.numbers(q)[:, None], rows, indices[:, None], 0.04, sink, counts, second
            )
            check(fw, out[:, None], None, wanted)


def test_deepseek_v4_prefill(prefill_fw, rng):
    fw = prefill_fw
    backend = backend_of("deepseek_v4_backend").DeepseekV4AttnBackend(0.04)
    q, workspace = normal(fw, rng, 4, 64, 512), normal(fw, rng, 150, 1, 512)
    indices, counts = lists(rng, (4, 128), 150), rng.integers(1, 129, 4)
    sink = rng.standard_normal(64)
    out = backend._forward_prefill_sparse(
        q, workspace, fw.array(indices, "i32"), fw.array(counts, "i32"), fw.array(sink, "fp32")
    )
    values = fw.numbers(q), fw.numbers(workspace), indices[:, None]
    wanted = reference.prefill(*values, 0.04, sink, counts)
    check(fw, out, None, (wanted[0], wanted[2]))


def test_statistics_of_prefill(prefill_fw, rng):
    """Base 2 with use_legacy=True, natural with False."""
    fw = prefill_fw
    interface = importlib.import_module("sglang.kernels.ops.attention.flash_mla_interface")
    q, kv, indices = (
        normal(fw, rng, 3, 8, 576),
        normal(fw, rng, 50, 1, 576),
        lists(rng, (3, 1, 20), 50),
    )
    wanted = reference.prefill(fw.numbers(q), fw.numbers(kv), indices, 0.05)
    for legacy, scale in ((True, numpy.log2(numpy.e)), (False, 1.0)):
        results = interface.flash_mla_sparse_fwd(
            q, kv, fw.array(indices, "i32"), 0.05, use_legacy=legacy
        )
        for given, right in zip(results[1:], wanted[1:]):
            assert numpy.allclose(fw.numbers(given), right * scale, atol=1e-4)


@pytest.mark.parametrize("name", ["flash_mla_mega_prefill", "flash_mla_mega_decode"])
def test_fused_kernels_of_another_architecture(fw, name):
    interface = importlib.import_module("sglang.kernels.ops.attention.flash_mla_interface")
    q = fw.full((2, 64, 512), 0.0, "bf16")
    with pytest.raises(NotImplementedError, match="another architecture"):
        getattr(interface, name)(q, q, q, q, q, 0.05)


def test_entry_point():
    """SGLang finds the plug-in by the installed distribution, and calls it."""
    own = importlib.metadata.distribution("flash_mla").entry_points
    found = [entry for entry in own if entry.group == "sglang.srt.plugins"]
    assert [entry.name for entry in found] == ["flash_mla"]
    from flash_mla import sglang_plugin

    assert found[0].load() is sglang_plugin.register
    importlib.import_module("sglang.srt.plugins").load_plugins()
    assert "sglang.srt.plugins" in sys.modules
