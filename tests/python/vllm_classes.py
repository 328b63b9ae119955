"""Drives the classes of an installed vLLM with the plug-in, on the CPU; see test_vllm_classes.py.

vLLM's own code loads the plug-in, asks the backend, builds the metadata of a step, and calls
attention, of CUSTOM and of its own FLASHMLA and FLASHMLA_SPARSE. Objects are made without a model
and a configuration, and the GPU and the vendored extension are made up: no GPU is needed.
"""

import importlib
import inspect
import os
import sys
import types

import cases
import frameworks
import numpy
import reference
import torch

os.environ["FLASH_MLA_VLLM"] = "1"

import vllm.platforms
from vllm.platforms.interface import DeviceCapability
from vllm.plugins import load_general_plugins

FW = frameworks.Torch("cpu")
HOPPER, REQUESTS, S_Q, HEADS = DeviceCapability(9, 0), 3, 2, 16


def pretend_a_hopper_gpu():
    """A GPU, and the vendored extension modules, which vLLM imports and nobody here calls."""
    for name in ("vllm._flashmla_C", "vllm._flashmla_extension_C"):
        sys.modules[name] = types.ModuleType(name)
    platform = type(vllm.platforms.current_platform)
    platform.get_device_capability = classmethod(lambda cls, device_id=0: HOPPER)
    platform.is_cuda = lambda self: True
    importlib.import_module("vllm.v1.attention.ops.flashmla")
    del platform.is_cuda  # nothing else is for a GPU


def ask(backend):
    """What vLLM finds wrong with the backend in some configurations."""
    question = {
        "head_size": 576, "dtype": torch.bfloat16, "kv_cache_dtype": "auto", "block_size": 64,
        "use_mla": True, "has_sink": False, "use_sparse": False, "use_mm_prefix": False,
        "use_per_head_quant_scales": False, "device_capability": HOPPER, "attn_type": "decoder",
        "use_batch_invariant": True, "use_dcp": True,
    }  # fmt: skip
    known = inspect.signature(backend.validate_configuration).parameters
    question = {name: value for name, value in question.items() if name in known}
    for change in ({}, {"block_size": 48}, {"dtype": torch.float16}):
        assert backend.validate_configuration(**{**question, **change}) == [], change
    for change in (
        {"kv_cache_dtype": "fp8"},
        {"use_sparse": True},
        {"head_size": 320},
        {"device_capability": DeviceCapability(10, 0)},
    ):
        assert len(backend.validate_configuration(**{**question, **change})) == 1, change
    assert backend.get_preferred_block_size(16) == 64


def step_of(builder_class, metadata_class, case):
    """A step's metadata, and those of a capture, by vLLM's builder."""
    from vllm.v1.attention.backend import CommonAttentionMetadata

    builder = object.__new__(builder_class)
    builder.__dict__.update(
        metadata_cls=metadata_class, device=torch.device("cpu"), dcp_world_size=1, use_pcp=False,
        model_config=types.SimpleNamespace(get_head_size=lambda: 576), num_q_heads=HEADS,
        is_fp8_kvcache=False, non_causal_multi_token_decode=False,
        mla_dims=types.SimpleNamespace(kv_lora_rank=512, qk_rope_head_dim=64),
    )  # fmt: skip
    starts = torch.arange(REQUESTS + 1, dtype=torch.int32) * S_Q
    common = CommonAttentionMetadata(
        query_start_loc=starts, query_start_loc_cpu=starts.clone(), seq_lens=case.lengths,
        num_reqs=REQUESTS, num_actual_tokens=REQUESTS * S_Q, max_query_len=S_Q, max_seq_len=150,
        block_table_tensor=case.table, slot_mapping=torch.zeros(6, dtype=torch.int64),
    )  # fmt: skip
    return builder.build(0, common), builder.build_for_cudagraph_capture(common)


def attend(impl_class, steps, case):
    """Attention of one layer, with the query as vLLM has it; compares with the reference."""
    impl = object.__new__(impl_class)
    impl.__dict__.update(
        scale=0.1, kv_lora_rank=512, need_to_return_lse_for_decode=False, kv_cache_dtype="auto"
    )
    q = case.q.flatten(0, 1)
    latent = q[..., :512].transpose(0, 1).contiguous().transpose(0, 1)
    for step in steps:
        out, _ = impl.forward_mqa((latent, q[..., 512:]), case.cache[:, :, 0], step, None)
        wanted, lse = case.wanted
        reference.check(FW.numbers(out.view(wanted.shape)), lse, wanted, lse)


def attend_sparse(module, rng):
    """The calls of FLASHMLA_SPARSE, over an FP8 and over a bf16 cache, which the CPU serves."""
    impl = object.__new__(module.FlashMLASparseImpl)
    impl.__dict__.update(
        softmax_scale=0.1, num_heads=HEADS, prefill_padding=HEADS, fp8_decode_padded_heads=HEADS
    )
    case = cases.sparse(FW, rng, h_q=HEADS)
    step = types.SimpleNamespace(
        scheduler_metadata=module.get_mla_metadata()[0], dummy_block_table=None, cache_lens=None
    )
    cache = case.cache[:, :, 0]
    results = impl._fp8_flash_mla_kernel(case.q, cache, case.indices, step)
    wanted = reference.sparse(*case.values.values(), 0.1)
    reference.check(*(FW.numbers(tensor) for tensor in results), *wanted)
    (q, kv, indices), values = cases.prefill(FW, rng, h_q=HEADS)
    out = impl._bf16_flash_mla_kernel(q, kv.view(7, 10, 576), indices[:, 0])
    wanted, _, lse = reference.prefill(*values, 0.1)
    reference.check(FW.numbers(out[0] if isinstance(out, tuple) else out), lse, wanted, lse)


def main():
    load_general_plugins()
    pretend_a_hopper_gpu()
    importlib.import_module("flash_mla.vllm_plugin").register()
    from vllm.model_executor.layers.attention.mla_attention import MLACommonMetadata
    from vllm.v1.attention.backends.mla import flashmla, flashmla_sparse
    from vllm.v1.attention.backends.registry import AttentionBackendEnum

    backend = AttentionBackendEnum.CUSTOM.get_class()
    ask(backend)
    builder, impl = backend.get_builder_cls(), backend.get_impl_cls()
    assert not impl.__abstractmethods__ and not builder.__abstractmethods__
    rng = numpy.random.default_rng()
    case = cases.dense(FW, rng, s_q=S_Q, h_q=HEADS, longest=150, scale=0.1, causal=True)
    attend(impl, step_of(builder, MLACommonMetadata, case), case)
    builder, impl = flashmla.FlashMLAMetadataBuilder, flashmla.FlashMLAImpl
    steps = step_of(builder, flashmla.FlashMLAMetadata, case)
    attend(impl, steps, case)
    assert type(steps[0].decode.scheduler_metadata).__module__.startswith("flash_mla.")
    attend_sparse(flashmla_sparse, rng)
    print(f"vLLM {vllm.__version__}: CUSTOM, FLASHMLA and FLASHMLA_SPARSE are right")


if __name__ == "__main__":
    main()
