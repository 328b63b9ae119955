"""Objects that are wrong in the place of an argument, by what the argument is.

Each function but the last gives (text, object) pairs; a test calls with one at a time and wants an
error.
"""

import fractions
import re

import frameworks
import numpy


class Nothing:
    """An object of nobody's type."""


def _tensors_of_numpy(sound, written):
    values = numpy.zeros(sound.shape, numpy.float32)
    yield "masked array", numpy.ma.masked_array(values.astype(sound.dtype), mask=True)
    yield "masked array without a mask", numpy.ma.masked_array(sound)
    yield "big-endian", values.astype(">f4")
    yield "objects", values.astype(object)
    yield "texts", values.astype(str)
    yield "structures", numpy.zeros(sound.shape, [("a", "f4")])
    if written:
        read_only = sound.copy()
        read_only.flags.writeable = False
        yield "read-only", read_only


def _tensors_of_torch(sound, written):
    import torch
    from torch._subclasses import FakeTensorMode
    from torch.masked import masked_tensor

    numbers = torch.zeros(sound.shape, device=sound.device)
    yield "sparse COO", numbers.to(sound.dtype).to_sparse()
    if sound.dim() == 2:
        yield "sparse CSR", numbers.to_sparse_csr()
    yield "meta", sound.to("meta")
    yield "complex", numbers.to(torch.complex64)
    if sound.device.type == "cpu":
        yield "quantised", torch.quantize_per_tensor(numbers, 0.1, 0, torch.qint8)
        if sound.dim():
            yield "mkldnn", numbers.to_mkldnn()
    yield "nested", torch.nested.nested_tensor([numbers, numbers])
    yield "masked", masked_tensor(numbers, numbers > 1)
    with FakeTensorMode():
        yield "fake", torch.empty(sound.shape, dtype=sound.dtype)
    if sound.is_floating_point():
        yield "that requires grad", sound.clone().float().requires_grad_()
    if sound.dtype == torch.float32 and not written:
        negated = torch.zeros(sound.shape, dtype=torch.complex64, device=sound.device)
        yield "negated later", negated.conj().imag
    freed = sound.clone()
    freed.untyped_storage().resize_(0)
    if sound.numel():
        yield "without memory", freed


def tensors(fw, sound, optional=False, written=False):
    """Of no library, of another rank or type, and what libraries have besides plain tensors."""
    if not optional:
        yield "None", None
    for other in ("a name", b"bytes", 3, 2.5, True, 1j, [1.0], {}, Nothing(), Nothing, len):
        yield repr(other)[:20], other
    yield "a type of arrays", type(sound)
    yield "a dtype", sound.dtype
    yield "0 dimensions", fw.full((), 0, "fp32")
    yield "6 dimensions", fw.full((1,) * 6, 0, "fp32")
    yield "one dimension more", sound[None]
    rank = len(sound.shape)
    if rank > 1:
        yield "one dimension fewer", sound.reshape(-1)
    for dtype in ("float64", "int16", "bool", "uint32"):
        array = numpy.zeros(tuple(sound.shape), dtype)
        if fw.name == "numpy":
            yield dtype, array
        else:
            import torch

            yield dtype, torch.from_numpy(array).to(fw.device)
    if fw.name == "numpy":
        yield from _tensors_of_numpy(sound, written)
    else:
        yield from _tensors_of_torch(sound, written)


def _scalars():
    """Tensors of one number, and dtypes."""
    yield "array of one", numpy.array([3])
    yield "array of one number", numpy.array([0.5])
    yield "numpy.True_", numpy.True_
    yield "numpy.dtype", numpy.dtype("int8")
    if frameworks.HAS_TORCH:
        import torch

        yield "tensor of one", torch.tensor([3])
        yield "tensor of True", torch.tensor(True)
        yield "torch.int8", torch.int8
        yield "sparse tensor", torch.zeros(2, 2).to_sparse()


def _others(*but):
    for other in ("a name", "", b"bytes", [], {}, (1,), 1j, Nothing(), Nothing, len):
        if other not in but:
            yield repr(other)[:20], other


def integers(optional=False):
    if not optional:
        yield "None", None
    yield from _others()
    yield from _scalars()
    for other in (True, False, 2.0, 2.5, float("nan"), fractions.Fraction(3), numpy.float32(3)):
        yield repr(other), other
    for huge in (-1, 2**31, 2**32, 2**63, 2**64, 2**70, -(2**63), -(2**70), 10**5000):
        yield f"{huge:#x}"[:24], huge


def flags():
    yield "None", None
    yield from _others()
    yield from _scalars()
    for other in (0, 1, 2, -1, 1.0, 2**70):
        yield repr(other), other


def names(optional=False):
    if not optional:
        yield "None", None
    yield from _others()
    yield from _scalars()
    for other in (0, 1, True, 2.5, 2**70, "BF16", "bf16 ", "float64", "x" * 1000):
        yield repr(other)[:20], other


def numbers(optional=False):
    if not optional:
        yield "None", None
    yield from _others()
    for text, other in _scalars():
        yield text, other
    for other in (True, False, float("nan"), float("inf"), -float("inf"), 1e39, 10**400):
        yield repr(other)[:20], other
    yield "complex64", numpy.complex64(1)
    yield "0-d complex", numpy.array(1j)


def lists(fw, sound):
    """In the place of a list of tensors; `sound` is such a list."""
    for other in (None, 3, 2.5, True, Nothing(), len, [], {}, [None], [3], "ab", [[1.0]]):
        yield repr(other)[:20], other
    yield "one more", [*sound, sound[0]]
    for text, other in tensors(fw, sound[0]):
        yield f"first: {text}", [other, *sound[1:]]
        yield f"last: {text}", [*sound[:-1], other]


def complaint(failure, parameters):
    """What is wrong with an error."""
    if type(failure) not in (ValueError, TypeError, NotImplementedError):
        return f"{type(failure).__name__}: {failure}"
    argument = getattr(failure, "argument", None)
    if not isinstance(argument, str) or re.sub(r"\[\d+\]$", "", argument) not in parameters:
        return f"names {argument}: {failure}"
    if str(failure) != f"{argument}: given {failure.given}, wanted {failure.wanted}":
        return f"another text: {failure}"
    return (
        "" if failure.given and failure.wanted and len(str(failure)) < 600 else f"text: {failure}"
    )
