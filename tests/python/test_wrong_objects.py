"""Each argument of the package's own functions given wrong objects: an error in their names.

ValueError, TypeError or NotImplementedError, whose attributes argument, given and wanted are those
of its text, and whose argument is a parameter of the function that was called.
"""

import inspect
import math

import flash_mla
import numpy
import pytest
import wrong_objects as wrong

# What each parameter is; a test fails where one is missing here.
PLAN = {
    "kind": wrong.names,
    "device": wrong.names,
    "batch": wrong.integers,
    "query_heads": wrong.integers,
    "query_tokens": wrong.integers,
    "kv_heads": wrong.integers,
    "dtype": wrong.names,
    "kv_format": lambda: wrong.names(optional=True),
    "qk_dim": lambda: wrong.integers(optional=True),
    "v_dim": wrong.integers,
    "page_size": lambda: wrong.integers(optional=True),
    "max_pages": wrong.integers,
    "max_blocks": lambda: wrong.integers(optional=True),
    "topk": wrong.integers,
    "extra_topk": wrong.integers,
    "extra_page_size": wrong.integers,
    "causal": wrong.flags,
    "batch_invariant": wrong.flags,
    "max_workers": wrong.integers,
    "split_query": wrong.flags,
}
FORM = {
    "empty_lse": wrong.names,
    "lse_base": lambda: (*wrong.numbers(optional=True), ("3", 3), ("10", 10), ("0", 0)),
}
NEEDED, OPTIONAL, WRITTEN = {}, {"optional": True}, {"optional": True, "written": True}
RUN = {
    "q": NEEDED,
    "kv_cache": NEEDED,
    "block_table": OPTIONAL,
    "attn_sink": OPTIONAL,
    "softmax_scale": lambda: wrong.numbers(optional=True),
    "indices": OPTIONAL,
    "topk_length": OPTIONAL,
    "extra_kv_cache": OPTIONAL,
    "extra_indices": OPTIONAL,
    "extra_topk_length": OPTIONAL,
    "out": WRITTEN,
    "lse": WRITTEN,
    "max_logits": WRITTEN,
    **FORM,
    "q_rotary": OPTIONAL,
}
FORMAT = {"format": lambda: wrong.names(optional=True)}
APPEND = {"cache": {"written": True}, "rows": NEEDED, "slots": NEEDED, **FORMAT}
GATHER = {"cache": NEEDED, "slots": NEEDED, **FORMAT, "out": WRITTEN}
QUANTISE = {"plain": NEEDED, "format": wrong.names, "cache": WRITTEN}
DEQUANTISE = {"cache": NEEDED, **FORMAT, "plain": WRITTEN}
MERGE = {
    "outs": wrong.lists,
    "lses": wrong.lists,
    "attn_sink": OPTIONAL,
    "out": WRITTEN,
    "lse": WRITTEN,
    "lse_layout": wrong.names,
    **FORM,
}


def planned(fw, **fields):
    plan = flash_mla.plan(device=fw.device, query_heads=8, **fields)
    lengths = fw.full((plan.fields["batch"],), 5, "i32")
    return plan.schedule(lengths if plan.fields["kind"] == "dense_decode" else None)


def plan_call(fw):
    return flash_mla.plan, PLAN, {"device": fw.device, "query_heads": 8}


def schedule_call(fw):
    plan = flash_mla.plan(device=fw.device, batch=2, query_heads=8, max_pages=2)
    return plan.schedule, {"lengths": NEEDED}, {"lengths": fw.full((2,), 5, "i32")}


def array_call(fw):
    return planned(fw, max_pages=2).array, {"name": wrong.names}, {"name": "work"}


def dense_call(fw):
    call = {
        "q": fw.full((2, 1, 8, 576), 0, "bf16"),
        "kv_cache": fw.full((4, 64, 1, 576), 0, "bf16"),
        "block_table": fw.full((2, 2), 0, "i32"),
        "attn_sink": fw.full((8,), 0, "fp32"),
        "out": fw.full((2, 1, 8, 512), 0, "bf16"),
        "lse": fw.full((2, 8, 1), 0, "fp32"),
    }
    return planned(fw, batch=2, max_pages=2).run, RUN, call


def sparse_call(fw):
    call = {
        "q": fw.full((2, 1, 8, 576), 0, "bf16"),
        "kv_cache": fw.full((4, 64, 1, 656), 0, "u8"),
        "attn_sink": fw.full((8,), 0, "fp32"),
        "indices": fw.full((2, 1, 16), 0, "i32"),
        "topk_length": fw.full((2,), 4, "i32"),
        "extra_kv_cache": fw.full((4, 32, 1, 656), 0, "u8"),
        "extra_indices": fw.full((2, 1, 4), 0, "i32"),
        "extra_topk_length": fw.full((2,), 4, "i32"),
        "out": fw.full((2, 1, 8, 512), 0, "bf16"),
        "lse": fw.full((2, 8, 1), 0, "fp32"),
    }
    fields = {"topk": 16, "extra_topk": 4, "extra_page_size": 32, "kv_format": "v32"}
    return planned(fw, kind="sparse_decode", batch=2, **fields).run, RUN, call


def prefill_call(fw):
    call = {
        "q": fw.full((2, 8, 576), 0, "bf16"),
        "kv_cache": fw.full((9, 1, 576), 0, "bf16"),
        "indices": fw.full((2, 1, 16), 0, "i32"),
        "softmax_scale": 0.1,
        "attn_sink": fw.full((8,), 0, "fp32"),
        "topk_length": fw.full((2,), 4, "i32"),
        "out": fw.full((2, 8, 512), 0, "bf16"),
        "max_logits": fw.full((2, 8), 0, "fp32"),
        "lse": fw.full((2, 8), 0, "fp32"),
    }
    return planned(fw, kind="sparse_prefill", query_tokens=2, topk=16).run, RUN, call


def append_call(fw):
    call = {
        "cache": fw.full((4, 8, 1, 576), 0, "bf16"),
        "rows": fw.full((3, 1, 576), 0, "bf16"),
        "slots": fw.full((3,), 1, "i32"),
    }
    return flash_mla.append, APPEND, call


def gather_call(fw):
    call = {
        "cache": fw.full((4, 8, 1, 656), 0, "u8"),
        "slots": fw.full((3,), 1, "i32"),
        "out": fw.full((3, 1, 576), 0, "bf16"),
    }
    return flash_mla.gather, GATHER, call


def quantise_call(fw):
    call = {
        "plain": fw.full((4, 8, 1, 576), 0, "bf16"),
        "format": "v32",
        "cache": fw.full((4, 8, 1, 656), 0, "u8"),
    }
    return flash_mla.quantise, QUANTISE, call


def dequantise_call(fw):
    _, _, call = quantise_call(fw)
    return flash_mla.dequantise, DEQUANTISE, call


def merge_call(fw):
    outs = [fw.full((2, 1, 4, 512), 0, kind) for kind in ("bf16", "fp32")]
    lses = [fw.full((2, 4, 1), 0, "fp32") for _ in range(2)]
    call = {
        "outs": outs,
        "lses": lses,
        "attn_sink": fw.full((4,), 0, "fp32"),
        "out": fw.full((2, 1, 4, 512), 0, "bf16"),
        "lse": fw.full((2, 4, 1), 0, "fp32"),
    }
    return flash_mla.merge_states, MERGE, call


def threads_call(fw):
    return flash_mla.set_cpu_threads, {"threads": wrong.integers}, {"threads": 0}


CALLS = {
    "plan": plan_call,
    "Plan.schedule": schedule_call,
    "Plan.array": array_call,
    "Plan.run, dense": dense_call,
    "Plan.run, sparse": sparse_call,
    "Plan.run, prefill": prefill_call,
    "append": append_call,
    "gather": gather_call,
    "quantise": quantise_call,
    "dequantise": dequantise_call,
    "merge_states": merge_call,
    "set_cpu_threads": threads_call,
}
WITHOUT_ARGUMENTS = {"info", "cpu_threads", "has_legacy"}
# The engines' functions, of which test_every_argument.py takes care.
ELSEWHERE = {
    "flash_mla_sparse_fwd",
    "flash_mla_with_kvcache",
    "flash_mla_with_kvcache_fp8",
    "get_mla_decoding_metadata",
    "get_mla_metadata",
    "get_mla_metadata_dense_fp8",
    "set_log",
}


def call_of(fw, name):
    if fw.device == "cuda" and ("sparse" in name or "prefill" in name):
        pytest.skip("the CUDA backend does not have it yet")
    return CALLS[name](fw)


def wrong_for(kind, fw, parameter, sound, call):
    if kind is wrong.lists:
        return kind(fw, sound)
    if isinstance(kind, dict):
        like = sound if sound is not None else next(iter(call.values()))
        return kind_of_tensor(fw, like, kind, given=sound is not None)
    return kind()


def kind_of_tensor(fw, like, kind, given):
    """An optional tensor that this call has no use for is wrong as it is."""
    yield from wrong.tensors(fw, like, **kind)
    if not given:
        yield "a tensor that is not used", like


def variants(kinds, call, parameter):
    """The call, and the same without outputs, which the function then makes of its inputs."""
    yield call
    written = {name for name in call if kinds[name] is WRITTEN}
    if written and parameter not in written:
        yield {name: value for name, value in call.items() if name not in written}


CASES = [
    pytest.param(name, parameter, id=f"{name}-{parameter}")
    for name, kinds in (
        ("plan", PLAN), ("Plan.schedule", ["lengths"]), ("Plan.array", ["name"]),
        ("Plan.run, dense", RUN), ("Plan.run, sparse", RUN), ("Plan.run, prefill", RUN),
        ("append", APPEND), ("gather", GATHER), ("quantise", QUANTISE),
        ("dequantise", DEQUANTISE), ("merge_states", MERGE),
        ("set_cpu_threads", ["threads"]),
    )
    for parameter in kinds
]  # fmt: skip


@pytest.mark.parametrize("name, parameter", CASES)
def test_wrong_object(fw, name, parameter):
    function, kinds, call = call_of(fw, name)
    function(**call)
    parameters = inspect.signature(function).parameters
    found = []
    objects = list(wrong_for(kinds[parameter], fw, parameter, call.get(parameter), call))
    for given in variants(kinds, call, parameter):
        for text, spoiled in objects:
            try:
                function(**{**given, parameter: spoiled})
                complaint = "accepted"
            except Exception as failure:
                complaint = wrong.complaint(failure, parameters)
            if complaint:
                found.append(f"{text}, {len(given)} arguments: {complaint}")
    assert not found, "\n".join(found)
    function(**call)


@pytest.mark.parametrize("name", CALLS)
def test_every_parameter_has_wrong_objects(fw, name):
    function, kinds, _ = call_of(fw, name)
    assert sorted(kinds) == sorted(inspect.signature(function).parameters)
    assert {case.values[1] for case in CASES if case.values[0] == name} == set(kinds)


def test_every_function_is_here():
    functions = {
        name for name in flash_mla.__all__
        if callable(getattr(flash_mla, name))
        and not inspect.isclass(getattr(flash_mla, name))
        and not inspect.ismodule(getattr(flash_mla, name))
        and not name.startswith("flash_attn")
    }  # fmt: skip
    assert functions - ELSEWHERE - WITHOUT_ARGUMENTS == {name for name in CALLS if "." not in name}
    methods = {n for n, m in vars(flash_mla.Plan).items() if inspect.isfunction(m) and n[0] != "_"}
    public = methods - {"execute", "run_memory", "status", "stream"}
    assert {f"Plan.{m}" for m in public} == {n.partition(",")[0] for n in CALLS if "Plan." in n}


def dtypes(fw, long_name):
    yield from (long_name, numpy.dtype("float16") if long_name == "float16" else None)
    if long_name == "float16":
        yield numpy.float16
    else:
        ml_dtypes = pytest.importorskip("ml_dtypes")
        yield from (ml_dtypes.bfloat16, numpy.dtype(ml_dtypes.bfloat16))
    if fw.name != "numpy":
        import torch

        yield getattr(torch, long_name)


@pytest.mark.parametrize("short, long_name", [("bf16", "bfloat16"), ("fp16", "float16")])
def test_types_in_any_spelling(fw, short, long_name):
    for given in filter(None, dtypes(fw, long_name)):
        plan = flash_mla.plan(device=fw.device, query_heads=8, dtype=given)
        assert plan.fields["dtype"] == plan.fields["kv_format"] == short
        plan = flash_mla.plan(device=fw.device, query_heads=8, dtype=given, kv_format=given)
        assert plan.fields["kv_format"] == short
        cache = fw.full((2, 4, 1, 576), 1, short)
        rows, slots = fw.full((1, 1, 576), 2, short), fw.full((1,), 3, "i32")
        assert flash_mla.append(cache, rows, slots, format=given) is cache
        assert fw.numbers(cache)[0, 3, 0, 0] == 2


@pytest.mark.parametrize("scale", [1, numpy.float32(1), numpy.array(1.0), numpy.int64(1), True])
def test_scales_of_any_type(fw, scale):
    run, _, call = dense_call(fw)
    if scale is True:
        with pytest.raises(TypeError, match="^softmax_scale: given True, wanted a number"):
            run(**call, softmax_scale=scale)
        return
    call["q"] = fw.full((2, 1, 8, 576), 0.5, "bf16")
    call["kv_cache"] = fw.full((4, 64, 1, 576), 0.125, "bf16")
    _, lse = run(**call, softmax_scale=scale)
    assert numpy.allclose(fw.numbers(lse), 36 + math.log(5), atol=1e-3)
