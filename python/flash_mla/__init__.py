"""FlashMLA: Multi-head Latent Attention kernels for NVIDIA Hopper, with a CPU backend.

Engines import get_mla_metadata, flash_mla_with_kvcache and flash_mla_sparse_fwd. The package adds
plan, merge_states and the cache helpers append, gather, quantise and dequantise. The guide is
docs/python.md of the repository.
"""

import warnings as _warnings

from . import _extension as _extension  # first: its error says how the package is built

# isort: split
from . import fused_norm_rope_attn_rope_cast
from ._cache import append, dequantise, gather, quantise
from ._core import cpu_threads
from ._decode import flash_mla_with_kvcache
from ._engines import (
    flash_mla_with_kvcache_fp8,
    get_mla_decoding_metadata,
    get_mla_metadata_dense_fp8,
    has_legacy,
)
from ._info import Info, info, set_cpu_threads
from ._log import set_log
from ._merge import merge_states
from ._metadata import FlashMLASchedMeta, get_mla_metadata
from ._neighbours import collision as _collision
from ._optional import problems as _problems
from ._optional import torch as _torch
from ._plan import Plan, plan
from ._prefill import flash_mla_sparse_fwd
from ._unsupported import (
    flash_attn_varlen_func,
    flash_attn_varlen_kvpacked_func,
    flash_attn_varlen_qkvpacked_func,
)
from ._version import __version__

if _torch is not None:
    try:
        from . import _ops as _ops
    except Exception as _failure:  # only torch.compile needs the operators
        _problems.append(f"torch.ops.flashmla is missing: {_failure}")

if _collision():
    _problems.append(_collision())
    _warnings.warn(f"flash_mla: {_collision()}", RuntimeWarning, stacklevel=2)

__all__ = [
    "FlashMLASchedMeta",
    "Info",
    "Plan",
    "__version__",
    "append",
    "cpu_threads",
    "dequantise",
    "flash_attn_varlen_func",
    "flash_attn_varlen_kvpacked_func",
    "flash_attn_varlen_qkvpacked_func",
    "flash_mla_sparse_fwd",
    "flash_mla_with_kvcache",
    "flash_mla_with_kvcache_fp8",
    "fused_norm_rope_attn_rope_cast",
    "gather",
    "get_mla_decoding_metadata",
    "get_mla_metadata",
    "get_mla_metadata_dense_fp8",
    "has_legacy",
    "info",
    "merge_states",
    "plan",
    "quantise",
    "set_cpu_threads",
    "set_log",
]
