"""The query as two tensors: the bits of the call with one tensor, in every function that takes q.

The parts are views of wider tensors whose other columns are NaN, so that their strides count and
nothing else is read.
"""

import cases
import flash_mla
import frameworks
import numpy
import pytest

FRAMEWORKS = frameworks.all_of_them()


def parts_of(fw, case):
    """(first d_qk - 64 columns, last 64) of a case's query, each with strides of its own."""
    if fw.device == "cuda":
        with pytest.raises(NotImplementedError, match="split"):
            flash_mla.plan(device="cuda", query_heads=8, max_pages=1, split_query=True)
        pytest.skip("the CUDA backend takes the query as one tensor alone")
    b, s_q, h_q, d = case.q.shape
    latent = fw.full((b, s_q, h_q + 1, d), numpy.nan, case.kind)
    rotary = fw.full((h_q, b, s_q, 96), numpy.nan, case.kind)
    latent[:, :, :h_q, : d - 64] = case.q[..., : d - 64]
    for head in range(h_q):
        rotary[head, :, :, :64] = case.q[:, :, head, d - 64 :]
    moved = rotary.permute(1, 2, 0, 3) if fw.name != "numpy" else rotary.transpose(1, 2, 0, 3)
    return latent[:, :, :h_q, : d - 64], moved[..., :64]


def same(fw, results, wanted):
    return all(fw.same(fw_result, fw_wanted) for fw_result, fw_wanted in zip(results, wanted))


@pytest.mark.parametrize("d", [576, 512])
@pytest.mark.parametrize("kind", ["bf16", "fp16"])
def test_kvcache(fw, rng, d, kind):
    case = cases.dense(fw, rng, s_q=2, h_q=5, d=d, kind=kind, longest=300, causal=True)
    parts = parts_of(fw, case)
    schedule, _ = flash_mla.get_mla_metadata()
    rest = case.arguments()[1:]
    for _ in range(2):
        results = flash_mla.flash_mla_with_kvcache(parts, *rest, schedule, causal=True)
        whole, _ = flash_mla.get_mla_metadata()
        wanted = flash_mla.flash_mla_with_kvcache(case.q, *rest, whole, causal=True)
        assert same(fw, results, wanted)
    # The same schedule then serves a query in one tensor, and parts again.
    for q in (case.q, parts):
        assert same(fw, flash_mla.flash_mla_with_kvcache(q, *rest, schedule, causal=True), wanted)


def test_older_form(fw, rng):
    case = cases.dense(fw, rng)
    parts = parts_of(fw, case)
    tensors = flash_mla.get_mla_metadata(case.lengths, 8, 1)
    rest = case.arguments()[1:]
    for q in (parts, case.q, parts):
        results = flash_mla.flash_mla_with_kvcache(q, *rest, *tensors)
        whole, _ = flash_mla.get_mla_metadata()
        assert same(fw, results, flash_mla.flash_mla_with_kvcache(case.q, *rest, whole))


def test_plan(fw, rng):
    case = cases.dense(fw, rng, h_q=16)
    latent, rotary = parts_of(fw, case)
    fields = {"device": fw.device, "batch": 3, "query_heads": 16, "max_pages": case.table.shape[1]}
    split = flash_mla.plan(**fields, split_query=True).schedule(case.lengths)
    whole = flash_mla.plan(**fields).schedule(case.lengths)
    assert "split_query" in str(split) and "split_query" not in str(whole)
    results = split.run(latent, case.cache, case.table, q_rotary=rotary)
    assert same(fw, results, whole.run(case.q, case.cache, case.table))
    with pytest.raises(ValueError, match="^q_rotary: given no tensor, wanted a tensor"):
        split.run(latent, case.cache, case.table)
    with pytest.raises(ValueError, match="^q_rotary: given .*, wanted none without split_query"):
        whole.run(case.q, case.cache, case.table, q_rotary=rotary)


def test_refused(fw, rng):
    case = cases.dense(fw, rng)
    latent, rotary = parts_of(fw, case)
    rest = case.arguments()[1:]

    def decode(*parts):
        schedule, _ = flash_mla.get_mla_metadata()
        flash_mla.flash_mla_with_kvcache(parts, *rest, schedule)

    with pytest.raises(ValueError, match="^q: given a tuple of 1, wanted a tensor, or a pair"):
        decode(latent)
    with pytest.raises(ValueError, match="^q: given a tuple of 3"):
        decode(latent, rotary, rotary)
    with pytest.raises(ValueError, match="^q: given None as the rotary part"):
        decode(latent, None)
    with pytest.raises(ValueError, match="^q: given d_qk = 544"):
        decode(latent, rotary[..., :32])
    with pytest.raises(ValueError, match="^q: given "):
        decode(latent[..., :448], case.q[..., 448:])  # of 128 columns: 576 all the same
    with pytest.raises(ValueError, match="^q: given shape"):
        decode(latent, rotary[0])
    with pytest.raises(TypeError, match="^q: given "):
        decode(latent, "rotary")
    with pytest.raises(NotImplementedError, match="two parts only in dense decoding"):
        flash_mla.plan(
            "sparse_decode", device="cpu", query_heads=8, topk=4, kv_format="v32", split_query=True
        )


def torch_case(rng):
    """A case of PyTorch on the CPU with its parts and its results."""
    fw = frameworks.Torch("cpu")
    if not frameworks.HAS_TORCH:
        pytest.skip("PyTorch is not installed")
    case = cases.dense(fw, rng)
    schedule, _ = flash_mla.get_mla_metadata()
    wanted = flash_mla.flash_mla_with_kvcache(*case.arguments(), schedule)
    return fw, case, parts_of(fw, case), wanted


def test_operators(rng):
    fw, case, (latent, rotary), wanted = torch_case(rng)
    import torch

    ops = torch.ops.flashmla
    tensors = latent, case.cache, case.table, case.lengths
    assert same(fw, ops.decode(*tensors, q_rotary=rotary), wanted)
    schedule = ops.schedule(*tensors, q_rotary=rotary)
    whole = ops.schedule(case.q, *tensors[1:])
    for made in (schedule, whole, schedule.clone()):
        out, lse = (torch.full_like(result, torch.nan) for result in wanted)
        ops.decode_out(*tensors, made, out, lse, q_rotary=rotary)
        assert same(fw, (out, lse), wanted)
        assert same(fw, ops.decode(case.q, *tensors[1:], made), wanted)


def test_compiled(rng):
    fw, case, parts, wanted = torch_case(rng)
    import torch

    plan = flash_mla.plan(
        device="cpu", batch=3, query_heads=8, max_pages=case.table.shape[1], split_query=True
    ).schedule(case.lengths)

    @torch.compile(fullgraph=True)
    def both(latent, rotary, *rest):
        schedule, _ = flash_mla.get_mla_metadata()
        first = flash_mla.flash_mla_with_kvcache((latent, rotary), *rest, 512, schedule)
        return first, plan.run(latent, *rest[:2], q_rotary=rotary)

    for results in both(*parts, *case.arguments()[1:4]):
        assert same(fw, results, wanted)
