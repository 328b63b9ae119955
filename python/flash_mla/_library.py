"""How a function becomes an operator torch.ops.flashmla.NAME.

The namespace is `flashmla`: another package of the name flash_mla defines `flash_mla`, and PyTorch
refuses a second definition.
"""

from __future__ import annotations

import torch

from ._arguments import number
from ._frameworks import error

_library = torch.library.Library("flashmla", "DEF")
# An operator gets each tensor with the strides that it has in an uncompiled call.
_STRIDES = getattr(torch.Tag, "needs_exact_strides", torch.Tag.needs_fixed_stride_order)


def _refuse_some_of_meta(name, fake):
    """The fake, with an error where some of the tensors are on meta and others are not.

    PyTorch calls the fake as soon as one tensor is on meta. The result would be memory that nobody
    has written.
    """

    def checked(*arguments, **named):
        schema = getattr(torch.ops.flashmla, name).default._schema
        values = {a.name: value for a, value in zip(schema.arguments, arguments)} | named
        devices = [
            (argument, tensor.device.type)
            for argument, value in values.items()
            for tensor in (value if isinstance(value, (list, tuple)) else [value])
            if isinstance(tensor, torch.Tensor)
        ]
        on_meta = [argument for argument, device in devices if device == "meta"]
        if on_meta and len(on_meta) < len(devices):
            raise error(ValueError, on_meta[0], "a tensor on meta", "one on the others' device")
        return fake(*arguments, **named)

    return checked


def define(schema, function, fake):
    """Defines an operator for tensors of every device and layout; the function refuses some.

    fake: gives the results' shapes and types, from tensors that have shapes and types alone
    """
    name = schema.partition("(")[0]
    _library.define(schema, tags=(torch.Tag.pt2_compliant_tag, _STRIDES))
    _library.impl(name, function, "CompositeExplicitAutograd")
    # Autograd has nothing to do, since there is no backward pass. A tensor that requires grad is
    # refused where it is read.
    _library.impl(name, torch.library.fallthrough_kernel, "Autograd")
    fake = _refuse_some_of_meta(name, fake)
    torch.library.register_fake(f"flashmla::{name}", fake, lib=_library)


def nothing(*arguments, **named):
    """The fake of an operator that writes to given tensors alone."""


def scale_of(name, given, tensor):
    """The scale of a call that may have it as a number or as a tensor."""
    if tensor is None:
        return given
    if given is not None:
        raise error(ValueError, name, given, "None beside scale_tensor")
    return number(name, tensor)
