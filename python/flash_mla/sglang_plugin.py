"""SGLang's plug-in, entry point `sglang.srt.plugins`. SGLang calls `register` in every process.

SGLang imports its FlashMLA by the name flash_mla: from the distribution sgl-flash-mla, or from this
one where it is installed. Both own a folder flash_mla/, and of two installed distributions the last
one has overwritten files of the other. Two of the three states need nothing: this package alone,
and this package installed last. Where sgl-flash-mla came last, its functions are called, although
most files of this package are still there. FLASH_MLA_SGLANG=1 then sends dense bf16 and fp16
decoding on Hopper to this package. All other calls, and all other GPUs, stay sgl-flash-mla's.

This file works beside an __init__.py of sgl-flash-mla, hence takes nothing from this package's own.
"""

from __future__ import annotations

import functools
import logging
import os
import sys

from ._version import __version__

KNOWN_VERSIONS = ("0.5.23",)
SWITCH = "FLASH_MLA_SGLANG"
_log = logging.getLogger("flash_mla.sglang")
_HOPPER = (9, 0)


def _sglang_version():
    try:
        from sglang.version import __version__ as version
    except Exception:  # an SGLang that is laid out otherwise
        return "of an unknown version"
    return str(version)


def register():
    """Says which FlashMLA SGLang calls, and redirects it where FLASH_MLA_SGLANG=1 asks for that."""
    package = sys.modules[__package__]
    if hasattr(package, "plan"):  # no name of sgl-flash-mla
        _log.info("flash_mla %s is what SGLang imports as flash_mla", __version__)
        return
    version = _sglang_version()
    if os.environ.get(SWITCH, "0") in ("", "0"):
        _log.warning(
            "sgl-flash-mla has overwritten files of flash_mla %s, and SGLang calls it: set %s=1, "
            "or install flash_mla again",
            __version__, SWITCH,
        )  # fmt: skip
    elif version not in KNOWN_VERSIONS:
        _log.warning(
            "flash_mla %s leaves SGLang %s alone: it knows the calls of %s",
            __version__, version, ", ".join(KNOWN_VERSIONS),
        )  # fmt: skip
    else:
        _redirect(package)
        _log.info("flash_mla %s serves SGLang's dense decoding on Hopper", __version__)


@functools.cache
def _is_hopper(index):
    import torch

    return torch.cuda.get_device_capability(index) == _HOPPER


def _serves(tensor):
    """Whether a tensor lies where this package computes."""
    device = tensor.device
    return device.type == "cpu" or (device.type == "cuda" and _is_hopper(device.index))


def _has_computed_type(tensor):
    return tensor.element_size() == 2 and tensor.is_floating_point()


def _redirect(package):
    """Puts functions of this package in front of sgl-flash-mla's."""
    from . import flash_mla_interface as theirs
    from ._decode import flash_mla_with_kvcache as decode
    from ._engines import get_mla_decoding_metadata as metadata

    their_metadata = theirs.get_mla_decoding_metadata
    their_decode = theirs.flash_mla_with_kvcache

    @functools.wraps(their_metadata)
    def get_mla_decoding_metadata(
        seqlens_k, num_q_tokens_per_head_k, h_k, h_q=None, is_fp8_kvcache=False, topk=None, **named
    ):
        served = topk is None and not is_fp8_kvcache and _serves(seqlens_k)
        function = metadata if served else their_metadata
        counts = num_q_tokens_per_head_k, h_k, h_q
        return function(seqlens_k, *counts, is_fp8_kvcache, topk, **named)

    @functools.wraps(their_decode)
    def flash_mla_with_kvcache(q, *arguments, **named):
        meta = named.get("tile_scheduler_metadata")
        dense = not arguments and named.get("indices") is None
        work = getattr(meta, "tile_scheduler_metadata", None)
        if not dense or work is None or not _serves(q) or not _has_computed_type(q):
            return their_decode(q, *arguments, **named)
        # SGLang puts the two tensors of get_mla_decoding_metadata into an object of sgl-flash-mla.
        named["tile_scheduler_metadata"] = work
        named["num_splits"] = meta.num_splits
        return decode(q, **named)

    for module in (package, theirs):
        module.get_mla_decoding_metadata = get_mla_decoding_metadata
        module.flash_mla_with_kvcache = flash_mla_with_kvcache
