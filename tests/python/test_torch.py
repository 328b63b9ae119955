"""What only PyTorch has: modes, gradients, versions, torch.compile."""

import threading

import numpy
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import cases  # noqa: E402
import frameworks  # noqa: E402
import reference  # noqa: E402
from flash_mla import (  # noqa: E402
    flash_mla_sparse_fwd,
    flash_mla_with_kvcache,
    get_mla_metadata,
)

FRAMEWORKS = frameworks.torch_devices()


def test_inference_mode(fw, rng):
    with torch.inference_mode():
        case = cases.dense(fw, rng)
        assert case.lengths.is_inference()
        meta = get_mla_metadata()[0]
        for _ in range(2):
            cases.check(fw, flash_mla_with_kvcache(*case.arguments(), meta), case.wanted)
        schedule = get_mla_metadata(case.lengths, 8, 1)
        cases.check(fw, flash_mla_with_kvcache(*case.arguments(), *schedule), case.wanted)


def test_default_dtype_and_device(fw, rng):
    case = cases.dense(fw, rng)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            results = flash_mla_with_kvcache(*case.arguments(), get_mla_metadata()[0])
    finally:
        torch.set_default_dtype(torch.float32)
    assert results[0].dtype == torch.bfloat16 and results[1].dtype == torch.float32
    assert results[0].device == case.q.device
    cases.check(fw, results, case.wanted)


def test_gradients_are_refused_where_they_would_be_recorded(fw, rng):
    case = cases.dense(fw, rng)
    case.q.requires_grad_()
    with pytest.raises(ValueError, match="^q: given a tensor that requires grad"):
        flash_mla_with_kvcache(*case.arguments(), get_mla_metadata()[0])
    case.q.requires_grad_(False)
    sink = torch.nn.Parameter(fw.full((8,), -numpy.inf, "fp32"))
    with pytest.raises(ValueError, match="^attn_sink: given a tensor that requires grad"):
        flash_mla_with_kvcache(*case.arguments(), get_mla_metadata()[0], attn_sink=sink)
    with torch.no_grad():
        results = flash_mla_with_kvcache(*case.arguments(), get_mla_metadata()[0], attn_sink=sink)
    cases.check(fw, results, case.wanted)


def test_subclasses(fw, rng):
    case = cases.dense(fw, rng)
    case.cache = torch.nn.Parameter(case.cache, requires_grad=False)
    cases.check(fw, flash_mla_with_kvcache(*case.arguments(), get_mla_metadata()[0]), case.wanted)


def test_devices_must_agree(fw, rng):
    case = cases.dense(fw, rng)
    meta = torch.empty(3, 1, 8, 576, dtype=torch.bfloat16, device="meta")
    with pytest.raises(ValueError, match="^q: given a tensor on meta"):
        flash_mla_with_kvcache(meta, *case.arguments()[1:], get_mla_metadata()[0])
    if fw.device == "cuda":
        for name in ("k_cache", "block_table", "cache_seqlens"):
            call = dict(zip(("q", "k_cache", "block_table", "cache_seqlens"), case.arguments()))
            call[name] = call[name].cpu()
            with pytest.raises(ValueError, match=f"^{name}: given a tensor on cpu"):
                flash_mla_with_kvcache(
                    **call, head_dim_v=512, tile_scheduler_metadata=get_mla_metadata()[0]
                )


def test_lengths_of_another_tensor_or_version(fw, rng):
    case = cases.dense(fw, rng)
    meta = get_mla_metadata()[0]
    flash_mla_with_kvcache(*case.arguments(), meta)
    held = meta._held
    flash_mla_with_kvcache(*case.arguments(), meta)
    assert meta._held is held
    case.lengths.sub_(case.lengths // 3)
    case.values["lengths"] = fw.numbers(case.lengths)
    case.wanted = reference.dense(*case.values.values())
    cases.check(fw, flash_mla_with_kvcache(*case.arguments(), meta), case.wanted)
    assert meta._held is not held


def test_lengths_that_take_a_freed_tensor_s_place(fw, rng):
    """One schedule for many steps, each with a fresh lengths tensor."""
    case = cases.dense(fw, rng)
    meta = get_mla_metadata()[0]
    for _ in range(20):
        case.values["lengths"] = rng.integers(0, case.values["lengths"] + 1)
        case.wanted = reference.dense(*case.values.values())
        lengths = fw.array(case.values["lengths"], "i32")
        call = case.q, case.cache, case.table, lengths, 512
        cases.check(fw, flash_mla_with_kvcache(*call, meta), case.wanted)
        del call, lengths


def test_array_protocols_mix_on_the_cpu(rng):
    fw, arrays = frameworks.Torch("cpu"), frameworks.NumPy()
    case = cases.dense(fw, rng)
    case.table = arrays.array(case.values["table"], "i32")
    case.lengths = arrays.array(case.values["lengths"], "i32")
    cases.check(fw, flash_mla_with_kvcache(*case.arguments(), get_mla_metadata()[0]), case.wanted)


class OnlyAttributes(torch.Tensor):
    """A tensor as PyTorch before 2.10 has it, without DLPack's exchange functions."""

    __dlpack_c_exchange_api__ = None


def test_attributes_alone(fw, rng):
    case = cases.dense(fw, rng)
    strided = fw.full((3, 1, 16, 600), numpy.nan, "bf16")[:, :, ::2, 8:584]
    strided[...] = case.q
    call = [tensor.as_subclass(OnlyAttributes) for tensor in (strided, *case.arguments()[1:4])]
    results = flash_mla_with_kvcache(*call, 512, get_mla_metadata()[0])
    cases.check(fw, results, case.wanted)
    with pytest.raises(ValueError, match="^q: given a tensor that requires grad"):
        call[0] = case.q.clone().requires_grad_().as_subclass(OnlyAttributes)
        flash_mla_with_kvcache(*call, 512, get_mla_metadata()[0])
    with pytest.raises(ValueError, match="^q: given dtype float64"):
        call[0] = case.q.double().as_subclass(OnlyAttributes)
        flash_mla_with_kvcache(*call, 512, get_mla_metadata()[0])


class OnlyDlpack:
    """A tensor of a library that nobody knows."""

    def __init__(self, tensor):
        self.tensor = tensor

    def __dlpack__(self, **named):
        return self.tensor.__dlpack__(**named)

    def __dlpack_device__(self):
        return self.tensor.__dlpack_device__()


def test_any_library_with_dlpack(rng):
    fw = frameworks.Torch("cpu")
    case = cases.dense(fw, rng)
    case.cache, case.table = OnlyDlpack(case.cache), OnlyDlpack(case.table)
    cases.check(fw, flash_mla_with_kvcache(*case.arguments(), get_mla_metadata()[0]), case.wanted)
    with pytest.raises(TypeError, match="^q: given a .*OnlyDlpack, wanted a tensor of PyTorch"):
        flash_mla_with_kvcache(OnlyDlpack(case.q), *case.arguments()[1:], get_mla_metadata()[0])


def test_threads_share_a_schedule(rng):
    fw = frameworks.Torch("cpu")
    case = cases.dense(fw, rng, longest=500)
    meta = get_mla_metadata()[0]
    first = flash_mla_with_kvcache(*case.arguments(), meta)
    results = []

    def work():
        results.extend(flash_mla_with_kvcache(*case.arguments(), meta)[0] for _ in range(20))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(results) == 80 and all(torch.equal(out, first[0]) for out in results)
    cases.check(fw, first, case.wanted)


class Layer(torch.nn.Module):
    """Two layers that share one schedule, as a model's do."""

    def forward(self, q, cache, table, lengths):
        meta, _ = get_mla_metadata()
        out, lse = flash_mla_with_kvcache(q, cache, table, lengths, 512, meta, None, 0.04, True)
        lse = lse.transpose(1, 2)[..., None]
        again = torch.cat([out, q[..., 512:]], -1) + torch.where(lse > 1e9, 1, 0).to(q.dtype)
        return flash_mla_with_kvcache(again, cache, table, lengths, 512, meta, None, 0.04, True)


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compile_fullgraph(fw, rng, backend):
    module = Layer()
    compiled = torch.compile(module, fullgraph=True, backend=backend)
    for _ in range(2):
        case = cases.dense(fw, rng, s_q=2)
        for result, wanted in zip(compiled(*case.arguments()[:4]), module(*case.arguments()[:4])):
            torch.testing.assert_close(result, wanted, rtol=2**-7, atol=2**-9)


def test_compile_with_given_outputs_and_metadata(fw, rng):
    case = cases.dense(fw, rng)
    out, lse = fw.full((3, 1, 8, 512), 0.0, "bf16"), fw.full((3, 8, 1), 0.0, "fp32")
    meta = get_mla_metadata(max_workers=2)[0]

    @torch.compile(fullgraph=True, backend="aot_eager")
    def decode(q, cache, table, lengths, out, lse):
        return flash_mla_with_kvcache(q, cache, table, lengths, 512, meta, out=out, lse=lse)

    decode(*case.arguments()[:4], out, lse)
    cases.check(fw, (out, lse), case.wanted)


def test_compile_sparse(rng):
    fw = frameworks.Torch("cpu")
    case = cases.sparse(fw, rng)
    meta = get_mla_metadata()[0]

    @torch.compile(fullgraph=True, backend="aot_eager")
    def decode(q, cache, indices):
        return flash_mla_with_kvcache(
            q, cache, None, None, 512, meta, is_fp8_kvcache=True, indices=indices
        )

    wanted = reference.sparse(*case.values.values())
    results = decode(case.q, case.cache, case.indices)
    cases.check(fw, results, wanted)

    @torch.compile(fullgraph=True, backend="aot_eager")
    def prefill(q, kv, indices):
        return flash_mla_sparse_fwd(q, kv, indices, 0.05)

    q, kv = case.q[0], torch.randn(50, 1, 576).bfloat16()
    indices = torch.randint(-1, 50, (2, 1, 9), dtype=torch.int32)
    for result, plain in zip(prefill(q, kv, indices), flash_mla_sparse_fwd(q, kv, indices, 0.05)):
        assert torch.equal(result, plain)


WRONG_WHEN_COMPILED = {
    "head_dim_v": 256,
    "softmax_scale": True,
    "causal": 3,
    "is_fp8_kvcache": True,
    "tile_scheduler_metadata": None,
    "cache_seqlens": None,
    "topk_length": torch.zeros(2, dtype=torch.int32),
}


@pytest.mark.parametrize("name", WRONG_WHEN_COMPILED)
def test_wrong_compiled_calls_name_the_argument(rng, name):
    case = cases.dense(frameworks.Torch("cpu"), rng)
    names = "q", "k_cache", "block_table", "cache_seqlens", "head_dim_v"
    call = dict(zip(names, case.arguments()), tile_scheduler_metadata=get_mla_metadata()[0])
    if name == "is_fp8_kvcache":  # of a sparse call over a bf16 cache
        call["indices"] = torch.zeros(3, 1, 4, dtype=torch.int32)
    compiled = torch.compile(
        lambda **call: flash_mla_with_kvcache(**call), fullgraph=True, backend="aot_eager"
    )
    # PyTorch wraps an exception of the trace in one of its own, whose text has ours.
    with pytest.raises(Exception, match=f"{name}: given .*, wanted "):
        compiled(**{**call, name: WRONG_WHEN_COMPILED[name]})
