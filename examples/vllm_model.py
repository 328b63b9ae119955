"""A small random DeepSeek-V3 for vllm_serve.py: its configuration, its weights, its prompts.

All layers are dense ones, so that nothing but attention differs from a plain transformer.
"""

import json
import math
import random

VOCABULARY = 4096
# The third one is of many that are equally long; the fifth one begins a second page of 64 tokens.
PROMPT_LENGTHS = (5, 17, 17, 64, 65, 129, 700, 2048, 4097, 5003, 6000)
TOKEN_BYTES = 1152  # of one layer's cache: 576 numbers of 2 bytes


def write_config(folder, heads, layers, max_tokens):
    """The model's folder: config.json alone, since vLLM's dummy loader reads no weights."""
    config = {
        "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3",
        "vocab_size": VOCABULARY, "hidden_size": 512, "intermediate_size": 1024,
        "moe_intermediate_size": 256, "num_hidden_layers": layers, "num_nextn_predict_layers": 0,
        "num_attention_heads": heads, "num_key_value_heads": heads, "n_shared_experts": 1,
        "n_routed_experts": 8, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1,
        "topk_method": "noaux_tc", "scoring_func": "sigmoid", "routed_scaling_factor": 2.5,
        "norm_topk_prob": True, "moe_layer_freq": 1, "first_k_dense_replace": layers, "ep_size": 1,
        "kv_lora_rank": 512, "q_lora_rank": 256, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128,
        "v_head_dim": 128, "hidden_act": "silu", "max_position_embeddings": max_tokens,
        "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "attention_bias": False,
        "attention_dropout": 0.0, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
        "bos_token_id": 0, "eos_token_id": 1, "initializer_range": 0.02, "use_cache": True,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1))


def fill_weights(model):
    """Random weights of a size under which attention matters, the same in every process.

    vLLM's own dummy weights are within 0.001 of zero, so that every token is seen alike.
    """
    import torch

    seed = 1000
    with torch.no_grad():
        for module in model.modules():
            kind = type(module).__name__.lower()
            prefix = str(getattr(module, "prefix", ""))
            for name, parameter in module.named_parameters(recurse=False):
                seed += 1
                if not parameter.is_floating_point():
                    continue
                if parameter.dim() < 2:
                    parameter.fill_(0.0 if name.endswith("bias") else 1.0)
                    continue
                deviation = parameter.shape[-1] ** -0.5
                if "embed" in kind:
                    deviation = 1.0
                elif "head" in kind:
                    deviation *= 3.0
                elif prefix.endswith("q_b_proj"):
                    deviation *= 2.5
                generator = torch.Generator(parameter.device).manual_seed(seed)
                parameter.normal_(0.0, deviation, generator=generator)


def prompts_of(lengths, seed):
    """Random prompts of these lengths, as token ids."""
    draw = random.Random(seed)
    return [[draw.randrange(2, VOCABULARY) for _ in range(length)] for length in lengths]


def compare(first, other):
    """Differences of two lists of rows, one row a request: (of log-probabilities, equal rows).

    rows: [{"tokens": […], "logprobs": [{token: log-probability}, …]}, …]. Steps behind the first
    one whose tokens differ have other contexts, and do not count.
    """
    differences, equal = [], 0
    for left, right in zip(first, other):
        equal += left == right
        for step, (a, b) in enumerate(zip(left["logprobs"], right["logprobs"])):
            differences += [abs(a[token] - b[token]) for token in a.keys() & b.keys()]
            if left["tokens"][step] != right["tokens"][step]:
                break
    return sorted(differences), equal


def statistics_of(differences):
    """(mean, the value that 99 % are below, largest); NaN where there is none."""
    if not differences:
        return math.nan, math.nan, math.nan
    middle = sum(differences) / len(differences)
    return middle, differences[len(differences) * 99 // 100], differences[-1]
