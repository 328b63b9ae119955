"""Every argument of the engines' functions × every wrong object: errors in the caller's names.

Whatever is not refused has to be right: LEGAL lists what each argument may be.
"""

import inspect
import types

import numpy
import pytest
from flash_mla import (
    FlashMLASchedMeta,
    flash_mla_sparse_fwd,
    flash_mla_with_kvcache,
    get_mla_decoding_metadata,
    get_mla_metadata,
    get_mla_metadata_dense_fp8,
)


def dense(fw):
    return {
        "q": fw.full((2, 1, 8, 576), 0.0, "bf16"),
        "k_cache": fw.full((4, 8, 1, 576), 0.0, "bf16"),
        "block_table": fw.full((2, 2), 0, "i32"),
        "cache_seqlens": fw.full((2,), 5, "i32"),
        "head_dim_v": 512,
        "tile_scheduler_metadata": get_mla_metadata()[0],
        "attn_sink": fw.full((8,), 0.0, "fp32"),
        "out": fw.full((2, 1, 8, 512), 0.0, "bf16"),
        "lse": fw.full((2, 8, 1), 0.0, "fp32"),
    }


def by_tensors(fw):
    call = dense(fw)
    schedule = get_mla_metadata(call["cache_seqlens"], 8, 1)
    call["tile_scheduler_metadata"], call["num_splits"] = schedule
    return call


def again(make):
    """A call whose schedule has served a right one."""

    def reused(fw):
        call = make(fw)
        flash_mla_with_kvcache(**call)
        return call

    return reused


def sparse(fw):
    lists = {name: fw.full((2, 1, 16), 0, "i32") for name in ("indices", "extra")}
    counts = {name: fw.full((2,), 3, "i32") for name in ("topk_length", "extra_topk_length")}
    return {
        **dense(fw),
        "k_cache": fw.full((4, 8, 1, 656), 0, "u8"),
        "is_fp8_kvcache": True,
        "indices": lists["indices"],
        "extra_k_cache": fw.full((3, 16, 1, 656), 0, "u8"),
        "extra_indices_in_kvcache": lists["extra"],
        **counts,
    }


def prefill(fw):
    return {
        "q": fw.full((2, 8, 576), 0.0, "bf16"),
        "kv": fw.full((9, 1, 576), 0.0, "bf16"),
        "indices": fw.full((2, 1, 16), 0, "i32"),
        "sm_scale": 0.1,
        "attn_sink": fw.full((8,), 0.0, "fp32"),
        "topk_length": fw.full((2,), 3, "i32"),
        "out": fw.full((2, 8, 512), 0.0, "bf16"),
        "max_logits": fw.full((2, 8), 0.0, "fp32"),
        "lse": fw.full((2, 8), 0.0, "fp32"),
    }


def metadata(fw):
    return {
        "cache_seqlens": fw.full((2,), 5, "i32"),
        "num_q_tokens_per_head_k": 8,
        "num_heads_k": 1,
        "num_heads_q": 8,
        "is_fp8_kvcache": True,
        "topk": 16,
    }


def decoding_metadata(fw):
    call = metadata(fw)
    names = "seqlens_k", "num_q_tokens_per_head_k", "h_k", "h_q", "is_fp8_kvcache", "topk"
    return dict(zip(names, call.values()))


def fp8_metadata(fw):
    return dict(list(metadata(fw).items())[:3])


FUNCTIONS = {
    "dense": (flash_mla_with_kvcache, dense),
    "tensors": (flash_mla_with_kvcache, by_tensors),
    "sparse": (flash_mla_with_kvcache, sparse),
    "dense-again": (flash_mla_with_kvcache, again(dense)),
    "tensors-again": (flash_mla_with_kvcache, again(by_tensors)),
    "sparse-again": (flash_mla_with_kvcache, again(sparse)),
    "prefill": (flash_mla_sparse_fwd, prefill),
    "metadata": (get_mla_metadata, metadata),
    "decoding": (get_mla_decoding_metadata, decoding_metadata),
    "fp8": (get_mla_metadata_dense_fp8, fp8_metadata),
    "object": (FlashMLASchedMeta, lambda fw: {}),
}
ONLY_ON_CPU = {"prefill"}


class FlagOfOldNumPy:
    """Before NumPy 2.3 its flags could be taken for integers."""

    dtype = numpy.dtype(bool)

    def __index__(self):
        return 1


class Odd:
    """An object that raises on nearly everything."""

    def __repr__(self):
        raise RuntimeError("no text")

    __bool__ = __len__ = __eq__ = __repr__
    __hash__ = None


# Objects that are no tensor, for any argument.
PLAIN = {
    "none": None,
    "true": True,
    "number": 3.5,
    "nan": float("nan"),
    "negative": -1,
    "zero": 0,
    "huge": 2**70,
    "giant": 10**5000,
    "minus-giant": -(10**5000),
    "complex": 1 + 2j,
    "text": "x",
    "bytes": b"512",
    "list": [1, 2],
    "tuple": (1, 2),
    "dict": {"a": 1},
    "object": object(),
    "odd": Odd(),
    "type": int,
    "module": types,
    "function": len,
    "numpy-dtype": numpy.dtype("float32"),
    "numpy-bool": numpy.bool_(True),
    "old-numpy-bool": FlagOfOldNumPy(),
    "numpy-float": numpy.float32(0.5),
    "numpy-complex": numpy.complex64(1),
    "numpy-zero-d": numpy.array(3),
    "numpy-scale": numpy.array([0.05]),
    "numpy-objects": numpy.array([None, 3], dtype=object),
    "numpy-masked": numpy.ma.array(numpy.zeros((2, 2), numpy.int32)),
    "numpy-text": numpy.array(["a", "b"]),
    "numpy-big-endian": numpy.zeros((2,), ">i4"),
    "numpy-record": numpy.zeros(2, [("a", "i4"), ("b", "f4")]),
    "numpy-doubles": numpy.zeros((2, 1, 8, 576)),
    "numpy-many-dimensions": numpy.zeros((1,) * 9, numpy.int32),
}


def changed(fw, kind):
    """A tensor argument made wrong in one way; None where that way is none."""
    return {
        "rank": lambda t: t[None],
        "flat": lambda t: t.reshape(-1) if len(t.shape) > 1 else None,
        "longer": lambda t: fw.full((t.shape[0] + 1, *t.shape[1:]), 0, kind_of(t)),
        "wider": lambda t: fw.full((*t.shape[:-1], t.shape[-1] + 1), 0, kind_of(t)),
        "reversed": lambda t: turned(fw, t),
        "strided": lambda t: fw.full((*t.shape[:-1], t.shape[-1] * 2), 0, kind_of(t))[..., ::2],
        "doubles": lambda t: fw.numbers(t).astype(numpy.float64),
        "halves": lambda t: fw.array(fw.numbers(t), "fp16"),
        "longs": lambda t: fw.array(numpy.zeros(tuple(t.shape)), "i64"),
    }[kind]


def turned(fw, tensor):
    """Other strides: negative ones, or (PyTorch has none) dimensions that change places."""
    if fw.name == "numpy":
        return tensor[..., ::-1]
    return tensor.transpose(0, -1) if len(tensor.shape) > 1 else None


CHANGES = ["rank", "flat", "longer", "wider", "reversed", "strided", "doubles", "halves", "longs"]


def kind_of(tensor):
    names = {
        "bfloat16": "bf16", "float16": "fp16", "float32": "fp32", "uint8": "u8", "int32": "i32",
        "int64": "i64",
    }  # fmt: skip
    return names[str(tensor.dtype).removeprefix("torch.")]


def torch_objects(fw):
    import torch

    right = torch.zeros(2, 1, 8, 576)
    return {
        "torch-dtype": torch.bfloat16,
        "torch-device": torch.device("cpu"),
        "torch-zero-d": torch.tensor(3, dtype=torch.int32),
        "torch-sparse": right.to_sparse(),
        "torch-sparse-rows": torch.zeros(2, 2, dtype=torch.int32).to_sparse_csr(),
        "torch-meta": right.to("meta"),
        "torch-double": right.double(),
        "torch-complex": right.to(torch.complex64),
        "torch-bool": torch.zeros(2, dtype=torch.bool),
        "torch-gradient": right.requires_grad_(),
    }


OPTIONAL = {
    "softmax_scale", "indices", "attn_sink", "extra_k_cache", "extra_indices_in_kvcache",
    "topk_length", "extra_topk_length", "out", "lse", "max_logits", "num_splits", "kv_format",
    "is_fp8_kvcache", "lse_base", "use_legacy", "descale_q", "descale_k", "return_log2_lse",
    "num_heads_per_head_k", "config", "tile_scheduler_metadata",
}  # fmt: skip
NUMBERS = {"zero", "negative", "number", "numpy-float", "numpy-zero-d", "torch-zero-d"}
SOME_COUNT = {"numpy-zero-d", "torch-zero-d"}
# Arguments: labels of objects that they may be.
LEGAL = {
    "softmax_scale": NUMBERS | {"huge"},
    "sm_scale": NUMBERS | {"huge"},
    "causal": {"true"},
    "is_fp8_kvcache": {"true"},
    "use_legacy": {"true"},
    "return_log2_lse": {"true"},
    "enable_batch_invariant": {"true"},
    "have_initialized": {"true"},
    "batch_invariant": {"true"},
    "max_workers": {"zero"} | SOME_COUNT,
    "num_q_tokens_per_head_k": SOME_COUNT,
    "num_heads_k": SOME_COUNT,
    "num_heads_q": SOME_COUNT,
    "h_k": SOME_COUNT,
    "h_q": SOME_COUNT,
    "topk": SOME_COUNT,
}
# More pages, wider tables and lists, more requests, and strides that say nothing: those of a
# dimension of size 1, of a schedule whose numbers are not read, and of lengths where sparse
# attention asks for their number alone.
_LENGTHS = {"longer", "wider", "reversed", "strided"}
_DENSE = {"k_cache": {"longer"}, "block_table": {"wider"}, "lse": {"reversed", "strided"}}
_SCHEDULE = {"longer", "reversed", "strided"}
LEGAL_TENSORS = {
    "dense": _DENSE,
    "tensors": {
        **_DENSE,
        "tile_scheduler_metadata": _SCHEDULE,
        "num_splits": {"reversed", "strided"},
    },
    "sparse": {
        "k_cache": {"longer"},
        "extra_k_cache": {"longer"},
        "indices": {"wider"},
        "extra_indices_in_kvcache": {"wider"},
        "lse": {"reversed", "strided"},
    },
    "prefill": {"kv": {"longer"}, "indices": {"wider"}},
    "metadata": {"cache_seqlens": _LENGTHS},
    "decoding": {"seqlens_k": _LENGTHS},
    "fp8": {"cache_seqlens": {"longer", "wider"}},
}


def may_be(case, name, label, wrong):
    """Whether the argument may be this object, all others being as they are."""
    case = case.removesuffix("-again")
    if case == "sparse" and name in ("block_table", "cache_seqlens"):
        return True  # not read
    if case == "object" and name in ("tile_scheduler_metadata", "num_splits"):
        return hasattr(wrong, "shape") or wrong is None  # looked at by the call that uses them
    if label == "none":
        beside_no_lists = (
            {"topk", "num_heads_q", "cache_seqlens"} if case == "metadata" else {"topk"}
        )
        return name in OPTIONAL or name in beside_no_lists
    return label in LEGAL.get(name, ()) or label in LEGAL_TENSORS.get(case, {}).get(name, ())


def spoil(case, fw, name, label, wrong):
    """Calls with one argument wrong; what was raised has to name an argument of the function."""
    function, make = FUNCTIONS[case]
    call = make(fw)
    legal = may_be(case, name, label, wrong)
    call[name] = wrong
    try:
        function(**call)
    except (ValueError, TypeError, NotImplementedError) as error:
        parameters = inspect.signature(function).parameters
        where = f"{name} = {label}: {type(error).__name__}: {error}"
        assert getattr(error, "argument", None) in parameters, where
        assert error.given and error.wanted, where
        assert str(error) == f"{error.argument}: given {error.given}, wanted {error.wanted}", where
        assert len(str(error)) < 500, where
        return ""
    return "" if legal else f"{name} = {label} was accepted"


def objects(fw):
    return PLAIN if fw.name == "numpy" else {**PLAIN, **torch_objects(fw)}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", FUNCTIONS)
def test_objects_that_are_no_right_tensor(fw, case):
    if fw.device == "cuda" and case in ONLY_ON_CPU:
        pytest.skip("the CUDA backend has no sparse prefill yet")
    function, make = FUNCTIONS[case]
    function(**make(fw))
    wrong_ones = objects(fw).items()
    accepted = [
        spoil(case, fw, name, label, wrong)
        for name in inspect.signature(function).parameters
        for label, wrong in wrong_ones
    ]
    assert not [text for text in accepted if text]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("case", FUNCTIONS)
def test_tensors_that_are_nearly_right(fw, case, change):
    if fw.device == "cuda" and case in ONLY_ON_CPU:
        pytest.skip("the CUDA backend has no sparse prefill yet")
    accepted = []
    for name, right in FUNCTIONS[case][1](fw).items():
        if hasattr(right, "shape"):
            wrong = changed(fw, change)(right)
            if wrong is not None:
                accepted.append(spoil(case, fw, name, change, wrong))
    assert not [text for text in accepted if text]
