"""Frameworks: outputs and workspaces come from the one whose tensors the caller passes.

NumPy, PyTorch and CuPy are all optional. A framework that nobody has imported is never imported
here, except PyTorch (_optional.py).
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import mmap
import sys

from ._optional import problems, torch

# Whether torch.compile is tracing the calling code, which then has to call operators.
is_compiling = torch.compiler.is_compiling if torch is not None else (lambda: False)


def error(kind, argument, given, wanted):
    """An exception of this type with the text and the attributes of the library's own."""
    failure = kind(f"{argument}: given {given}, wanted {wanted}")
    failure.argument, failure.given, failure.wanted = argument, str(given), str(wanted)
    return failure


def type_text(kind):
    """A type's name for messages: "list", "numpy.ndarray"."""
    name = f"{kind.__module__}.{kind.__qualname__}"
    return name.removeprefix("builtins.")


class Memory:
    """Bytes that the library may use: their address and the object that owns them."""

    __slots__ = ("address", "bytes", "owner")

    def __init__(self, owner, address, size):
        self.owner, self.address, self.bytes = owner, address, size


def host_memory(size):
    """Page-aligned memory of the process; untouched pages cost nothing."""
    owner = mmap.mmap(-1, max(size, 1))
    return Memory(owner, ctypes.addressof(ctypes.c_char.from_buffer(owner)), size)


def _has_rows(array):
    return array.ndim > 0 and (array.strides[-1] == array.itemsize or array.shape[-1] == 1)


def _need_ml_dtypes(argument):
    """Imports ml_dtypes, from which NumPy knows the name bfloat16."""
    try:
        importlib.import_module("ml_dtypes")
    except Exception as failure:
        wanted = f"a bfloat16 array, since ml_dtypes cannot be imported ({failure})"
        raise error(TypeError, argument, "None", wanted) from None


class NumPyArrays:
    """NumPy arrays, and host memory for every other library whose tensors are on the CPU."""

    name = "numpy"
    tensor_type = None

    @functools.cached_property
    def numpy(self):
        return importlib.import_module("numpy")

    def empty(self, like, shape):
        """An array of the type of `like`."""
        return self.numpy.empty(shape, like.dtype)

    def named(self, like, shape, dtype, argument="out"):
        """An array of the type of this name, "float32" for example.

        argument: the argument in whose place the array is, for the error
        """
        if dtype == "bfloat16":
            _need_ml_dtypes(argument)
        return self.numpy.empty(shape, self.numpy.dtype(dtype))

    def memory(self, device, size):
        return host_memory(size)

    def int32(self, memory, offset, shape):
        """A part of the memory as an int32 array."""
        count = 1
        for extent in shape:
            count *= extent
        flat = self.numpy.frombuffer(memory.owner, self.numpy.int32, count, offset)
        return flat.reshape(shape)

    def scattered(self, array):
        """Whether rows of a writable array lie apart, each of them contiguous."""
        flags = array.flags
        return not flags.c_contiguous and flags.writeable and _has_rows(array)

    def copy(self, target, source):
        target[...] = source

    def stream(self, index):
        return 0

    def used_on(self, memory, stream):
        """Called before the memory is used on a stream that did not allocate it."""


class TorchTensors:
    """PyTorch tensors on the CPU and on CUDA devices."""

    name = "torch"
    tensor_type = None if torch is None else torch.Tensor

    def __init__(self):
        raw_stream = getattr(torch._C, "_cuda_getCurrentRawStream", None)
        self.stream = raw_stream or (lambda index: torch.cuda.current_stream(index).cuda_stream)

    def empty(self, like, shape):
        return torch.empty(shape, dtype=like.dtype, device=like.device)

    def named(self, like, shape, dtype, argument="out"):
        return torch.empty(shape, dtype=getattr(torch, dtype), device=like.device)

    def memory(self, device, size):
        if device[0] == "cpu":
            return host_memory(size)
        owner = torch.empty(max(size, 1), dtype=torch.uint8, device=f"cuda:{device[1]}")
        return Memory(owner, owner.data_ptr(), size)

    def int32(self, memory, offset, shape):
        if isinstance(memory.owner, torch.Tensor):
            flat = memory.owner[offset:].view(torch.uint8)
        else:
            flat = torch.frombuffer(memory.owner, dtype=torch.uint8, offset=offset)
        count = 4
        for extent in shape:
            count *= extent
        return flat[:count].view(torch.int32).view(shape)

    def scattered(self, tensor):
        if tensor.layout != torch.strided or tensor.requires_grad or not tensor.dim():
            return False
        if tensor.is_contiguous():
            return False
        strides = [stride for stride, n in zip(tensor.stride(), tensor.shape) if n > 1]
        return 0 not in strides and (tensor.stride(-1) == 1 or tensor.shape[-1] == 1)

    def copy(self, target, source):
        target.copy_(source)

    def used_on(self, memory, stream):
        if isinstance(memory.owner, torch.Tensor) and stream:
            memory.owner.record_stream(torch.cuda.ExternalStream(stream, memory.owner.device))


class CuPyArrays:
    """CuPy arrays on CUDA devices."""

    name = "cupy"
    tensor_type = None

    def __init__(self):
        self.cupy = sys.modules["cupy"]

    def empty(self, like, shape):
        with like.device:
            return self.cupy.empty(shape, like.dtype)

    def named(self, like, shape, dtype, argument="out"):
        with like.device:
            return self.cupy.empty(shape, self.cupy.dtype(dtype))

    def memory(self, device, size):
        if device[0] == "cpu":
            return host_memory(size)
        with self.cupy.cuda.Device(device[1]):
            owner = self.cupy.empty(max(size, 1), self.cupy.uint8)
        return Memory(owner, owner.data.ptr, size)

    def int32(self, memory, offset, shape):
        count = 4
        for extent in shape:
            count *= extent
        return memory.owner[offset : offset + count].view(self.cupy.int32).reshape(shape)

    def scattered(self, array):
        return not array.flags.c_contiguous and _has_rows(array)

    def copy(self, target, source):
        target[...] = source

    def stream(self, index):
        return self.cupy.cuda.get_current_stream(index).ptr

    def used_on(self, memory, stream):
        """CuPy's pool keeps memory for the stream that allocated it: the caller orders streams."""


_instances: dict = {}
_of_type: dict = {}


def _instance(kind):
    if kind not in _instances:
        _instances[kind] = kind()
    return _instances[kind]


def _kind_of(array):
    if torch is not None and isinstance(array, torch.Tensor):
        return TorchTensors
    for base in type(array).__mro__:
        root = base.__module__.partition(".")[0] if base.__name__ == "ndarray" else ""
        if root == "numpy":
            return NumPyArrays
        if root == "cupy":
            return CuPyArrays
    return None


def _wanted_instead_of(kind):
    """What a caller who passes an object of this type can pass."""
    if kind is type(None):
        return "a tensor"
    wanted = "a tensor of PyTorch, NumPy or CuPy (others can be inputs, beside one of these)"
    if kind.__module__.partition(".")[0] == "torch" and problems:
        wanted += f"; but {'; '.join(problems)}"
    return wanted


def framework_of(array, argument="out"):
    """The framework of a tensor; TypeError naming `argument` where it cannot allocate here."""
    kind = type(array)
    if kind not in _of_type:
        found = _kind_of(array)
        if found is None:
            raise error(TypeError, argument, f"a {type_text(kind)}", _wanted_instead_of(kind))
        _of_type[kind] = _instance(found)
    return _of_type[kind]


def contiguous(tensor):
    """The tensor, or an empty contiguous one like it where its rows lie apart.

    The library writes lse and max_logits as contiguous tensors. Whoever passes a tensor to it that
    is another one than the caller's copies it afterwards.
    """
    framework = _of_type.get(type(tensor))
    if framework is None or not framework.scattered(tensor):
        return tensor
    return framework.empty(tensor, tuple(tensor.shape))


def default_framework(device):
    """The framework that allocates for a call without any tensor."""
    if device[0] == "cuda":
        if torch is None and "cupy" in sys.modules:
            return _instance(CuPyArrays)
        if torch is None:
            wanted = "a tensor of PyTorch or CuPy, of which the plan takes device memory"
            raise error(TypeError, "lengths", "None", wanted)
        return _instance(TorchTensors)
    return _instance(TorchTensors if torch is not None else NumPyArrays)
