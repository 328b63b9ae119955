"""Operators of PyTorch: each one alone, and what the functions are inside of torch.compile."""

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import cases  # noqa: E402
import flash_mla  # noqa: E402
import frameworks  # noqa: E402
import reference  # noqa: E402
import wrong_objects  # noqa: E402

DEVICES = [
    pytest.param(frameworks.Torch("cpu"), id="cpu"),
    pytest.param(frameworks.Torch("cuda"), id="cuda", marks=pytest.mark.gpu),
]
ON_CPU_ALONE = "sparse_prefill", "gather", "gather_out", "quantise", "dequantise"


@pytest.fixture(params=DEVICES)
def fw(request):
    if request.param.unavailable():
        pytest.skip(request.param.unavailable())
    return request.param


def check(fw, case, results):
    reference.check(fw.numbers(results[0]), fw.numbers(results[1]), *case.wanted)


def calls(fw, rng):
    """{operator: [(arguments, named arguments), ...]}, sound ones of every operator."""
    ops = torch.ops.flashmla
    case = cases.dense(fw, rng, b=2)
    dense = case.arguments()[:4]
    out, lse = fw.full((2, 1, 8, 512), 0.0, "bf16"), fw.full((2, 8, 1), 0.0, "fp32")
    plain = fw.array(rng.standard_normal((3, 8, 1, 576)), "bf16")
    rows, slots = plain[0, :2], fw.array([3, -1], "i64")
    form = {"empty_lse": "-inf", "lse_base": 2.0}
    parts = ([out + 1, out.float()], [lse, lse + 1], None)
    packed = fw.full((3, 8, 1, 656), 0, "u8")
    if fw.device == "cpu":
        packed = flash_mla.quantise(plain, "v32")
    sparse = cases.sparse(fw, rng)
    lists = (sparse.q[0], plain[0], sparse.indices[0][:, None] % 8)
    lengths = case.lengths
    found = {
        "metadata": [((lengths, 8, 1), {}), ((lengths, 8, 1, 4, True, 16), {"max_workers": 2})],
        "schedule": [(dense, {}), (dense, {"causal": True, "max_workers": 2})],
        "decode": [
            (dense, {}),
            (dense, {"schedule": ops.schedule(*dense), "scale_tensor": torch.tensor(0.1)}),
        ],
        "decode_out": [((*dense, s, out, lse), {}) for s in (None, ops.schedule(*dense))],
        "sparse_prefill": [((*lists, 0.1), {}), (lists, {"scale_tensor": torch.tensor(0.1)})],
        "merge_states": [(parts, {}), (parts, {"lse_layout": "bhs", **form})],
        "merge_states_out": [((*parts, out, lse), {}), ((*parts, out, lse), form)],
        "append": [((plain.clone(), rows, slots), {}), ((packed, rows, slots), {"format": "v32"})],
        "gather": [((plain, slots), {}), ((packed, slots, "v32"), {})],
        "gather_out": [((packed, slots, rows.clone()), {})],
        "quantise": [((plain, "v32"), {}), ((plain, "bf16"), {})],
        "quantise_out": [((plain, "v32", packed), {})],
        "dequantise": [((packed,), {}), ((plain, "bf16"), {})],
        "dequantise_out": [((packed, plain.clone()), {})],
    }
    if fw.device == "cpu":
        arguments = (sparse.q, sparse.cache, None, None, None, False, sparse.indices)
        found["decode"].append((arguments, form))
    else:
        found["append"].pop()
        found["metadata"].pop()
        found = {name: calls for name, calls in found.items() if not name.startswith(ON_CPU_ALONE)}
    return found


def operators():
    names = torch._C._dispatch_get_all_op_names()
    return sorted(name.partition("::")[2] for name in names if name.startswith("flashmla::"))


def test_every_operator_is_checked(rng):
    assert operators() == sorted(calls(frameworks.Torch("cpu"), rng))


@pytest.mark.parametrize("name", operators())
def test_opcheck(fw, rng, name):
    """Schema, fake kernel, autograd and AOT dispatch of PyTorch's own check."""
    sound = calls(fw, rng)
    if name not in sound:
        pytest.skip("the CUDA backend does not have it yet")
    for arguments, named in sound[name]:
        torch.library.opcheck(getattr(torch.ops.flashmla, name).default, arguments, named)


def test_operators_have_a_namespace_of_their_own():
    assert not [n for n in torch._C._dispatch_get_all_op_names() if n.startswith("flash_mla::")]


# PyTorch itself refuses these, or makes plain tensors of them, before it asks the operator.
PYTORCH_S_OWN = "nested", "masked", "fake", "negated later"
# Beside a schedule, which holds the lengths, no more than type and shape of theirs is looked at.
OF_LENGTHS = "0 dimensions", "one dimension more", "float64", "bool"


def wrong_tensors(fw, parameter, value, call, written):
    """(text, what to give instead of a tensor or of a list of them)."""
    is_list = isinstance(value, list)
    like = value[0] if is_list else value
    alone = sum(isinstance(v, (torch.Tensor, list)) for v in call.values()) == 1
    left_out = {*PYTORCH_S_OWN, *(["meta"] if alone and not is_list else [])}
    if parameter == "scale_tensor":
        left_out |= {"0 dimensions", "int16", "float64", "uint32", "sparse COO", "quantised"}
    for text, spoiled in wrong_objects.tensors(fw, like, optional=True, written=written):
        scheduled = parameter == "cache_seqlens" and call.get("schedule") is not None
        if not isinstance(spoiled, torch.Tensor) or text in left_out:
            continue
        if scheduled and text not in OF_LENGTHS:
            continue
        yield text, [spoiled, *value[1:]] if is_list else spoiled


@pytest.mark.parametrize("name", operators())
def test_wrong_tensors(fw, rng, name):
    sound = calls(fw, rng)
    if name not in sound:
        pytest.skip("the CUDA backend does not have it yet")
    operator = getattr(torch.ops.flashmla, name).default
    parameters = {argument.name: argument for argument in operator._schema.arguments}
    complaints, tried = [], 0
    for arguments, named in sound[name]:
        call = {**dict(zip(parameters, arguments)), **named}
        operator(**call)
        for parameter, value in call.items():
            if not isinstance(value, (torch.Tensor, list)) or parameter == "schedule":
                continue
            written = parameters[parameter].alias_info is not None
            for text, spoiled in wrong_tensors(fw, parameter, value, call, written):
                tried += 1
                try:
                    operator(**{**call, parameter: spoiled})
                    complaint = "accepted"
                except Exception as failure:
                    complaint = wrong_objects.complaint(failure, parameters)
                if complaint:
                    complaints.append(f"{parameter}, {text}: {complaint}")
    assert tried and not complaints, "\n".join(complaints)


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


def test_operators_give_what_functions_give(fw, rng):
    case = cases.dense(fw, rng)
    meta = flash_mla.get_mla_metadata()[0]
    state = flash_mla.flash_mla_with_kvcache(*case.arguments(), meta)
    twice = [state[0]] * 2, [state[1]] * 2
    for result, wanted in zip(
        torch.ops.flashmla.merge_states(*twice), flash_mla.merge_states(*twice)
    ):
        assert torch.equal(result, wanted)
    cache, rows = case.cache.clone(), fw.full((1, 1, 576), 2.0, "bf16")
    torch.ops.flashmla.append(cache, rows, fw.full((1,), 7, "i32"))
    assert fw.same(cache, flash_mla.append(case.cache, rows, fw.full((1,), 7, "i32")))


def test_operator_errors_name_the_argument(fw, rng):
    case = cases.dense(fw, rng)
    q, cache, table, lengths = case.arguments()[:4]
    with pytest.raises(ValueError, match="^q: given a tensor that requires grad"):
        torch.ops.flashmla.decode(q.clone().requires_grad_(), cache, table, lengths)
    with pytest.raises(ValueError, match="^cache_seqlens: given .*, wanted "):
        torch.ops.flashmla.decode(q, cache, table, lengths.long())
    with pytest.raises(TypeError, match="^block_table: given None"):
        torch.ops.flashmla.decode(q, cache, None, lengths)
    with pytest.raises(ValueError, match="^q: given .*, wanted "):
        torch.ops.flashmla.decode(q[0], cache, table, lengths)
