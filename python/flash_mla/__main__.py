"""python -m flash_mla: versions, devices, and what each kind of call is served by."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys

from . import _core
from ._info import info
from ._plan import Plan

_LONG = 128  # pages of 64 tokens, 8,192 tokens
_DENSE_HEADS = (1, 16, 64, 128)
_TOPK = 2048


def _calls():
    """(text, fields of the problem) of each kind of call."""
    common = {"batch": 1, "query_tokens": 1, "kv_heads": 1, "v_dim": 512, "page_size": 64}
    common.update(max_workers=0, batch_invariant=False, causal=False)
    for dtype in ("bf16", "fp16"):
        for heads in _DENSE_HEADS:
            fields = {"kind": "dense_decode", "dtype": dtype, "kv_format": dtype, "qk_dim": 576}
            fields.update(query_heads=heads, max_pages=_LONG, causal=True)
            yield f"dense_decode, {dtype}, h_q = {heads}", {**common, **fields}
    for kind in ("sparse_decode", "sparse_prefill"):
        for kv_format in ("bf16", "v32", "v4") if kind == "sparse_decode" else ("bf16",):
            fields = {"kind": kind, "dtype": "bf16", "kv_format": kv_format, "topk": _TOPK}
            fields.update(query_heads=64, qk_dim=512 if kv_format == "v4" else 576)
            yield f"{kind}, {kv_format} cache, h_q = 64", {**common, **fields}


def _kernel(backend, fields, device):
    """(kernel, "") that serves a call on a device, or ("", why none does)."""
    refusal = _core.refusal(backend, fields, *device)
    if refusal:
        return "", refusal
    lines = str(Plan(fields, device)).splitlines()
    return next(line[len("kernel ") :] for line in lines if line.startswith("kernel ")), ""


def report():
    """What the command prints, as values for JSON."""
    facts = info()
    served = []
    for backend in facts.backends:
        count = 0 if backend.unavailable else len(backend.devices)
        for index in range(count if backend.name == "cuda" else min(count, 1)):
            calls = []
            for call, fields in _calls():
                kernel, refusal = _kernel(backend.name, fields, (backend.name, index))
                calls.append({"call": call, "kernel": kernel, "refusal": refusal})
            served.append({"device": f"{backend.name}:{index}", "calls": calls})
    return {**dataclasses.asdict(facts), "served": served}


def _print(values, text):
    print(text)
    for device in values["served"]:
        print(f"\ncalls on {device['device']}, contexts of up to {_LONG * 64} tokens")
        width = max(len(call["call"]) for call in device["calls"])
        for call in device["calls"]:
            answer = call["kernel"] or f"not served: {call['refusal']}"
            print(f"  {call['call']:{width}}  {answer}")


def main(arguments=None):
    """Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m flash_mla",
        description="What this installation can do. Exit status: 0; 1 where there is a problem "
        "with the installation or the backend of --need cannot be used.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--need", metavar="BACKEND", choices=["cpu", "cuda"],
                        help="cpu or cuda: the backend that has to be usable")  # fmt: skip
    given = parser.parse_args(arguments)
    values = report()
    if given.json:
        print(json.dumps(values, indent=2, ensure_ascii=False))
    else:
        _print(values, str(info()))
    usable = {backend["name"] for backend in values["backends"] if not backend["unavailable"]}
    if given.need is not None and given.need not in usable:
        print(f"the backend {given.need} cannot be used here", file=sys.stderr)
        return 1
    return 1 if values["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
