"""One engine of vllm_serve.py: a process with vLLM, which does what it reads from standard input.

    python examples/vllm_worker.py --way custom --heads 16 --graphs < commands

Commands are lines: `check` decodes the prompts, `time BATCH CONTEXT STEPS` times decoding steps,
`end` ends. Each one is answered by a line `RESULT` with a JSON object. Everything else that is
printed is vLLM's log.
"""

import argparse
import collections
import importlib
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

import vllm_model

VENDORED = "vllm.third_party.flashmla.flash_mla_interface"
# way: (vLLM's name of the backend, value of FLASH_MLA_VLLM)
WAYS = {
    "custom": ("CUSTOM", "0"),
    "replaced": ("FLASHMLA", "1"),
    "own": ("FLASHMLA", "0"),
    "flash_attn": ("FLASH_ATTN_MLA", "0"),
    "triton": ("TRITON_MLA", "0"),
}
# Parts of the names of attention kernels: FlashMLA's, the vendored ones, FlashAttention, Triton.
ATTENTION = (
    "flashmla::", "flash_fwd_splitkv_mla", "flash_fwd_mla_combine", "get_mla_metadata",
    "FlashAttnFwd", "prepare_varlen", "_fwd_grouped_kernel_stage", "_fwd_kernel_stage",
)  # fmt: skip
MAX_TOKENS = 8704

calls: collections.Counter = collections.Counter()


def count_calls(module_name, label):
    """Counts the calls of a module's flash_mla_with_kvcache, eager ones and ones in a capture."""
    import torch

    try:
        module = importlib.import_module(module_name)
    except ImportError:
        return
    function = module.flash_mla_with_kvcache

    def counted(*arguments, **named):
        captured = " in capture" if torch.cuda.is_current_stream_capturing() else ""
        calls[label + captured] += 1
        return function(*arguments, **named)

    module.flash_mla_with_kvcache = counted


def use_random_weights():
    """Has vLLM's dummy loader call fill_weights."""
    from vllm.model_executor.model_loader import dummy_loader

    def load_weights(loader, model, model_config):
        vllm_model.fill_weights(model)

    dummy_loader.DummyModelLoader.load_weights = load_weights


def make_engine(options, folder):
    from vllm import LLM

    graphs = {"mode": 0, "cudagraph_mode": "FULL_DECODE_ONLY" if options.graphs else "NONE"}
    if options.graphs:
        graphs["cudagraph_capture_sizes"] = [1, 2, 4, 8, 16, 32, 64]
    return LLM(
        model=str(folder),
        load_format="dummy",
        skip_tokenizer_init=True,
        dtype="bfloat16",
        seed=0,
        max_model_len=MAX_TOKENS,
        max_num_seqs=64,
        max_num_batched_tokens=16384,
        block_size=64,
        enforce_eager=not options.graphs,
        enable_prefix_caching=False,
        kv_cache_memory_bytes=options.cache_tokens * vllm_model.TOKEN_BYTES * options.layers,
        gpu_memory_utilization=0.05,
        attention_config={"backend": WAYS[options.way][0]},
        compilation_config=graphs,
    )


def decoded(engine, forced, new_tokens):
    """Greedy decoding of the prompts; forced: the tokens are given, the same in every engine.

    The model's logits are bf16, so that near-ties are frequent and free sequences of any two
    backends part soon. The log-probabilities are those before the bias that gives the tokens.
    """
    from vllm import SamplingParams

    prompts = vllm_model.prompts_of(vllm_model.PROMPT_LENGTHS, 7)
    params = [
        SamplingParams(
            temperature=0.0, max_tokens=new_tokens, ignore_eos=True, logprobs=5, detokenize=False,
            logit_bias={100 + 31 * i: 100.0} if forced else None,
        )
        for i in range(len(prompts))
    ]  # fmt: skip
    results = engine.generate(
        [{"prompt_token_ids": prompt} for prompt in prompts], params, use_tqdm=False
    )
    rows = []
    for result in results:
        output = result.outputs[0]
        steps = [{str(token): e.logprob for token, e in s.items()} for s in output.logprobs]
        rows.append({"tokens": list(output.token_ids), "logprobs": steps})
    return rows


def begin_batch(core, batch, context, steps):
    """Adds requests and steps until each of them decodes."""
    from vllm import SamplingParams

    params = SamplingParams(
        temperature=0.0, max_tokens=steps + 120, ignore_eos=True, detokenize=False
    )
    for i, prompt in enumerate(vllm_model.prompts_of([context] * batch, 13)):
        core.add_request(f"{i}-{time.monotonic_ns()}", {"prompt_token_ids": prompt}, params)
    decoding = set()
    while len(decoding) < batch:
        for output in core.step():
            if len(output.outputs[0].token_ids) >= 2:
                decoding.add(output.request_id)
    for _ in range(8):
        core.step()


def kernels_of(core, steps):
    """{kernel: µs a step} of the GPU, and of the attention kernels alone."""
    import torch

    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as trace:
        for _ in range(steps):
            core.step()
        torch.cuda.synchronize()
    times = {e.key: e.self_device_time_total / steps for e in trace.key_averages()}
    attention = {k[:100]: t for k, t in times.items() if t and any(m in k for m in ATTENTION)}
    return sum(times.values()), attention


def timed(engine, layers, batch, context, steps):
    """Times of decoding steps of one batch, and its kernels."""
    core = engine.llm_engine
    begin_batch(core, batch, context, steps)
    times = []
    for _ in range(steps):
        began = time.perf_counter()
        core.step()
        times.append((time.perf_counter() - began) * 1e3)
    whole, attention = kernels_of(core, 6)
    while core.has_unfinished_requests():
        core.step()
    step = statistics.median(times)
    return {
        "tokens_per_s": batch * 1e3 / step,
        "step_ms": step,
        "gpu_us": whole,
        "attention_us_a_layer": sum(attention.values()) / layers,
        "kernels": attention,
    }


def answer(result):
    print("RESULT " + json.dumps(result), flush=True)


def serve(options, engine):
    for line in sys.stdin:
        command, *numbers = line.split()
        if command == "end":
            break
        if command == "check":
            rows = {name: decoded(engine, name == "forced", 32) for name in ("forced", "free")}
            answer({"rows": rows, "calls": dict(calls)})
        else:
            answer(timed(engine, options.layers, *map(int, numbers)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--way", choices=WAYS, required=True)
    parser.add_argument("--heads", type=int, default=16)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--graphs", action="store_true")
    parser.add_argument("--cache-tokens", type=int, default=64 * MAX_TOKENS)
    options = parser.parse_args()
    os.environ["FLASH_MLA_VLLM"] = WAYS[options.way][1]
    for name, value in (
        ("VLLM_ENABLE_V1_MULTIPROCESSING", "0"),
        ("VLLM_USE_FLASHINFER_SAMPLER", "0"),
        ("VLLM_USE_DEEP_GEMM", "0"),
        ("VLLM_NO_USAGE_STATS", "1"),
        ("HF_HUB_OFFLINE", "1"),
    ):
        os.environ.setdefault(name, value)
    # Before the plug-in and vLLM take the functions over by name.
    count_calls("flash_mla._decode", "FlashMLA")
    count_calls(VENDORED, "vendored")
    use_random_weights()
    with tempfile.TemporaryDirectory() as folder:
        model = pathlib.Path(folder)
        vllm_model.write_config(model, options.heads, options.layers, MAX_TOKENS)
        engine = make_engine(options, model)
        answer({"ready": True, "calls": dict(calls)})
        serve(options, engine)
    os._exit(0)  # the engine's threads need no orderly end


if __name__ == "__main__":
    main()
