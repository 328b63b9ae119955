#!/usr/bin/env python3
"""A DeepSeek-V3 model from transformers, decoding with FlashMLA over a paged latent cache.

    pip install . torch transformers
    python examples/deepseek_decode.py [--device cuda] [--steps 64] [--seed 0]

The model is small and its weights are random. Several requests of different length are decoded in
one batch. They share a prefix, whose pages are stored once. Attention is absorbed: W_UK is
multiplied into the query and W_UV into the result, so that no cached latent row is expanded to keys
and values of every head.

The same tokens then go through transformers' own attention in bf16 and in float32. The program
fails where the logits of FlashMLA and of transformers in bf16 differ by more than three times the
difference of transformers in bf16 and in float32. It also fails where greedy generation with
transformers' own attention takes another token although the choice was clear.
"""

import argparse
import sys
import types

import flash_mla
import torch
import transformers
from transformers.models.deepseek_v3 import modeling_deepseek_v3 as deepseek

PAGE = 64


def make_model(seed, device):
    torch.manual_seed(seed)
    config = transformers.DeepseekV3Config(
        vocab_size=512,
        hidden_size=256,
        intermediate_size=512,
        moe_intermediate_size=128,
        num_hidden_layers=3,
        num_attention_heads=8,
        num_key_value_heads=8,
        # Every expert takes part: a choice of experts would change with rounding errors and hide
        # the errors of attention.
        n_routed_experts=4,
        num_experts_per_tok=4,
        n_group=1,
        topk_group=1,
        first_k_dense_replace=1,
        q_lora_rank=128,
        kv_lora_rank=512,
        qk_nope_head_dim=128,
        qk_rope_head_dim=64,
        v_head_dim=128,
        max_position_embeddings=2048,
        initializer_range=0.05,
        eos_token_id=None,
    )
    model = transformers.DeepseekV3ForCausalLM(config).eval()
    return model.to(device=device, dtype=torch.bfloat16)


class PagedCache:
    """One latent cache for each layer, and the pages of each request.

    layers: [num_pages, 64, 1, 576] bf16 each; tables: a list of page numbers for each request.
    """

    def __init__(self, layers, num_pages, device):
        shape = (num_pages, PAGE, 1, 576)
        nan = float("nan")  # unused rows may hold anything
        self.layers = [
            torch.full(shape, nan, dtype=torch.bfloat16, device=device) for _ in range(layers)
        ]
        self.free = list(range(num_pages))
        self.device = device

    def grow(self, table, tokens):
        """Gives a request pages for this many tokens."""
        while len(table) * PAGE < tokens:
            table.append(self.free.pop())

    def slots(self, table, first, last):
        """Slots of tokens first … last − 1: int64."""
        return [table[t // PAGE] * PAGE + t % PAGE for t in range(first, last)]

    def block_table(self, tables):
        width = max(map(len, tables))
        rows = [table + [-1] * (width - len(table)) for table in tables]
        return torch.tensor(rows, dtype=torch.int32, device=self.device)


class Step:
    """Data that all layers of one step share: slots of the new tokens, lengths, pages, schedule."""

    def __init__(self, cache, tables, before, s_q):
        device = cache.device
        slots = []
        for table, first in zip(tables, before):
            cache.grow(table, first + s_q)
            slots += cache.slots(table, first, first + s_q)
        self.cache = cache
        self.slots = torch.tensor(slots, dtype=torch.int64, device=device)
        self.lengths = torch.tensor([n + s_q for n in before], dtype=torch.int32, device=device)
        self.block_table = cache.block_table(tables)
        self.schedule, _ = flash_mla.get_mla_metadata()
        positions = torch.tensor(before, device=device)[:, None] + torch.arange(s_q, device=device)
        self.positions = positions


def absorbed_attention(self, hidden_states, position_embeddings, attention_mask=None, **_):
    """DeepseekV3Attention.forward with FlashMLA. self.step is the current Step."""
    b, s_q = hidden_states.shape[:2]
    heads, nope, latent = self.num_heads, self.qk_nope_head_dim, self.kv_lora_rank
    query = self.q_b_proj(self.q_a_layernorm(self.q_a_proj(hidden_states)))
    query = query.view(b, s_q, heads, self.qk_head_dim).transpose(1, 2)
    q_nope, q_rotary = query.split([nope, self.qk_rope_head_dim], -1)
    row = self.kv_a_proj_with_mqa(hidden_states)
    kv, k_rotary = row.split([latent, self.qk_rope_head_dim], -1)
    kv = self.kv_a_layernorm(kv)
    q_rotary, k_rotary = deepseek.apply_rotary_pos_emb_interleave(
        q_rotary, k_rotary[:, None], *position_embeddings
    )
    # A cached row is [latent, rotary], which all heads share.
    step, cache = self.step, self.step.cache.layers[self.layer_idx]
    rows = torch.cat([kv, k_rotary[:, 0]], -1).view(b * s_q, 1, 576)
    flash_mla.append(cache, rows, step.slots)
    # kv_b_proj is [W_UK; W_UV] of each head: [heads, nope + v, latent].
    weight = self.kv_b_proj.weight.view(heads, nope + self.v_head_dim, latent)
    w_uk, w_uv = weight.split([nope, self.v_head_dim], 1)
    q_latent = torch.einsum("bhsn,hnl->bshl", q_nope, w_uk)
    absorbed = torch.cat([q_latent, q_rotary.transpose(1, 2)], -1)
    out, _ = flash_mla.flash_mla_with_kvcache(
        absorbed, cache, step.block_table, step.lengths, latent, step.schedule,
        softmax_scale=self.scaling, causal=True,
    )  # fmt: skip
    out = torch.einsum("bshl,hvl->bshv", out, w_uv)
    return self.o_proj(out.reshape(b, s_q, heads * self.v_head_dim)), None


def run_step(model, tokens, cache, tables, before):
    """Logits of the last token of each request: float32 [b, vocabulary]. tokens: [b, s_q]."""
    step = Step(cache, tables, before, tokens.shape[1])
    for layer in model.model.layers:
        layer.self_attn.step = step
    # transformers needs no cache and no mask, because absorbed_attention() computes attention.
    result = model(input_ids=tokens, position_ids=step.positions, use_cache=False)
    return result.logits[:, -1].float()


def generate(model, prefix, suffixes, steps):
    """Greedy decoding with FlashMLA: (tokens [b, steps], logits [steps, b, vocabulary])."""
    device = prefix.device
    original = deepseek.DeepseekV3Attention.forward
    for layer in model.model.layers:
        layer.self_attn.forward = types.MethodType(absorbed_attention, layer.self_attn)
    pages = len(prefix) // PAGE + sum((len(s) + steps) // PAGE + 2 for s in suffixes)
    cache = PagedCache(len(model.model.layers), pages, device)
    shared = []
    run_step(model, prefix[None], cache, [shared], [0])
    # Each request continues behind the shared pages, which are not written again.
    tables = [list(shared) for _ in suffixes]
    logits = [
        run_step(model, suffix[None], cache, [table], [len(prefix)])
        for suffix, table in zip(suffixes, tables)
    ]
    logits = [torch.cat(logits)]
    lengths = [len(prefix) + len(suffix) for suffix in suffixes]
    tokens = [logits[0].argmax(-1)]
    for _ in range(steps - 1):
        logits.append(run_step(model, tokens[-1][:, None], cache, tables, lengths))
        tokens.append(logits[-1].argmax(-1))
        lengths = [n + 1 for n in lengths]
    for layer in model.model.layers:
        layer.self_attn.forward = types.MethodType(original, layer.self_attn)
    return torch.stack(tokens, 1), torch.stack(logits)


def own_logits(model, prompt, tokens):
    """transformers' own attention over the whole sequence: [steps, vocabulary] float32."""
    sequence = torch.cat([prompt, tokens[:-1]])
    return model(input_ids=sequence[None], use_cache=False).logits[0, -len(tokens) :].float()


def own_tokens(model, prompt, steps):
    """Greedy generation with transformers' own attention and cache."""
    sequence = model.generate(
        prompt[None], attention_mask=torch.ones_like(prompt[None]), max_new_tokens=steps,
        do_sample=False, pad_token_id=0,
    )  # fmt: skip
    return sequence[0, len(prompt) :]


def first_difference(tokens, others):
    differing = (tokens != others).nonzero()
    return int(differing[0]) if len(differing) else None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    torch.set_grad_enabled(False)
    model = make_model(arguments.seed, arguments.device)

    def draw(n):
        return torch.randint(0, 512, (n,)).to(arguments.device)

    prefix, suffixes = draw(2 * PAGE), [draw(n) for n in (5, 64, 37, 150)]
    tokens, logits = generate(model, prefix, suffixes, arguments.steps)
    prompts = [torch.cat([prefix, suffix]) for suffix in suffixes]
    own = [own_logits(model, p, t) for p, t in zip(prompts, tokens)]
    generated = [own_tokens(model, p, arguments.steps) for p in prompts]
    exact = [own_logits(model.float(), p, t) for p, t in zip(prompts, tokens)]

    ours = max(float((logits[:, r] - own[r]).abs().max()) for r in range(len(prompts)))
    theirs = max(float((own[r] - exact[r]).abs().max()) for r in range(len(prompts)))
    print(f"{flash_mla.info()}\n")
    print(
        f"{len(prompts)} requests of {[len(p) for p in prompts]} tokens on {arguments.device}, "
        f"{len(prefix)} of them shared; {arguments.steps} steps"
    )
    print(
        f"largest logit {float(logits.abs().max()):.3f}; largest difference of logits: "
        f"FlashMLA and transformers in bf16 {ours:.4f}, "
        f"transformers in bf16 and in float32 {theirs:.4f}"
    )
    right = ours <= 3 * theirs
    for r, others in enumerate(generated):
        place = first_difference(tokens[r], others)
        if place is None:
            print(f"request {r}: {arguments.steps} tokens, all equal")
            continue
        best = logits[place, r].topk(2).values
        gap = float(best[0] - best[1])
        print(
            f"request {r}: equal up to token {place}, where the two best logits lie {gap:.4f} apart"
        )
        right = right and gap < 2 * ours
    print("agrees" if right else "DOES NOT AGREE")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
