from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import Any, Literal, NamedTuple, NoReturn, Optional, TypeVar, Union, overload

# A tensor of PyTorch, NumPy, CuPy, or of any library with __dlpack__.
_Tensor = Any
_T = TypeVar("_T")
_Kind = Literal["dense_decode", "sparse_decode", "sparse_prefill"]
# The names, "bfloat16" and "float16", or a dtype of PyTorch or NumPy where there is one.
_Format = Union[Literal["bf16", "fp16", "v32", "v4"], Any]
_EmptyLse = Literal["+inf", "-inf"]
_LseLayout = Literal["bhs", "bsh"]

__version__: str
fused_norm_rope_attn_rope_cast: ModuleType

class Config(NamedTuple):
    b: int
    s_q: int
    h_q: int
    page_block_size: int
    h_k: int
    causal: bool
    is_fp8_kvcache: bool
    topk: Optional[int]
    extra_page_block_size: Optional[int]
    extra_topk: Optional[int]

class FlashMLASchedMeta:
    have_initialized: bool
    config: Optional[Config]
    tile_scheduler_metadata: Optional[_Tensor]
    num_splits: Optional[_Tensor]
    max_workers: int
    batch_invariant: bool
    def __init__(
        self,
        have_initialized: bool = False,
        config: Optional[Config] = None,
        tile_scheduler_metadata: Optional[_Tensor] = None,
        num_splits: Optional[_Tensor] = None,
        *,
        max_workers: int = 0,
        batch_invariant: bool = False,
    ) -> None: ...

@overload
def get_mla_metadata(
    cache_seqlens: None = None,
    num_q_tokens_per_head_k: Optional[int] = None,
    num_heads_k: Optional[int] = None,
    num_heads_q: Optional[int] = None,
    is_fp8_kvcache: bool = False,
    topk: Optional[int] = None,
    *,
    num_heads_per_head_k: Optional[int] = None,
    max_workers: int = 0,
    batch_invariant: bool = False,
) -> tuple[FlashMLASchedMeta, None]: ...
@overload
def get_mla_metadata(
    cache_seqlens: _T,
    num_q_tokens_per_head_k: Optional[int] = None,
    num_heads_k: Optional[int] = None,
    num_heads_q: Optional[int] = None,
    is_fp8_kvcache: bool = False,
    topk: Optional[int] = None,
    *,
    num_heads_per_head_k: Optional[int] = None,
    max_workers: int = 0,
    batch_invariant: bool = False,
) -> tuple[_T, _T]: ...
def get_mla_decoding_metadata(
    seqlens_k: _T,
    num_q_tokens_per_head_k: int,
    h_k: int,
    h_q: Optional[int] = None,
    is_fp8_kvcache: bool = False,
    topk: Optional[int] = None,
    use_legacy: bool = False,
) -> tuple[_T, _T]: ...
def get_mla_metadata_dense_fp8(
    cache_seqlens: _T, num_q_tokens_per_head_k: int, num_heads_k: int
) -> tuple[_T, _T]: ...
def has_legacy() -> bool: ...
def flash_mla_with_kvcache_fp8(
    q: _Tensor,
    k_cache: _Tensor,
    block_table: _Tensor,
    cache_seqlens: _Tensor,
    head_dim_v: int,
    tile_scheduler_metadata: Union[FlashMLASchedMeta, _Tensor],
    num_splits: Optional[_Tensor],
    softmax_scale: Optional[float] = None,
    causal: bool = False,
    descale_q: Optional[_Tensor] = None,
    descale_k: Optional[_Tensor] = None,
) -> NoReturn: ...
def flash_mla_with_kvcache(
    q: Union[_T, tuple[_T, _T]],
    k_cache: _Tensor,
    block_table: Optional[_Tensor],
    cache_seqlens: Optional[_Tensor],
    head_dim_v: int,
    tile_scheduler_metadata: Union[FlashMLASchedMeta, _Tensor],
    num_splits: Optional[_Tensor] = None,
    softmax_scale: Optional[float] = None,
    causal: bool = False,
    is_fp8_kvcache: Optional[bool] = False,
    indices: Optional[_Tensor] = None,
    attn_sink: Optional[_Tensor] = None,
    extra_k_cache: Optional[_Tensor] = None,
    extra_indices_in_kvcache: Optional[_Tensor] = None,
    topk_length: Optional[_Tensor] = None,
    extra_topk_length: Optional[_Tensor] = None,
    *,
    out: Optional[_T] = None,
    lse: Optional[_T] = None,
    empty_lse: _EmptyLse = "+inf",
    lse_base: Optional[float] = None,
    enable_batch_invariant: bool = False,
    use_legacy: Optional[bool] = None,
    kv_format: Optional[str] = None,
    descale_q: Optional[_Tensor] = None,
    descale_k: Optional[_Tensor] = None,
) -> tuple[_T, _T]: ...
def flash_mla_sparse_fwd(
    q: _T,
    kv: _Tensor,
    indices: _Tensor,
    sm_scale: float,
    d_v: int = 512,
    attn_sink: Optional[_Tensor] = None,
    topk_length: Optional[_Tensor] = None,
    *,
    out: Optional[_T] = None,
    max_logits: Optional[_T] = None,
    lse: Optional[_T] = None,
    empty_lse: _EmptyLse = "+inf",
    lse_base: Optional[float] = None,
    use_legacy: Optional[bool] = None,
    return_log2_lse: Optional[bool] = None,
) -> tuple[_T, Optional[_T], Optional[_T]]: ...

class Plan:
    fields: dict[str, Any]
    device: tuple[str, int]
    number: int
    @property
    def backend(self) -> str: ...
    @property
    def plan_workspace_bytes(self) -> int: ...
    @property
    def run_workspace_bytes(self) -> int: ...
    @property
    def scheduled(self) -> bool: ...
    def schedule(self, lengths: Optional[_Tensor] = None) -> Plan: ...
    def run(
        self,
        q: _Tensor,
        kv_cache: _Tensor,
        block_table: Optional[_Tensor] = None,
        *,
        attn_sink: Optional[_Tensor] = None,
        softmax_scale: Optional[float] = None,
        indices: Optional[_Tensor] = None,
        topk_length: Optional[_Tensor] = None,
        extra_kv_cache: Optional[_Tensor] = None,
        extra_indices: Optional[_Tensor] = None,
        extra_topk_length: Optional[_Tensor] = None,
        out: Optional[_Tensor] = None,
        lse: Optional[_Tensor] = None,
        max_logits: Optional[_Tensor] = None,
        empty_lse: _EmptyLse = "+inf",
        lse_base: Optional[float] = None,
        q_rotary: Optional[_Tensor] = None,
    ) -> tuple[_Tensor, ...]: ...
    def status(self) -> int: ...
    def array(self, name: Literal["work", "split_offset"]) -> _Tensor: ...

def plan(
    kind: _Kind = "dense_decode",
    *,
    device: Any,
    batch: int = 1,
    query_heads: int,
    query_tokens: int = 1,
    kv_heads: int = 1,
    dtype: Union[Literal["bf16", "fp16"], Any] = "bf16",
    kv_format: Optional[_Format] = None,
    qk_dim: Optional[int] = None,
    v_dim: int = 512,
    page_size: Optional[int] = None,
    max_pages: int = 0,
    topk: int = 0,
    extra_topk: int = 0,
    extra_page_size: int = 0,
    causal: bool = False,
    batch_invariant: bool = False,
    max_workers: int = 0,
    max_blocks: Optional[int] = None,
    split_query: bool = False,
) -> Plan: ...
def merge_states(
    outs: Iterable[_T],
    lses: Iterable[_Tensor],
    attn_sink: Optional[_Tensor] = None,
    *,
    out: Optional[_T] = None,
    lse: Optional[_Tensor] = None,
    lse_layout: _LseLayout = "bhs",
    empty_lse: _EmptyLse = "+inf",
    lse_base: Optional[float] = None,
) -> tuple[_T, _Tensor]: ...
def append(cache: _T, rows: _Tensor, slots: _Tensor, *, format: Optional[_Format] = None) -> _T: ...
def gather(
    cache: _Tensor,
    slots: _Tensor,
    *,
    format: Optional[_Format] = None,
    out: Optional[_Tensor] = None,
) -> _Tensor: ...
def quantise(plain: _Tensor, format: _Format, *, cache: Optional[_Tensor] = None) -> _Tensor: ...
def dequantise(
    cache: _Tensor, format: Optional[_Format] = None, *, plain: Optional[_Tensor] = None
) -> _Tensor: ...

class Backend:
    name: str
    unavailable: str
    devices: Sequence[str]

class Info:
    version: str
    library_version: str
    backends: Sequence[Backend]
    cpu_threads: int
    python: str
    torch: Optional[str]
    problems: Sequence[str]

def info() -> Info: ...
def cpu_threads() -> int: ...
def set_cpu_threads(threads: int) -> None: ...
def set_log(callback: Optional[Callable[[str], Any]]) -> None: ...
def flash_attn_varlen_func(*args: Any, **kwargs: Any) -> Any: ...
def flash_attn_varlen_qkvpacked_func(*args: Any, **kwargs: Any) -> Any: ...
def flash_attn_varlen_kvpacked_func(*args: Any, **kwargs: Any) -> Any: ...
