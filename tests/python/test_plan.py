"""flash_mla.plan: describe, schedule, run."""

import cases
import numpy
import pytest
import reference
from flash_mla import plan


def plan_like(fw, case, **options):
    b, s_q, h_q, d = case.q.shape
    _, page, h_kv, _ = case.cache.shape
    fields = {
        "batch": b, "query_tokens": s_q, "query_heads": h_q, "kv_heads": h_kv, "qk_dim": d,
        "page_size": page, "max_pages": case.table.shape[1], "dtype": case.kind,
    }  # fmt: skip
    return plan(device=fw.device, **{**fields, **options})


@pytest.mark.parametrize("options", [{}, {"max_workers": 3}, {"batch_invariant": True}])
def test_dense(fw, rng, options):
    case = cases.dense(fw, rng, longest=700)
    planned = plan_like(fw, case, **options).schedule(case.lengths)
    out, lse = planned.run(case.q, case.cache, case.table)
    cases.check(fw, (out, lse), case.wanted)
    assert planned.backend == fw.device and planned.scheduled and planned.status() == 0
    assert "dense_decode" in str(planned)
    work = planned.array("work")
    assert tuple(work.shape)[1] == 8 and tuple(planned.array("split_offset").shape) == (4,)
    if "max_workers" in options and fw.device == "cuda":
        assert work.shape[0] <= 3


def test_schedule_again(fw, rng):
    case = cases.dense(fw, rng)
    planned = plan_like(fw, case).schedule(case.lengths)
    address = planned.memory.address
    lengths = case.values["lengths"] // 2
    case.values["lengths"] = lengths
    planned.schedule(fw.array(lengths, "i32"))
    assert planned.memory.address == address
    out, lse = planned.run(case.q, case.cache, case.table)
    cases.check(fw, (out, lse), reference.dense(*case.values.values()))


def test_batch_invariant(fw, rng):
    case = cases.dense(fw, rng, b=4, longest=900)
    planned = plan_like(fw, case, batch_invariant=True).schedule(case.lengths)
    out, lse = planned.run(case.q, case.cache, case.table)
    for r in range(4):
        alone = plan_like(fw, case, batch_invariant=True, batch=1)
        alone.schedule(case.lengths[r : r + 1])
        results = alone.run(case.q[r : r + 1], case.cache, case.table[r : r + 1])
        assert fw.same(results[0], out[r : r + 1]) and fw.same(results[1], lse[r : r + 1])


def test_sparse(fw, rng):
    case = cases.sparse(fw, rng, fmt="v4", h_q=8)
    planned = plan(
        "sparse_decode", device=fw.device, batch=2, query_tokens=2, query_heads=8, page_size=16,
        topk=24, kv_format="v4",
    ).schedule()  # fmt: skip
    out, lse = planned.run(case.q, case.cache, indices=case.indices, softmax_scale=0.1)
    wanted = reference.sparse(*case.values.values(), 0.1)
    cases.check(fw, (out, lse), wanted)


def test_prefill(fw, rng):
    if fw.device == "cuda":
        with pytest.raises(NotImplementedError, match="^problem: given .*cuda: "):
            plan("sparse_prefill", device="cuda", query_heads=8, topk=4)
        return
    tensors, values = cases.prefill(fw, rng, s_q=3, h_q=4, s_kv=50, topk=10)
    planned = plan("sparse_prefill", device="cpu", query_tokens=3, query_heads=4, topk=10)
    out, most, lse = planned.schedule().run(*tensors[:2], indices=tensors[2])
    wanted = reference.prefill(*values, 576**-0.5)
    cases.check(fw, (out, lse), (wanted[0], wanted[2]))
    assert numpy.allclose(fw.numbers(most), wanted[1], atol=1e-4)


def test_numpy_words(rng):
    """bf16 without ml_dtypes: uint16 arrays, where the plan says what they are."""
    import frameworks

    fw = frameworks.NumPy()
    case = cases.dense(fw, rng)
    q, cache = case.q.view(numpy.uint16), case.cache.view(numpy.uint16)
    planned = plan_like(fw, case, dtype="bf16").schedule(case.lengths)
    out, lse = planned.run(q, cache, case.table)
    assert out.dtype == numpy.uint16
    reference.check(reference.bits_to_float(out), lse.astype(float), *case.wanted)


WRONG = [
    ({"kind": "dense"}, ValueError, "kind"),
    ({"device": "tpu"}, ValueError, "device"),
    ({"dtype": "fp8"}, ValueError, "dtype|format"),
    ({"kv_format": "v3"}, ValueError, "kv_format|format"),
    ({"kv_format": "fp16"}, ValueError, "kv_format"),
    ({"query_heads": 0}, ValueError, "query_heads"),
    ({"query_heads": "8"}, TypeError, "query_heads"),
    ({"query_heads": 8, "kv_heads": 3}, ValueError, "query_heads"),
    ({"qk_dim": 500}, ValueError, "qk_dim"),
    ({"v_dim": 256}, ValueError, "v_dim"),
    ({"page_size": 0}, ValueError, "page_size"),
    ({"max_pages": -1}, ValueError, "max_pages"),
    ({"max_blocks": -1}, ValueError, "max_blocks"),
    ({"max_blocks": 2, "max_pages": 2}, ValueError, "max_blocks"),
    ({"batch": 131073}, ValueError, "batch"),
    ({"max_workers": -1}, ValueError, "max_workers"),
    ({"causal": 3}, TypeError, "causal"),
    ({"topk": 4}, ValueError, "topk"),
    ({"kind": "sparse_decode", "topk": -1}, ValueError, "topk"),
    ({"kind": "sparse_decode", "topk": 4, "causal": True}, ValueError, "causal"),
    ({"kind": "sparse_prefill", "topk": 4, "batch": 2}, ValueError, "batch"),
]


@pytest.mark.parametrize("fields, kind, name", WRONG)
def test_wrong_plans(fields, kind, name):
    with pytest.raises(kind, match=f"^({name}): given .*, wanted "):
        plan(**{"device": "cpu", "query_heads": 8, **fields})


def test_max_blocks_is_the_earlier_name_of_max_pages():
    earlier, now = (
        plan(device="cpu", query_heads=8, **{n: 7}) for n in ("max_blocks", "max_pages")
    )
    assert str(earlier) == str(now)
    assert "max_pages=7" in str(now)


def test_wrong_runs(fw, rng):
    case = cases.dense(fw, rng)
    planned = plan_like(fw, case)
    with pytest.raises(ValueError, match="^plan: given a plan without a schedule"):
        planned.run(case.q, case.cache, case.table)
    with pytest.raises(ValueError, match="^lengths: given "):
        planned.schedule(fw.array(case.values["lengths"], "i64"))
    with pytest.raises(ValueError, match="^lengths: given no tensor"):
        planned.schedule()
    if fw.device == "cpu":
        with pytest.raises(ValueError, match="^lengths: given 100000 tokens for request 0"):
            planned.schedule(fw.full((3,), 100000, "i32"))
    planned.schedule(case.lengths)
    for call, name in [
        (lambda: planned.run(case.q[:2], case.cache, case.table), "q"),
        (lambda: planned.run(case.q, case.cache[..., :512], case.table), "kv_cache"),
        (lambda: planned.run(case.q, case.cache, case.table, indices=case.table), "indices"),
        (lambda: planned.run(case.q, case.cache, case.table, softmax_scale=1e300), "softmax_scale"),
        (lambda: planned.run(case.q, case.cache, case.table, lse=case.q), "lse"),
    ]:
        with pytest.raises(ValueError, match=f"^{name}: given .*, wanted "):
            call()
    with pytest.raises(TypeError, match="^block_table: given a list"):
        planned.run(case.q, case.cache, [[0]])
    with pytest.raises(TypeError, match="^softmax_scale: given True"):
        planned.run(case.q, case.cache, case.table, softmax_scale=True)
