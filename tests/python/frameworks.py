"""NumPy and PyTorch behind one face, for tests that hold for both.

`array` makes a tensor of a named type from NumPy numbers, `numbers` gives it back as float64 (or
as the integers that it holds).
"""

import importlib.util

import numpy
import pytest

HAS_TORCH = importlib.util.find_spec("torch") is not None
TORCH_TYPES = {
    "bf16": "bfloat16",
    "fp16": "float16",
    "fp32": "float32",
    "u8": "uint8",
    "i8": "int8",
    "e4m3": "float8_e4m3fn",
    "i32": "int32",
    "i64": "int64",
}


def numpy_type(name):
    if name in ("bf16", "e4m3"):
        import ml_dtypes

        return numpy.dtype(ml_dtypes.bfloat16 if name == "bf16" else ml_dtypes.float8_e4m3fn)
    return numpy.dtype(TORCH_TYPES[name])


class NumPy:
    name = "numpy"
    device = "cpu"

    def unavailable(self):
        return ""

    def array(self, values, kind):
        values = numpy.asarray(values)
        if kind in ("i8", "e4m3") and values.dtype == numpy.uint8:
            return values.copy().view(numpy_type(kind))
        return values.astype(numpy_type(kind))

    def full(self, shape, value, kind):
        return numpy.full(shape, value, numpy_type(kind))

    def numbers(self, array):
        return array if array.dtype.kind in "iu" else array.astype(numpy.float64)

    def same(self, a, b):
        return a.tobytes() == b.tobytes()


class Torch:
    def __init__(self, device):
        self.device = device
        self.name = f"torch-{device}"

    def unavailable(self):
        if not HAS_TORCH:
            return "PyTorch is not installed"
        if self.device == "cuda":
            import flash_mla
            import torch

            if not torch.cuda.is_available():
                return "no GPU"
            backend = [b for b in flash_mla.info().backends if b.name == "cuda"]
            if not backend or backend[0].unavailable:
                return f"cuda backend: {backend[0].unavailable if backend else 'not built'}"
        return ""

    def array(self, values, kind):
        import torch

        values = torch.from_numpy(numpy.ascontiguousarray(values))
        dtype = getattr(torch, TORCH_TYPES[kind])
        if kind in ("i8", "e4m3") and values.dtype == torch.uint8:
            return values.clone().view(dtype).to(self.device)
        return values.to(dtype).to(self.device)

    def full(self, shape, value, kind):
        import torch

        dtype = getattr(torch, TORCH_TYPES[kind])
        return torch.full(shape, value, dtype=dtype, device=self.device)

    def numbers(self, tensor):
        tensor = tensor.cpu()
        return (tensor.double() if tensor.is_floating_point() else tensor).numpy()

    def same(self, a, b):
        import torch

        bits = [x.cpu().contiguous().view(torch.uint8) for x in (a, b)]
        return bool(torch.equal(*bits))


def torch_devices():
    return [
        pytest.param(Torch("cpu"), id="torch"),
        pytest.param(Torch("cuda"), id="torch-cuda", marks=pytest.mark.gpu),
    ]


def all_of_them():
    return [pytest.param(NumPy(), id="numpy"), *torch_devices()]
