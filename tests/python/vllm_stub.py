"""A stand-in for the modules of vLLM that the plug-in touches, with the names, the signatures and
the order of calls of versions 0.26.0 and 0.33.0. Nothing here computes attention.

What the two versions do differently:

                                         0.26.0           0.33.0
    _build_decode gets max_query_len     no               yes
    get_supported_kernel_block_sizes     no argument      kv_cache_spec=None
    head sizes of the MLA backends       320, 576         320, 512, 576
    latent part of the query             heads first      tokens first
    supports_dcp                         True             False unless the backend says so
    vendored flash_mla_with_kvcache      up to out        also enable_batch_invariant
"""

import dataclasses
import enum
import sys
import types
import typing

VERSIONS = "0.26.0", "0.33.0"
VENDORED = "vllm.third_party.flashmla.flash_mla_interface"
OPS = "vllm.v1.attention.ops.flashmla"
MLA = "vllm.model_executor.layers.attention.mla_attention"
REGISTRY = "vllm.v1.attention.backends.registry"


class DeviceCapability(typing.NamedTuple):
    major: int
    minor: int


class OnTheHost:
    """A step's numbers on the host, which nobody may look at."""

    def __getattribute__(self, name):
        raise AssertionError(f"reads {name} of what only the engine itself reads")

    def __getitem__(self, index):
        raise AssertionError("reads what only the engine itself reads")


class Own:
    """vLLM's own FlashMLA: its functions note their calls, and return what no kernel computes."""

    class FlashMLASchedMeta:
        def __init__(self):
            self.have_initialized = False
            self.config = self.tile_scheduler_metadata = self.num_splits = None

    def __init__(self):
        self.calls = []
        self.planned = 0

    def get_mla_metadata(self, *arguments, **named):
        return Own.FlashMLASchedMeta(), None

    def flash_mla_with_kvcache(self, **named):
        schedule = named["tile_scheduler_metadata"]
        assert type(schedule) is Own.FlashMLASchedMeta
        self.planned += not schedule.have_initialized
        schedule.have_initialized = True
        self.calls.append(("flash_mla_with_kvcache", named))
        return "own out", "own lse"

    def flash_mla_sparse_fwd(self, **named):
        self.calls.append(("flash_mla_sparse_fwd", named))
        return "own out", "own max", "own lse"


def _enums(tree):
    class QueryLenSupport(enum.Enum):
        SINGLE_ONLY = "single_only"
        UNIFORM = "uniform"
        VARLEN = "varlen"

    class AttentionCGSupport(enum.Enum):
        NEVER = 0
        UNIFORM_BATCH = 2

    class AttentionType(str, enum.Enum):
        DECODER = "decoder"
        ENCODER = "encoder"

    @dataclasses.dataclass(frozen=True)
    class MultipleOf:
        base: int

    tree.add("vllm.v1.attention.backend", AttentionCGSupport, AttentionType, MultipleOf)
    return QueryLenSupport


def _registry(tree):
    class AttentionBackendEnum(enum.Enum):
        FLASHMLA = "vllm.v1.attention.backends.mla.flashmla.FlashMLABackend"
        CUSTOM = None

        def is_overridden(self):
            return self in tree.overrides

        def get_path(self):
            path = tree.overrides.get(self, self.value)
            if not path:
                raise ValueError(f"Backend {self.name} must be registered before use")
            return path

    def register_backend(backend, class_path=None, is_mamba=False):
        assert isinstance(backend, AttentionBackendEnum) and not is_mamba
        tree.overrides[backend] = class_path

    tree.add(REGISTRY, AttentionBackendEnum, register_backend)


def _backend(new):
    class MLACommonBackend:
        @classmethod
        def get_supported_head_sizes(cls):
            return [320, 512, 576] if new else [320, 576]

        @classmethod
        def supports_batch_invariance(cls):
            return False

        @classmethod
        def faults(cls, head_size, dtype, kv_cache_dtype, page_size, capability, invariant, dcp):
            """What vLLM finds wrong with a configuration before it takes the backend."""
            sizes = (
                cls.get_supported_kernel_block_sizes(kv_cache_spec=None)
                if new
                else cls.get_supported_kernel_block_sizes()
            )
            answers = {
                "head size": head_size in cls.get_supported_head_sizes(),
                "dtype": dtype in cls.supported_dtypes,
                "cache": kv_cache_dtype in cls.supported_kv_cache_dtypes,
                "page": any(page_size % getattr(size, "base", size) == 0 for size in sizes),
                "capability": cls.supports_compute_capability(capability),
                "invariant": not invariant or cls.supports_batch_invariance(),
                "dcp": not dcp or cls.get_impl_cls().supports_dcp,
            }
            return [name for name, fits in answers.items() if not fits]

    return MLACommonBackend


def _metadata():
    kind = typing.TypeVar("kind")

    @dataclasses.dataclass
    class MLACommonDecodeMetadata:
        block_table: object
        seq_lens: object
        dcp_tot_seq_lens: object

    @dataclasses.dataclass
    class MLACommonMetadata(typing.Generic[kind]):
        num_decodes: int
        num_decode_tokens: int
        decode: object = None

    return MLACommonDecodeMetadata, MLACommonMetadata, kind


def _builder(new, query_len_support, metadata, kind):
    class MLACommonMetadataBuilder(typing.Generic[kind]):
        query_len_support = None

        def __init__(self, kv_cache_spec, layer_names, vllm_config, device, metadata_cls=None):
            self.metadata_cls = metadata_cls or metadata
            self.device = device
            assert self.query_len_support is query_len_support.UNIFORM

        def build(self, block_table, seq_lens, tokens, dcp_lengths=None):
            """A step of as many query tokens for each request as divide evenly."""
            requests = len(seq_lens)
            more = {"max_query_len": tokens // requests} if new else {}
            decode = self._build_decode(
                block_table_tensor=block_table,
                seq_lens_device=seq_lens if dcp_lengths is None else dcp_lengths,
                max_seq_len=OnTheHost(),
                query_start_loc_cpu=OnTheHost(),
                query_start_loc_device=OnTheHost(),
                num_decode_tokens=tokens,
                dcp_tot_seq_lens_device=None if dcp_lengths is None else seq_lens,
                **more,
            )
            return self.metadata_cls(num_decodes=requests, num_decode_tokens=tokens, decode=decode)

    return MLACommonMetadataBuilder


def _impl(new, kind):
    class MLACommonImpl(typing.Generic[kind]):
        can_return_lse_for_decode = False
        supports_dcp = not new
        dcp_world_size = 1  # the test's

        def __init__(
            self, num_heads, head_size, scale, num_kv_heads, alibi_slopes, sliding_window,
            kv_cache_dtype, logits_soft_cap, attn_type, kv_sharing_target_layer_name,
            q_lora_rank, kv_lora_rank, qk_nope_head_dim, qk_rope_head_dim, qk_head_dim,
            v_head_dim, kv_b_proj, indexer=None, q_pad_num_heads=None,
        ):  # fmt: skip
            self.num_heads, self.scale, self.kv_lora_rank = num_heads, float(scale), kv_lora_rank
            self.need_to_return_lse_for_decode = (
                self.dcp_world_size > 1 and self.can_return_lse_for_decode
            )

    return MLACommonImpl


class Tree:
    """The modules, as vLLM has them after its start."""

    def __init__(self, monkeypatch, version, capability):
        self.new = version == "0.33.0"
        self.overrides = {}
        self._patch = monkeypatch
        self.own = Own()
        for name in [name for name in sys.modules if name.partition(".")[0] == "vllm"]:
            monkeypatch.delitem(sys.modules, name)
        self.add("vllm").__version__ = version
        self.envs = self.add("vllm.envs")
        self.envs.VLLM_BATCH_INVARIANT = False
        sys.modules["vllm"].envs = self.envs
        self.platform = types.SimpleNamespace(capability=DeviceCapability(*capability))
        self.platform.get_device_capability = lambda device_id=0: self.platform.capability
        self.add("vllm.platforms").current_platform = self.platform
        _registry(self)
        support = _enums(self)
        decode, metadata, kind = _metadata()
        builder = _builder(self.new, support, metadata, kind)
        parts = _backend(self.new), decode, metadata, builder, _impl(self.new, kind), support
        self.add(MLA, *parts)
        self.vendored = self.add(VENDORED)
        for name in dir(Own):
            if not name.startswith("_"):
                setattr(self.vendored, name, getattr(self.own, name))
        # The plug-in's module of this version's classes, not of another test's.
        for name in ("flash_mla.vllm_plugin.backend", "flash_mla.vllm_plugin._replacement"):
            monkeypatch.delitem(sys.modules, name, raising=False)

    def add(self, name, *members):
        """A module with these classes and functions; the packages above it, too."""
        parent = name.rpartition(".")[0]
        if parent and parent not in sys.modules:
            self.add(parent)
        module = types.ModuleType(name)
        module.__path__ = []
        for member in members:
            setattr(module, member.__name__, member)
        self._patch.setitem(sys.modules, name, module)
        return module

    def import_ops(self):
        """The module of which vLLM's backends have the functions; it takes them over by name."""
        ops = self.add(OPS)
        for name in dir(self.vendored):
            if not name.startswith("_"):
                setattr(ops, name, getattr(self.vendored, name))
        ops.flash_mla_with_kvcache_fp8 = ops.get_mla_metadata_dense_fp8 = self.own.get_mla_metadata
        return ops

    def query_parts(self, q, weights):
        """(latent, rotary) of q [tokens, heads, 128 + 64] by weights [heads, 128, 512]."""
        import torch

        plain, rotary = q.split([128, q.shape[2] - 128], dim=-1)
        tokens, heads, _ = q.shape
        if self.new:
            latent = q.new_empty((tokens, heads, 512))
            torch.bmm(plain.transpose(0, 1), weights, out=latent.transpose(0, 1))
            return latent, rotary
        latent = q.new_empty((heads, tokens, 512))
        torch.bmm(plain.transpose(0, 1), weights, out=latent)
        return latent.transpose(0, 1), rotary
