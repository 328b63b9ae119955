"""The functions inside of torch.compile and torch.export are what they are eagerly."""

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import cases  # noqa: E402
import flash_mla  # noqa: E402
import frameworks  # noqa: E402
from operator_calls import plan_of  # noqa: E402

FORMATS = [None, "bf16", "bfloat16", torch.bfloat16]


def compiled_calls():
    """(name, function, arguments): calls of the public functions inside of a compiled graph."""
    m = flash_mla
    torch.manual_seed(1)
    plain, rows = torch.randn(3, 8, 1, 576).bfloat16(), torch.randn(4, 1, 576).bfloat16()
    slots, packed = torch.tensor([1, 3, -1, 9]), m.quantise(plain, "v32")
    out, lse, sink = torch.randn(2, 3, 4, 512).bfloat16(), torch.randn(2, 4, 3), torch.randn(4)
    for f in FORMATS:
        yield f"append-{f}", lambda c, f=f: m.append(c, rows, slots, format=f), (plain,)
        yield f"gather-{f}", lambda c, f=f: m.gather(c, slots, format=f), (plain,)
        yield f"quantise-{f}", lambda c, f=f: m.quantise(c, f or "v32"), (plain,)
        yield f"dequantise-{f}", lambda c, f=f: m.dequantise(c, f), (plain,)
    yield "append-v32", lambda c: m.append(c, rows, slots), (packed,)
    yield "gather-v32", lambda c: m.gather(c, slots), (packed,)
    yield "gather-out", lambda c, o: m.gather(c, slots, out=o), (packed, rows)
    yield "quantise-v4", lambda c: m.quantise(c, "v4"), (plain[..., :512].contiguous(),)
    yield "quantise-cache", lambda c, o: m.quantise(c, "v32", cache=o), (plain, packed)
    yield "dequantise-v32", lambda c: m.dequantise(c), (packed,)
    yield "dequantise-plain", lambda c, o: m.dequantise(c, plain=o), (packed, plain)
    yield "merge", lambda o, s: m.merge_states([o, o.float()], [s, s + 1]), (out, lse)
    yield "merge-out", lambda o, s: m.merge_states([o, o], [s, s + 1], sink, out=o), (out, lse)
    yield (
        "merge-form",
        lambda o, s: m.merge_states(
            (o, o), (s, s + 1), lse=s, lse_layout="bsh", empty_lse="-inf", lse_base=2
        ),
        (out, lse.transpose(1, 2)),
    )


COMPILED = {name: (function, arguments) for name, function, arguments in compiled_calls()}


@pytest.mark.parametrize("name", COMPILED)
def test_compiled_is_eager(name):
    function, arguments = COMPILED[name]
    first, second = ([argument.clone() for argument in arguments] for _ in range(2))
    torch._dynamo.reset()
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    results = [r if isinstance(r, tuple) else (r,) for r in (compiled(*first), function(*second))]
    for traced, eager in zip([*results[0], *first], [*results[1], *second]):
        assert traced.dtype == eager.dtype and traced.stride() == eager.stride()
        assert frameworks.Torch("cpu").same(traced, eager)


def step(cache, rows, slots, lse):
    """What an engine does around attention: all functions behind one another, one in place."""
    flash_mla.append(cache, rows * 2, slots)
    packed = flash_mla.quantise(cache, "v32")
    part = flash_mla.gather(packed, slots)[None, :, :, :512]
    merged = flash_mla.merge_states([part, part], [lse, lse], lse_base=2)
    return (flash_mla.dequantise(packed), *merged)


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiled_with_dynamic_shapes(backend):
    torch._dynamo.reset()
    compiled = torch.compile(step, fullgraph=True, backend=backend, dynamic=True)
    for pages, n in ((3, 5), (4, 7), (6, 2)):
        cache = torch.randn(pages, 8, 1, 576).bfloat16()
        rows, slots = torch.randn(n, 1, 576).bfloat16(), torch.arange(n) * 3
        caches = cache.clone(), cache.clone()
        lse = torch.randn(1, 1, n)
        pairs = zip(*(f(c, rows, slots, lse) for f, c in zip((compiled, step), caches)))
        assert all(torch.equal(traced, eager) for traced, eager in pairs)
        assert torch.equal(*caches) and not torch.equal(caches[0], cache)


@pytest.mark.parametrize("form", [{}, {"lse_base": 2, "softmax_scale": torch.tensor(0.1)}])
def test_a_plan_runs_inside_of_a_graph(rng, form):
    """Made and scheduled outside, it follows other lengths; another plan is another graph."""
    fw = frameworks.Torch("cpu")
    case = cases.dense(fw, rng)
    call = case.q, case.cache, case.table
    out, lse = fw.full((*case.q.shape[:3], 512), 0, "bf16"), fw.full((3, 8, 1), 0, "fp32")
    torch._dynamo.reset()
    compiled = torch.compile(
        lambda plan, *call, **named: plan.run(*call, **named), fullgraph=True, backend="aot_eager"
    )
    for plan in plan_of(fw, case), plan_of(fw, case):
        for lengths in case.lengths, case.lengths // 2:
            plan.schedule(lengths)
            wanted = plan.run(*call, **form)
            into = compiled(plan, *call, out=out, lse=lse, **form)
            assert into[0] is out and into[1] is lse
            for results in into, compiled(plan, *call, **form):
                assert all(torch.equal(*pair) for pair in zip(results, wanted))


def test_a_prefill_plan_runs_inside_of_a_graph():
    plan = flash_mla.plan("sparse_prefill", device="cpu", query_tokens=2, query_heads=8, topk=9)
    plan.schedule()
    q, kv = torch.randn(2, 8, 576).bfloat16(), torch.randn(50, 1, 576).bfloat16()
    lists = torch.randint(-1, 50, (2, 1, 9), dtype=torch.int32)
    torch._dynamo.reset()
    run = torch.compile(
        lambda q, kv, i: plan.run(q, kv, indices=i), fullgraph=True, backend="aot_eager"
    )
    for traced, eager in zip(run(q, kv, lists), plan.run(q, kv, indices=lists)):
        assert torch.equal(traced, eager)


def test_a_plan_that_nobody_has():
    plan = flash_mla.plan(device="cpu", query_heads=8).schedule(torch.zeros(1, dtype=torch.int32))
    number = plan.number
    del plan
    q = torch.zeros(1, 1, 8, 576).bfloat16()
    with pytest.raises(ValueError, match=f"^plan: given {number}, wanted "):
        torch.ops.flashmla.run(number, q, q, None, q, q)


class Step(torch.nn.Module):
    def forward(self, *tensors):
        return step(*tensors)


@pytest.mark.parametrize("strict", [True, False])
def test_exported(strict):
    rows, slots, lse = torch.randn(5, 1, 576).bfloat16(), torch.arange(5) * 3, torch.randn(1, 1, 5)
    cache = torch.randn(3, 8, 1, 576).bfloat16()
    exported = torch.export.export(Step(), (cache.clone(), rows, slots, lse), strict=strict)
    caches = cache.clone(), cache.clone()
    results = [f(c, rows, slots, lse) for f, c in zip((exported.module(), step), caches)]
    assert all(torch.equal(traced, eager) for traced, eager in zip(*results))
    assert torch.equal(*caches)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int32])
def test_a_scale_that_is_a_tensor(rng, dtype):
    fw = frameworks.Torch("cpu")
    case, scale = cases.dense(fw, rng), torch.tensor(1, dtype=dtype)
    q, kv = case.q[0], torch.randn(50, 1, 576).bfloat16()
    lists = torch.randint(-1, 50, (1, 1, 9), dtype=torch.int32)

    def decode(scale):
        meta = flash_mla.get_mla_metadata()[0]
        return flash_mla.flash_mla_with_kvcache(*case.arguments(), meta, softmax_scale=scale)

    def prefill(scale):
        return flash_mla.flash_mla_sparse_fwd(q, kv, lists, scale)

    for function in decode, prefill:
        torch._dynamo.reset()
        compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
        for results in compiled(scale), compiled(1), function(scale):
            for result, wanted in zip(results, function(1.0)):
                assert torch.equal(result, wanted)
