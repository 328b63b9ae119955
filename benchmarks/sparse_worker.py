"""Times sparse decoding of another library, in a process of its own: `compare_peers.py --suite
sparse` starts it. Reads calls from standard input, one JSON object a line (the fields of
peer_sparse.SparseShape), and answers each with its times, or null where the library does not serve
it. Calls are timed as in peer_worker.py.
usage: sparse_worker.py upstream|flashinfer_p1 [PATH to look for the package first]

Lists and caches are made as `flashmla bench` makes them: a query token lists distinct slots of its
own request, whose pages lie all over the cache. FP8 caches hold quantised random rows with powers
of two as scales."""

import json
import sys

from peer_sparse import FLASHINFER, SparseShape
from peer_worker import LATENT, ROTARY, Timer, Upstream

MADE_TOKENS = 16384  # that a cache repeats
V4_LATENT = 448
V4_ROW = V4_LATENT + 2 * ROTARY


class Maker:
    """Makes lists and caches."""

    def __init__(self, torch, device="cuda"):
        self.torch = torch
        self.device = device

    def lists(self, shape, topk, page, valid=0, scattered=False):
        """[b, s_q, topk] int32: distinct slots of each request; −1 in entries that name none."""
        torch, device, valid = self.torch, self.device, valid or topk
        pages = -(-shape.slots() // page)
        order = torch.randperm(shape.b * pages, device=device).view(shape.b, pages)
        lists = torch.full((shape.b, shape.s_q, topk), -1, dtype=torch.int32, device=device)
        for request in range(shape.b):
            for token in range(shape.s_q):
                drawn = torch.randperm(pages * page, device=device)[:valid]
                slots = order[request, drawn // page] * page + drawn % page
                places = torch.arange(valid, device=device)
                if scattered:
                    places = torch.randperm(topk, device=device)[:valid]
                lists[request, token, places] = slots.int()
        return lists

    def cache(self, shape, page):
        """[pages, page, 1, bytes of a token] in e4m3, as upstream takes it."""
        pages = shape.b * -(-shape.slots() // page)
        make = {"v32": self.v32_cache, "v4": self.v4_cache}[shape.format]
        return make(pages, page).view(self.torch.float8_e4m3fn)

    def v32_cache(self, pages, page):
        latent, scales, rotary = self.rows(MADE_TOKENS, LATENT, 128)
        tokens = self.torch.cat([latent, as_bytes(self.torch, scales), rotary], dim=1)
        return repeated(tokens, pages * page).view(pages, page, 1, -1)

    def v4_cache(self, pages, page):
        """The rows of a page, then its scales. Pages begin at multiples of a row."""
        torch = self.torch
        made = min(pages, max(1, MADE_TOKENS // page))
        latent, scales, rotary = self.rows(made * page, V4_LATENT, 64)
        exponents = torch.zeros(made * page, 8, dtype=torch.uint8, device=self.device)
        exponents[:, :7] = (torch.log2(scales) + 127).to(torch.uint8)
        rows, used = page * V4_ROW, page * (V4_ROW + 8)
        width = -(-used // V4_ROW) * V4_ROW
        image = torch.zeros(made, width, dtype=torch.uint8, device=self.device)
        image[:, :rows] = torch.cat([latent, rotary], dim=1).view(made, -1)
        image[:, rows:used] = exponents.view(made, -1)
        return repeated(image, pages)[:, :used].view(pages, page, 1, V4_ROW + 8)

    def rows(self, count, latent, tile):
        """Random rows: bytes of the latent part, its fp32 scales, bytes of the rotary part."""
        torch = self.torch
        tiles = torch.randn(count, latent // tile, tile, device=self.device)
        scales = torch.exp2(torch.ceil(torch.log2(tiles.abs().amax(-1) / 448)))
        codes = (tiles / scales[..., None]).to(torch.float8_e4m3fn)
        rotary = torch.randn(count, ROTARY, device=self.device).bfloat16()
        return as_bytes(torch, codes.view(count, latent)), scales, as_bytes(torch, rotary)


def as_bytes(torch, rows):
    return rows.contiguous().view(torch.uint8)


def repeated(rows, count):
    """The first `count` of the rows, again and again."""
    return rows.repeat(-(-count // len(rows)), 1)[:count]


class SparseUpstream(Upstream):
    def call(self, shape):
        if shape.format == "bf16":
            return None
        torch, make = self.torch, Maker(self.torch)
        width = V4_LATENT + ROTARY if shape.format == "v4" else LATENT + ROTARY
        q = torch.randn(shape.b, shape.s_q, shape.padded_heads(), width, dtype=torch.bfloat16,
                        device="cuda")
        cache = make.cache(shape, shape.page())
        indices = make.lists(shape, shape.topk, shape.page(), shape.valid, shape.scattered)
        extra = {}
        if shape.extra:
            extra = {"extra_k_cache": make.cache(shape, shape.extra_page),
                     "extra_indices_in_kvcache": make.lists(shape, shape.extra, shape.extra_page)}
        schedule, splits = self.module.get_mla_metadata()
        return lambda: self.module.flash_mla_with_kvcache(
            q, cache, None, None, LATENT, schedule, splits, softmax_scale=width ** -0.5,
            is_fp8_kvcache=True, indices=indices, **extra)


class SparseFlashInfer:
    """Paged decoding with pages of one token, so that a block table is an index list."""

    def __init__(self, torch):
        import flashinfer
        self.torch = torch
        self.version = flashinfer.__version__
        workspace = torch.empty(128 << 20, dtype=torch.int8, device="cuda")
        self.wrapper = flashinfer.mla.BatchMLAPagedAttentionWrapper(workspace, backend="fa3")

    def call(self, shape):
        if shape.format != "bf16" or shape.valid:
            return None
        torch = self.torch

        def random(*size):
            return torch.randn(*size, dtype=torch.bfloat16, device="cuda")

        rows = shape.b * shape.s_q
        lists = Maker(torch).lists(shape, shape.topk, shape.page())
        slots = shape.b * -(-shape.slots() // shape.page()) * shape.page()
        latent, rotary = random(slots, 1, LATENT), random(slots, 1, ROTARY)
        q_latent = random(rows, shape.h_q, LATENT)
        q_rotary = random(rows, shape.h_q, ROTARY)
        starts = torch.arange(rows + 1, dtype=torch.int32, device="cuda")
        lengths = torch.full((rows,), shape.topk, dtype=torch.int32, device="cuda")
        self.wrapper.plan(starts, starts * shape.topk, lists.flatten(), lengths, shape.h_q, LATENT,
                          ROTARY, 1, False, (LATENT + ROTARY) ** -0.5, torch.bfloat16,
                          torch.bfloat16)
        return lambda: self.wrapper.run(q_latent, q_rotary, latent, rotary, return_lse=True)


def main():
    name = sys.argv[1]
    sys.path[:0] = sys.argv[2:3]
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever a library prints
    import torch
    peer = SparseFlashInfer(torch) if name == FLASHINFER else SparseUpstream(torch)
    timer = Timer(torch)
    print(json.dumps({"version": peer.version, "torch": torch.__version__,
                      "gpu": torch.cuda.get_device_name()}), file=answers, flush=True)
    for line in sys.stdin:
        torch.manual_seed(0)
        call = peer.call(SparseShape(**json.loads(line)))
        print(json.dumps(call and timer.time(call)), file=answers, flush=True)
        del call
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
