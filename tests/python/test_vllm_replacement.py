"""FLASH_MLA_VLLM=1: which function each call of vLLM's own backends reaches, in vllm_stub.py."""

import logging
import sys

import cases
import flash_mla
import frameworks
import numpy
import pytest
import reference
import vllm_stub

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from flash_mla.vllm_plugin import register  # noqa: E402
from test_vllm_plugin import new_tree, refuse  # noqa: E402

FW = frameworks.Torch("cpu")


@pytest.fixture(params=vllm_stub.VERSIONS)
def tree(request, monkeypatch):
    tree = new_tree(monkeypatch, request.param)
    monkeypatch.setenv("FLASH_MLA_VLLM", "1")
    return tree


@pytest.fixture(params=["imported later", "imported before"])
def ops(request, tree):
    """The module of vLLM's backends, which takes the functions over by name."""
    if request.param == "imported before":
        ops = tree.import_ops()
        register()
        return ops
    register()
    return tree.import_ops()


def dense_only(monkeypatch):
    """The library as it is on a GPU without sparse kernels."""
    refuse(monkeypatch, lambda fields: fields["kind"] == "dense_decode")


def decode_dense(ops, case, schedule):
    """The call of vLLM's FlashMLA backend, by the names that it passes."""
    return ops.flash_mla_with_kvcache(
        q=case.q, k_cache=case.cache, block_table=case.table, cache_seqlens=case.lengths,
        head_dim_v=512, tile_scheduler_metadata=schedule, softmax_scale=0.1, causal=True,
        is_fp8_kvcache=False,
    )  # fmt: skip


def decode_sparse(ops, case, schedule, **more):
    """The call of vLLM's FlashMLA sparse backend; V4's models pass more."""
    return ops.flash_mla_with_kvcache(
        q=case.q, k_cache=case.cache.view(torch.uint8), block_table=None, cache_seqlens=None,
        head_dim_v=512, tile_scheduler_metadata=schedule, is_fp8_kvcache=True,
        indices=case.indices, softmax_scale=0.1, **more,
    )  # fmt: skip


def check_dense(case, results):
    out, lse = (FW.numbers(tensor) for tensor in results)
    reference.check(out, lse, *case.wanted)


def dense_case(rng):
    return cases.dense(FW, rng, s_q=2, h_q=4, longest=150, causal=True, scale=0.1)


def test_dense_is_ours(tree, ops, rng):
    """With the arguments that vLLM gives to get_mla_metadata; two layers share the schedule."""
    case = dense_case(rng)
    schedule, nothing = ops.get_mla_metadata(case.lengths, 8, 1, is_fp8_kvcache=False)
    assert nothing is None
    check_dense(case, decode_dense(ops, case, schedule))
    planned = schedule._held
    check_dense(case, decode_dense(ops, case, schedule))
    assert schedule._held is planned and not tree.own.calls


def test_all_by_position(tree, ops, rng):
    case = dense_case(rng)
    out = torch.full((3, 2, 4, 512), torch.nan).bfloat16()
    given = *case.arguments(), ops.get_mla_metadata()[0], None, 0.1, True, False
    results = ops.flash_mla_with_kvcache(*given, *[None] * 6, out)
    assert results[0] is out
    check_dense(case, results)


@pytest.mark.parametrize("served", [True, False])
@pytest.mark.parametrize("fmt", ["v32", "v4"])
def test_sparse(tree, ops, rng, monkeypatch, caplog, fmt, served):
    """Sparse decoding is vLLM's own where the library refuses it, and ours where it does not."""
    caplog.set_level(logging.INFO)
    if not served:
        dense_only(monkeypatch)
    case = cases.sparse(FW, rng, fmt=fmt, h_q=3)
    schedule, _ = ops.get_mla_metadata()
    sink = torch.zeros(3)
    for _ in range(2):
        results = decode_sparse(ops, case, schedule, attn_sink=sink)
        if served:
            wanted = reference.sparse(*case.values.values(), 0.1, numpy.zeros(3))
            reference.check(*(FW.numbers(tensor) for tensor in results), *wanted)
        else:
            assert results == ("own out", "own lse")
    assert len(tree.own.calls) == (0 if served else 2)
    said = "runs FlashMLA's kernels" if served else "stays vLLM's own: problem: given sparse"
    assert sum(f"sparse decoding {said}" in line for line in caplog.messages) == 1
    if not served:
        first, second = (named for _, named in tree.own.calls)
        assert first["attn_sink"] is sink and first["indices"] is case.indices
        # Its own schedule: planned by the first layer, reused by the second.
        assert first["tile_scheduler_metadata"] is second["tile_scheduler_metadata"]
        assert tree.own.planned == 1


def test_one_schedule_meets_both(tree, ops, rng, monkeypatch):
    """Whichever comes first: neither function sees what the other one has made."""
    dense_only(monkeypatch)
    dense, sparse = dense_case(rng), cases.sparse(FW, rng)
    for order in ("ds", "sd", "dsds"):
        schedule, _ = ops.get_mla_metadata()
        for kind in order:
            if kind == "d":
                check_dense(dense, decode_dense(ops, dense, schedule))
            else:
                assert decode_sparse(ops, sparse, schedule)[0] == "own out"
                theirs = tree.own.calls[-1][1]["tile_scheduler_metadata"]
                assert theirs.tile_scheduler_metadata is None
    assert tree.own.planned == 3


def test_tensors_that_vllm_puts_into_the_schedule(tree, ops, rng, monkeypatch):
    """A plan by hand of one part is batch-invariant here, and reaches vLLM's own function."""
    dense_only(monkeypatch)
    parts, splits = torch.zeros(1, 8, dtype=torch.int32), torch.zeros(4, dtype=torch.int32)
    case = dense_case(rng)
    schedule, _ = ops.get_mla_metadata()
    schedule.tile_scheduler_metadata, schedule.num_splits = parts, splits
    check_dense(case, decode_dense(ops, case, schedule))
    assert parts._flash_mla.held.batch_invariant
    decode_sparse(ops, cases.sparse(FW, rng), schedule)
    theirs = tree.own.calls[-1][1]["tile_scheduler_metadata"]
    assert theirs.tile_scheduler_metadata is parts and theirs.num_splits is splits


@pytest.mark.parametrize("served", [True, False])
def test_sparse_prefill(tree, ops, rng, monkeypatch, served):
    if not served:
        dense_only(monkeypatch)
    tensors, values = cases.prefill(FW, rng)
    lengths = torch.full((5,), 12, dtype=torch.int32)
    results = ops.flash_mla_sparse_fwd(*tensors, 0.1, topk_length=lengths, out=None)
    if not served:
        assert results == ("own out", "own max", "own lse")
        _, named = tree.own.calls[-1]
        assert named["kv"] is tensors[1] and named["sm_scale"] == 0.1
        return
    out, _, lse = (FW.numbers(tensor) for tensor in results)
    wanted_out, _, wanted_lse = reference.prefill(*values, 0.1, None, lengths.numpy())
    reference.check(out, lse, wanted_out, wanted_lse)
    assert not tree.own.calls


def test_what_stays(tree, ops, rng):
    """Functions over an FP8 cache, classes, and calls whose form is unknown here."""
    assert ops.flash_mla_with_kvcache_fp8 == ops.get_mla_metadata_dense_fp8
    assert ops.flash_mla_with_kvcache_fp8 == tree.own.get_mla_metadata
    assert ops.FlashMLASchedMeta is vllm_stub.Own.FlashMLASchedMeta
    case = dense_case(rng)
    assert decode_dense(ops, case, ops.FlashMLASchedMeta()) == ("own out", "own lse")
    with pytest.raises(AssertionError):  # vLLM's own function does not know our schedule
        ops.flash_mla_with_kvcache(
            q=case.q, k_cache=case.cache, block_table=case.table, cache_seqlens=case.lengths,
            head_dim_v=512, tile_scheduler_metadata=ops.get_mla_metadata()[0], unknown=1,
        )  # fmt: skip
    own = ops.flash_mla_sparse_fwd(q=1, kv=2, indices=3, sm_scale=4, unknown=5)
    assert own == ("own out", "own max", "own lse")


def test_an_fp8_cache_without_indices(tree, ops, rng):
    """Dense attention over an FP8 cache, which no backend of this package serves."""
    case = dense_case(rng)
    case.cache = case.cache.to(torch.float8_e4m3fn)
    assert decode_dense(ops, case, ops.get_mla_metadata()[0]) == ("own out", "own lse")


def test_registered_twice(tree, ops, rng):
    ours = tree.vendored.flash_mla_with_kvcache
    register()
    assert tree.vendored.flash_mla_with_kvcache is ours
    assert ours.__func__ is not tree.own.flash_mla_with_kvcache.__func__


def test_vllm_without_a_flash_mla(tree, monkeypatch, caplog):
    """A build of vLLM whose vendored module cannot be imported keeps the backend CUSTOM."""
    monkeypatch.setitem(sys.modules, vllm_stub.VENDORED, None)
    register()
    assert "nothing of vLLM's FlashMLA is replaced" in caplog.text and tree.overrides


@pytest.mark.parametrize("value", [None, "0"])
def test_unset_or_zero(tree, monkeypatch, value):
    monkeypatch.delenv("FLASH_MLA_VLLM")
    if value is not None:
        monkeypatch.setenv("FLASH_MLA_VLLM", value)
    register()
    ops = tree.import_ops()
    assert ops.flash_mla_with_kvcache == tree.own.flash_mla_with_kvcache
    assert ops.get_mla_metadata == tree.own.get_mla_metadata and tree.overrides


def test_other_functions_are_kept(tree):
    """A function of one of these names that is not vLLM's own, and this package's own functions."""
    elsewhere = tree.add("vllm.elsewhere")
    elsewhere.get_mla_metadata = flash_mla.get_mla_metadata
    register()
    assert elsewhere.get_mla_metadata is flash_mla.get_mla_metadata
    assert flash_mla.get_mla_metadata.__module__ == "flash_mla._metadata"
