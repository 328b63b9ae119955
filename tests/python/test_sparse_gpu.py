"""Sparse decoding on a GPU: beside the CPU backend, in every way to call it, in graphs."""

import numpy
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import cases  # noqa: E402
import frameworks  # noqa: E402
from flash_mla import flash_mla_with_kvcache, get_mla_metadata, plan  # noqa: E402
from test_torch_gpu import capture  # noqa: E402

pytestmark = pytest.mark.gpu
FORMATS = ["v32", "v4", "bf16"]
HEADS = [1, 8, 16, 20, 64, 128]


@pytest.fixture
def fw():
    framework = frameworks.Torch("cuda")
    if framework.unavailable():
        pytest.skip(framework.unavailable())
    return framework


class Case:
    """A call with every optional tensor, on the GPU; and its result by the CPU backend."""

    def __init__(self, fw, rng, fmt, h_q, b=8, s_q=2, topk=600, lengths=None):
        self.form = {"softmax_scale": 0.07}
        host = frameworks.Torch("cpu")
        shape = {"fmt": fmt, "b": b, "s_q": s_q, "h_q": h_q}
        main = cases.sparse(host, rng, page=64, pages=12, topk=topk, **shape)
        extra = cases.sparse(host, rng, page=16, pages=9, topk=70, **shape)
        lengths = rng.integers(0, topk + 2, b) if lengths is None else lengths
        self.q, self.cache, self.indices, self.fmt = main.q, main.cache, main.indices, fmt
        self.options = {
            "attn_sink": host.array(rng.standard_normal(h_q), "fp32"),
            "extra_k_cache": extra.cache,
            "extra_indices_in_kvcache": extra.indices,
            "topk_length": host.array(lengths, "i32"),
            "extra_topk_length": host.array(rng.integers(-1, 71, b), "i32"),
        }
        self.wanted = [host.numbers(result) for result in self.decode()]
        self.q, self.cache, self.indices = (
            tensor.to(fw.device) for tensor in (self.q, self.cache, self.indices)
        )
        self.options = {name: tensor.to(fw.device) for name, tensor in self.options.items()}

    def decode(self, meta=None, **named):
        return flash_mla_with_kvcache(
            self.q, self.cache, None, None, 512, meta or get_mla_metadata()[0],
            is_fp8_kvcache=self.fmt != "bf16", indices=self.indices, **self.options, **self.form,
            **named,
        )  # fmt: skip

    def new_plan(self, **named):
        b, s_q, h_q, d = self.q.shape
        return plan(
            "sparse_decode", device=self.q.device, batch=b, query_tokens=s_q, query_heads=h_q,
            qk_dim=d, page_size=64, topk=self.indices.shape[2], extra_topk=70,
            extra_page_size=16, kv_format=self.fmt, **named,
        )  # fmt: skip

    def run(self, planned):
        names = {
            "extra_k_cache": "extra_kv_cache",
            "extra_indices_in_kvcache": "extra_indices",
        }
        options = {names.get(name, name): value for name, value in self.options.items()}
        return planned.run(self.q, self.cache, indices=self.indices, **options, **self.form)

    def operator_options(self):
        """Named arguments of torch.ops.flashmla.decode."""
        options = dict(self.options)
        extra = options.pop("extra_indices_in_kvcache")
        return {"indices": self.indices, "extra_indices": extra, **options, **self.form}


def same(results, others):
    return all(torch.equal(a, b) for a, b in zip(results, others))


@pytest.mark.parametrize("h_q", HEADS)
@pytest.mark.parametrize("fmt", FORMATS)
def test_beside_the_cpu_backend(fw, rng, fmt, h_q):
    case = Case(fw, rng, fmt, h_q)
    results = case.decode()
    assert all(result.is_cuda for result in results)
    cases.check(fw, results, case.wanted)


@pytest.mark.parametrize("fmt", FORMATS)
def test_one_long_list(fw, rng, fmt):
    """Which is cut among all multiprocessors."""
    for h_q in HEADS:
        case = Case(fw, rng, fmt, h_q, b=1, s_q=1, topk=8192, lengths=[8100])
        cases.check(fw, case.decode(), case.wanted)


@pytest.mark.parametrize("byte_type", ["int8", "float8_e4m3fn"])
@pytest.mark.parametrize("fmt", ["v32", "v4"])
def test_byte_types(fw, rng, fmt, byte_type):
    case = Case(fw, rng, fmt, 16)
    wanted = case.decode()
    dtype = getattr(torch, byte_type)
    case.cache = case.cache.view(dtype)
    case.options["extra_k_cache"] = case.options["extra_k_cache"].view(dtype)
    assert same(case.decode(), wanted)


@pytest.mark.parametrize("h_q", [8, 128])
@pytest.mark.parametrize("fmt", FORMATS)
def test_every_way_to_call_it(fw, rng, fmt, h_q):
    """The function, a plan and the operators, which make the same schedule."""
    case = Case(fw, rng, fmt, h_q)
    wanted = case.decode()
    assert same(case.run(case.new_plan().schedule()), wanted)
    ops, options = torch.ops.flashmla, case.operator_options()
    assert same(ops.decode(case.q, case.cache, **options), wanted)
    schedule = ops.schedule(
        case.q, case.cache, indices=case.indices, extra_k_cache=options["extra_k_cache"],
        extra_indices=options["extra_indices"],
    )  # fmt: skip
    assert same(ops.decode(case.q, case.cache, schedule=schedule, **options), wanted)
    out, lse = (torch.full_like(result, torch.nan) for result in wanted)
    ops.decode_out(case.q, case.cache, None, None, schedule, out, lse, **options)
    assert same((out, lse), wanted)


@pytest.mark.parametrize("fmt", FORMATS)
def test_compiled(fw, rng, fmt):
    case = Case(fw, rng, fmt, 16)

    @torch.compile(fullgraph=True, backend="aot_eager")
    def decode(q, cache, indices):
        return flash_mla_with_kvcache(
            q, cache, None, None, 512, get_mla_metadata()[0], is_fp8_kvcache=fmt != "bf16",
            indices=indices,
        )  # fmt: skip

    case.options, case.form = {}, {}
    assert same(decode(case.q, case.cache, case.indices), case.decode())


@pytest.mark.parametrize("h_q", [8, 128])
@pytest.mark.parametrize("fmt", FORMATS)
def test_replays_follow_lists_and_lengths(fw, rng, fmt, h_q):
    case = Case(fw, rng, fmt, h_q)
    meta = get_mla_metadata()[0]

    def step():
        case.decode(meta)
        return case.decode(meta)

    graph, results = capture(step)
    slots = case.cache.shape[0] * 64
    for _ in range(20):
        lists = cases.index_lists(rng, tuple(case.indices.shape), slots)
        case.indices.copy_(torch.from_numpy(lists.astype(numpy.int32)))
        lengths = rng.integers(-1, 602, 8).astype(numpy.int32)
        case.options["topk_length"].copy_(torch.from_numpy(lengths))
        graph.replay()
        assert same(results, case.decode())


@pytest.mark.parametrize("fmt", FORMATS)
def test_no_allocation(fw, rng, fmt):
    case = Case(fw, rng, fmt, 16)
    meta = get_mla_metadata()[0]
    out, lse = case.decode(meta)
    before = torch.cuda.memory_stats()["allocation.all.allocated"]
    for _ in range(20):
        case.decode(meta, out=out, lse=lse)
    assert torch.cuda.memory_stats()["allocation.all.allocated"] == before


@pytest.mark.parametrize("h_q", [8, 128])
@pytest.mark.parametrize("fmt", FORMATS)
def test_batch_invariant(fw, rng, fmt, h_q):
    """A request has the same bits alone and in its batch."""
    case = Case(fw, rng, fmt, h_q, topk=1500)
    together = case.run(case.new_plan(batch_invariant=True).schedule())
    whole = dict(case.__dict__)
    for r in (0, 3, 7):
        case.q, case.indices = (whole[name][r : r + 1] for name in ("q", "indices"))
        case.options = {
            name: value if name in ("attn_sink", "extra_k_cache") else value[r : r + 1]
            for name, value in whole["options"].items()
        }
        alone = case.run(case.new_plan(batch_invariant=True).schedule())
        assert same(alone, [result[r : r + 1] for result in together])


@pytest.mark.parametrize("fmt", ["v32", "v4"])
def test_nan_codes(fw, rng, fmt):
    """A row with NaN makes NaN of the query tokens that attend to it, and of no other."""
    case = Case(fw, rng, fmt, 16, topk=100)
    case.options, case.form = {}, {}
    case.cache.view(torch.uint8)[0].view(-1)[:1] = 0x7F  # the first number of slot 0
    hit = (case.indices == 0).any(-1)
    case.indices[3][case.indices[3] == 0] = 1
    case.indices[4, :, 5] = 0
    hit[3], hit[4] = False, True
    out, lse = case.decode()
    assert torch.equal(out.isnan().all(-1).all(-1), hit)
    assert torch.equal(out.isnan().any(-1).any(-1), hit)
    assert torch.equal(lse.isnan().all(1), hit) and torch.equal(lse.isnan().any(1), hit)


@pytest.mark.parametrize("fmt", FORMATS)
def test_packed_layers(fw, rng, fmt):
    """One layer of a cache whose pages hold 61 of them."""
    case = Case(fw, rng, fmt, 16)
    wanted = case.decode()
    pages, page, _, width = case.cache.shape
    layers = torch.full(
        (pages, 61, page, 1, width), 255 if fmt != "bf16" else torch.nan, dtype=case.cache.dtype,
        device=fw.device,
    )  # fmt: skip
    layers[:, 7] = case.cache
    case.cache = layers[:, 7]
    assert case.cache.stride(0) > 10**6
    assert same(case.decode(), wanted)


@pytest.mark.parametrize("fmt", ["v32", "v4"])
def test_memory_that_is_not_aligned_is_refused_by_name(fw, rng, fmt):
    case = Case(fw, rng, fmt, 16)
    pages, page, _, width = case.cache.shape
    memory = torch.zeros(pages * (page * width + 8) + 16, dtype=torch.uint8, device=fw.device)
    shape, token = (pages, page, 1, width), (width, width, 1)
    for strides, offset in (((page * width + 8, *token), 0), ((page * width, *token), 8)):
        case.cache = memory.as_strided(shape, strides, offset)
        with pytest.raises((ValueError, NotImplementedError), match="^k_cache: given "):
            case.decode()
