"""Measures the errors of a package `flash_mla`, in a process of its own: `compare_peers.py
--accuracy` starts one for each library. Reads calls from standard input, one JSON object a line
(b, h_q, tokens, scale, dtype, seed), and answers each with its errors. All workers on one machine
draw the same numbers. usage: accuracy_worker.py NAME [PATH to look for the package first]"""

import json
import sys

from peer_accuracy import errors
from peer_worker import LATENT, PAGE, SCALE, WIDTH, Upstream, tables


def draw(torch, call, device="cuda"):
    """(q, cache, table, lengths) of a call."""
    torch.manual_seed(call["seed"])
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[call["dtype"]]
    lengths = [call["tokens"]] * call["b"]
    table, _, counts = tables(torch, lengths, PAGE, device)

    def normal(*size):
        return (torch.randn(*size, device=device) * call["scale"]).to(dtype)

    q = normal(call["b"], 1, call["h_q"], WIDTH)
    return q, normal(sum(counts), PAGE, 1, WIDTH), table, lengths


def reference(torch, q, cache, table, lengths):
    """Attention in float64: [b, h_q, 512]."""
    rows = []
    for request, pages, length in zip(q, table, lengths):
        keys = cache[pages.long()].view(-1, WIDTH)[:length].double()
        weights = torch.softmax(request[0].double() @ keys.T * SCALE, dim=-1)
        rows.append(weights @ keys[:, :LATENT])
    return torch.stack(rows)


def sums(out, wanted):
    """(⟨out, out⟩, ⟨out, wanted⟩, ⟨wanted, wanted⟩) of each row; both [b, h_q, 512] in float64."""
    pairs = ((out, out), (out, wanted), (wanted, wanted))
    return list(zip(*((a * b).sum(-1).flatten().tolist() for a, b in pairs)))


def main():
    name = sys.argv[1]
    sys.path[:0] = sys.argv[2:3]
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever a library prints
    import torch
    peer = Upstream(torch)
    print(json.dumps({"version": peer.version, "torch": torch.__version__, "name": name,
                      "gpu": torch.cuda.get_device_name()}), file=answers, flush=True)
    for line in sys.stdin:
        call = json.loads(line)
        q, cache, table, lengths = draw(torch, call)
        out, _ = peer.prepare(q, cache, table, lengths, causal=False)()
        wanted = reference(torch, q, cache, table, lengths)
        print(json.dumps(errors(sums(out[:, 0].double(), wanted))), file=answers, flush=True)
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
