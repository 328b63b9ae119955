"""What today's engines import from flash_mla, and the calls that they make with it.

SITES lists where the names were read; the calls below have the arguments of those places, in their
form (by name or by position) and with their shapes made small.
"""

import importlib
import subprocess
import sys

import cases
import numpy
import pytest
import reference
from flash_mla import (
    FlashMLASchedMeta,
    flash_mla_interface,
    flash_mla_sparse_fwd,
    flash_mla_with_kvcache,
    flash_mla_with_kvcache_fp8,
    fused_norm_rope_attn_rope_cast,
    get_mla_decoding_metadata,
    get_mla_metadata,
    get_mla_metadata_dense_fp8,
    has_legacy,
)

VARLEN = "flash_attn_varlen_func flash_attn_varlen_kvpacked_func flash_attn_varlen_qkvpacked_func"
ENGINE = "flash_mla_with_kvcache get_mla_metadata"
# (engine, version, file, module, names)
SITES = [
    (
        "SGLang", "0.5.23", "sglang/kernels/ops/attention/flash_mla_interface.py", "flash_mla",
        f"{ENGINE} flash_mla_sparse_fwd get_mla_decoding_metadata has_legacy "
        "fused_norm_rope_attn_rope_cast",
    ),
    (
        "SGLang", "0.5.23", "sglang/kernels/ops/attention/flash_mla_interface.py",
        "flash_mla.flash_mla_interface", "FlashMLASchedMeta",
    ),
    (
        "SGLang", "0.5.23", "sglang/kernels/ops/attention/flash_mla_interface.py",
        "flash_mla.fused_norm_rope_attn_rope_cast", "prefill decode",
    ),
    (
        "vLLM", "0.33.0", "vllm/v1/attention/ops/flashmla.py", "flash_mla.flash_mla_interface",
        f"FlashMLASchedMeta {ENGINE} flash_mla_sparse_fwd {VARLEN}",
    ),
    (
        "vLLM", "0.33.0", "vllm/v1/attention/ops/flashmla.py", "flash_mla.flash_mla_interface",
        "get_mla_metadata_dense_fp8 flash_mla_with_kvcache_fp8",
    ),
    (
        "LMDeploy", "commit 0894978", "lmdeploy/pytorch/backends/cuda/attention/mla.py",
        "flash_mla", "flash_mla_with_kvcache flash_mla_sparse_fwd",
    ),
    (
        "LMDeploy", "main, November 2026", "lmdeploy/pytorch/backends/cuda/op_backend.py",
        "flash_mla", "get_mla_metadata",
    ),
]  # fmt: skip


@pytest.mark.parametrize("site", SITES, ids=lambda site: f"{site[0]}-{site[3]}")
def test_names(site):
    module = importlib.import_module(site[3])
    for name in site[4].split():
        assert hasattr(module, name), name
        if module is flash_mla_interface:
            assert name in module.__all__


def skip_without_prefill(fw):
    if fw.device == "cuda":
        pytest.skip("the CUDA backend has no sparse prefill yet")


def test_sglang_dense_step(fw, rng):
    """Two tensors a step, copied into graph buffers; a fresh object of them in every layer."""
    assert has_legacy() is True
    buffers = None
    for b in (4, 3):
        case = cases.dense(fw, rng, b=b, s_q=2, h_q=16, causal=True)
        work, splits = get_mla_decoding_metadata(
            seqlens_k=case.lengths, num_q_tokens_per_head_k=2 * 16, h_k=1, h_q=16,
            is_fp8_kvcache=False, topk=None, use_legacy=True,
        )  # fmt: skip
        if buffers is None:
            buffers = fw.full(tuple(work.shape), 0, "i32"), fw.full((8,), 0, "i32")
        buffers[0][...] = work
        buffers[1][: b + 1] = splits
        for tensors in ((work, splits), (buffers[0], buffers[1][: b + 1])):
            for _ in range(2):
                results = flash_mla_with_kvcache(
                    q=case.q, k_cache=case.cache, block_table=case.table,
                    cache_seqlens=case.lengths, head_dim_v=512,
                    tile_scheduler_metadata=FlashMLASchedMeta(
                        tile_scheduler_metadata=tensors[0], num_splits=tensors[1]
                    ),
                    num_splits=None, softmax_scale=576**-0.5, causal=True, is_fp8_kvcache=None,
                    enable_batch_invariant=False, use_legacy=True, kv_format=None,
                    descale_q=None, descale_k=None,
                )  # fmt: skip
                cases.check(fw, results, case.wanted)


def test_sglang_sparse_step(fw, rng):
    case = cases.sparse(fw, rng, fmt="v32", h_q=8)
    wanted = reference.sparse(*case.values.values())
    lengths = fw.full((2,), 90, "i32")
    work, splits = get_mla_decoding_metadata(lengths, 2 * 8, 1, 8, True, 24, use_legacy=True)
    for flag, name in ((None, None), (True, "v32"), (True, "V32")):
        results = flash_mla_with_kvcache(
            q=case.q, k_cache=case.cache, block_table=None, cache_seqlens=None, head_dim_v=512,
            tile_scheduler_metadata=FlashMLASchedMeta(
                tile_scheduler_metadata=work, num_splits=splits
            ),
            num_splits=None, causal=False, is_fp8_kvcache=flag, indices=case.indices,
            use_legacy=True, kv_format=name,
        )  # fmt: skip
        cases.check(fw, results, wanted)


def test_vllm_batch_invariant_step(fw, rng):
    """A plan of one part, written by hand into the object's fields in every layer."""
    case = cases.dense(fw, rng, longest=900)
    meta, _ = get_mla_metadata()
    wanted = flash_mla_with_kvcache(*case.arguments(), get_mla_metadata(batch_invariant=True)[0])
    for _ in range(2):
        meta.tile_scheduler_metadata = fw.array(numpy.arange(8)[None], "i32")
        meta.num_splits = fw.array(numpy.arange(4), "i32")
        results = flash_mla_with_kvcache(
            q=case.q, k_cache=case.cache, block_table=case.table, cache_seqlens=case.lengths,
            head_dim_v=512, tile_scheduler_metadata=meta, softmax_scale=576**-0.5,
        )  # fmt: skip
        assert all(fw.same(a, b) for a, b in zip(results, wanted))


def test_vllm_dense_fp8_step(fw, rng):
    """The metadata is made; the call says that its kernel is still to come."""
    case = cases.dense(fw, rng)
    work, splits = get_mla_metadata_dense_fp8(case.lengths, 8, 1)
    assert work.shape[1] == 8 and tuple(splits.shape) == (4,)
    q, cache = fw.full((3, 1, 8, 576), 0, "e4m3"), fw.full((4, 64, 1, 576), 0, "e4m3")
    one = fw.full((1,), 1.0, "fp32")
    call = q, cache, case.table, case.lengths, 512, work, splits
    with pytest.raises(NotImplementedError, match="^k_cache: .* no kernel yet") as caught:
        flash_mla_with_kvcache_fp8(*call, softmax_scale=0.1, descale_q=one, descale_k=one)
    assert caught.value.argument == "k_cache"
    with pytest.raises(NotImplementedError, match="^k_cache: .* no kernel yet"):
        flash_mla_with_kvcache(*call, is_fp8_kvcache=True)
    for name in ("descale_q", "descale_k"):
        with pytest.raises(NotImplementedError, match=f"^{name}: .* no kernel yet"):
            flash_mla_with_kvcache(*call, is_fp8_kvcache=None, **{name: one})


def test_lmdeploy_steps(fw, rng):
    case = cases.dense(fw, rng, h_q=16)
    schedule = get_mla_metadata(
        case.lengths, 16, num_heads_k=1, num_heads_q=16, is_fp8_kvcache=False, topk=None
    )
    results = flash_mla_with_kvcache(
        case.q, k_cache=case.cache, block_table=case.table, cache_seqlens=case.lengths,
        head_dim_v=512, softmax_scale=576**-0.5, tile_scheduler_metadata=schedule[0],
        num_splits=schedule[1], causal=True, is_fp8_kvcache=False, indices=None,
    )  # fmt: skip
    cases.check(fw, results, case.wanted)
    skip_without_prefill(fw)
    tensors, values = cases.prefill(fw, rng)
    sink, counts = rng.standard_normal(6), rng.integers(0, 21, 5)
    out = flash_mla_sparse_fwd(
        *tensors, sm_scale=0.05, attn_sink=fw.array(sink, "fp32"),
        topk_length=fw.array(counts, "i32"),
    )[0]  # fmt: skip
    wanted = reference.prefill(*values, 0.05, sink, counts)
    assert numpy.allclose(fw.numbers(out), wanted[0], atol=2e-2)


def test_statistics_in_base_two(fw, rng):
    """SGLang's return_log2_lse, and the keywords that other callers who merge by exp2 ask for."""
    skip_without_prefill(fw)
    tensors, values = cases.prefill(fw, rng)  # whose first query sees no token
    wanted = reference.prefill(*values, 0.05)
    plain = flash_mla_sparse_fwd(*tensors, 0.05, return_log2_lse=None)
    base_two = flash_mla_sparse_fwd(*tensors, 0.05, return_log2_lse=True, use_legacy=True)
    asked = flash_mla_sparse_fwd(*tensors, 0.05, lse_base=2, empty_lse="-inf")
    none = flash_mla_sparse_fwd(*tensors, 0.05, return_log2_lse=False)
    assert none[1:] == (None, None)
    assert all(fw.same(results[0], plain[0]) for results in (base_two, asked, none))
    for i in (1, 2):
        assert numpy.allclose(fw.numbers(plain[i]), wanted[i], atol=1e-4)
        assert numpy.allclose(fw.numbers(base_two[i]), wanted[i] * numpy.log2(numpy.e), atol=1e-4)
        assert fw.same(base_two[i][1:], asked[i][1:])
    assert (fw.numbers(base_two[2])[0] == numpy.inf).all()
    assert (fw.numbers(asked[2])[0] == -numpy.inf).all()
    for named, name in [
        ({"return_log2_lse": True, "lse_base": numpy.e}, "lse_base"),
        ({"return_log2_lse": False, "lse": plain[2]}, "lse"),
        ({"return_log2_lse": False, "max_logits": plain[1]}, "max_logits"),
        ({"return_log2_lse": 1}, "return_log2_lse"),
        ({"use_legacy": "x"}, "use_legacy"),
    ]:
        with pytest.raises((ValueError, TypeError), match=f"^{name}: given .*, wanted ") as caught:
            flash_mla_sparse_fwd(*tensors, 0.05, **named)
        assert caught.value.argument == name


@pytest.mark.parametrize("reused", [False, True])
def test_forms_of_lse_in_decoding(fw, rng, reused):
    case = cases.dense(fw, rng, s_q=2, causal=True)
    case.lengths[0] = 0
    case.values["lengths"][0] = 0
    case.wanted = reference.dense(*case.values.values(), None, True)
    meta = get_mla_metadata()[0]
    for base, scale in ((None, 1.0), (2, numpy.log2(numpy.e)), (numpy.e, 1.0)):
        for empty in ("+inf", "-inf"):
            out, lse = flash_mla_with_kvcache(
                *case.arguments(), meta if reused else get_mla_metadata()[0], causal=True,
                lse_base=base, empty_lse=empty,
            )  # fmt: skip
            right = case.wanted[1] * scale
            right[numpy.isinf(right)] = float(empty)
            assert numpy.isinf(right).any()
            assert numpy.allclose(fw.numbers(lse), right, rtol=1e-5, atol=1e-4)
            reference.check(fw.numbers(out), case.wanted[1], *case.wanted)
    for named in ({"lse_base": 10}, {"lse_base": "2"}, {"empty_lse": "inf"}, {"empty_lse": None}):
        (name,) = named
        with pytest.raises((ValueError, TypeError), match=f"^{name}: given .*, wanted "):
            flash_mla_with_kvcache(*case.arguments(), meta, causal=True, **named)


UNKNOWN_FORMATS = [
    ("V32_NO_ROPE", NotImplementedError),
    ("v41", NotImplementedError),
    ("v41_fp4", NotImplementedError),
    ("v4", ValueError),
    ("fp12", ValueError),
    (3, TypeError),
]


@pytest.mark.parametrize("name, kind", UNKNOWN_FORMATS)
def test_formats_that_are_not_the_cache_s(fw, rng, name, kind):
    case = cases.dense(fw, rng)
    call = (*case.arguments(), get_mla_metadata()[0])
    with pytest.raises(kind, match="^kv_format: given .*, wanted "):
        flash_mla_with_kvcache(*call, kv_format=name)
    cases.check(fw, flash_mla_with_kvcache(*call, kv_format="bf16"), case.wanted)
    # 528 bytes are two formats, so the caller has to say which.
    cache, indices = fw.full((4, 64, 1, 528), 0, "u8"), fw.full((3, 1, 4), 0, "i32")
    q = fw.full((3, 1, 8, 512), 0.0, "bf16")
    with pytest.raises(ValueError, match="^k_cache: given 528 bytes.*kv_format="):
        flash_mla_with_kvcache(
            q, cache, None, None, 512, get_mla_metadata()[0], is_fp8_kvcache=True, indices=indices
        )


def test_keywords_are_used_or_refused(fw, rng):
    case = cases.dense(fw, rng)
    call = (*case.arguments(), get_mla_metadata()[0])
    for name, wrong in (("enable_batch_invariant", None), ("use_legacy", 1), ("use_legacy", "x")):
        with pytest.raises(TypeError, match=f"^{name}: given .*, wanted True or False"):
            flash_mla_with_kvcache(*call, **{name: wrong})
    for legacy in (True, False, None):
        cases.check(fw, flash_mla_with_kvcache(*call, use_legacy=legacy), case.wanted)
    wrong = [
        ((case.q, 8, 1), {}, "seqlens_k"),
        ((case.lengths, "8", 1), {}, "num_q_tokens_per_head_k"),
        ((case.lengths, 8, 0), {}, "h_k"),
        ((case.lengths, 8, 1, 3), {}, "num_q_tokens_per_head_k"),
        ((case.lengths, 8, 1, None, True, 4), {}, "h_q"),
        ((case.lengths, 8, 1, 8, 3), {}, "is_fp8_kvcache"),
        ((case.lengths, 8, 1, 8, True, "4"), {}, "topk"),
        ((case.lengths, 8, 1), {"use_legacy": 2}, "use_legacy"),
    ]
    for arguments, named, name in wrong:
        with pytest.raises((ValueError, TypeError), match=f"^{name}: given .*, wanted ") as caught:
            get_mla_decoding_metadata(*arguments, **named)
        assert caught.value.argument == name


@pytest.mark.parametrize("name", ["prefill", "decode", "permute_q_b_proj", "permute_wv_proj"])
def test_the_fused_kernel_of_another_architecture(name):
    assert flash_mla_interface.fused_norm_rope_attn_rope_cast is not None
    for function in (getattr(fused_norm_rope_attn_rope_cast, name), fused_norm_rope_attn_rope_cast):
        with pytest.raises(NotImplementedError, match="^fused_norm_rope_attn_rope_cast"):
            function(1, key=2)


def install(folder, name, listing):
    """A distribution as an installer leaves it, without its files."""
    info = folder / f"{name.replace('-', '_')}-1.0.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0.0\n")
    for file, text in listing.items():
        (info / file).write_text(text)


RECORD = "flash_mla/__init__.py,sha256=x,3\n"
OTHERS = [
    ({"RECORD": RECORD}, True),
    ({"top_level.txt": "flash_mla\n"}, True),
    ({"RECORD": "other/flash_mla/__init__.py,,\nflash_mla_tools/__init__.py,,\n"}, False),
    ({"top_level.txt": "flash_mla_tools\n"}, False),
    ({}, False),
]


@pytest.mark.parametrize("listing, collides", OTHERS)
def test_two_distributions_with_one_folder(tmp_path, listing, collides):
    """sgl-flash-mla has a folder flash_mla/ too: whichever came last has overwritten the other."""
    install(tmp_path, "flash_mla_as_installed", {"RECORD": RECORD})
    install(tmp_path, "flash-mla.as-installed", {"RECORD": RECORD})  # the same, elsewhere
    install(tmp_path, "sgl-flash-mla", listing)
    code = (
        "import sys; sys.modules['torch'] = None; "
        f"sys.path.append({str(tmp_path)!r}); import flash_mla; "
        "print(flash_mla.info()); import flash_mla.flash_mla_interface"
    )
    result = subprocess.run(
        [sys.executable, "-W", "always", "-c", code], capture_output=True, text=True, check=True
    )
    text = "sgl-flash-mla each install a folder flash_mla/"
    assert (text in result.stdout) is collides
    assert result.stderr.count(text) == int(collides)
