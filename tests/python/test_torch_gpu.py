"""CUDA graphs, streams, allocations and host time: on a GPU."""

import json
import pathlib
import subprocess
import sys

import numpy
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import cases  # noqa: E402
import frameworks  # noqa: E402
import host_time  # noqa: E402
from flash_mla import (  # noqa: E402
    append,
    flash_mla_with_kvcache,
    get_mla_metadata,
    merge_states,
    plan,
)

pytestmark = pytest.mark.gpu


@pytest.fixture
def fw():
    framework = frameworks.Torch("cuda")
    if framework.unavailable():
        pytest.skip(framework.unavailable())
    return framework


def whole_cache(fw, rng, b=4, longest=700):
    """A case in which every length up to `longest` is sound."""
    case = cases.dense(fw, rng, b=b, longest=longest)
    case.cache = fw.array(rng.standard_normal(tuple(case.cache.shape)).astype("float32"), "bf16")
    pages = case.cache.shape[0]
    case.values["table"] = rng.permutation(pages)[: case.table.numel()].reshape(case.table.shape)
    case.table = fw.array(case.values["table"], "i32")
    return case


def capture(work):
    """A graph of `work`, which ran once before on another stream, as PyTorch asks for."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = work()
    return graph, results


def eager(case):
    return flash_mla_with_kvcache(*case.arguments(), get_mla_metadata()[0])


def replay(rng, case, graph, results, replays, prepare=lambda: None):
    for _ in range(replays):
        lengths = rng.integers(0, 701, len(case.lengths)).astype(numpy.int32)
        case.lengths.copy_(torch.from_numpy(lengths))
        prepare()
        graph.replay()
        for result, wanted in zip(results, eager(case)):
            assert torch.equal(result, wanted)


def test_pinned_tensors_are_on_the_cpu(fw, rng):
    case = cases.dense(frameworks.Torch("cpu"), rng)
    tensors = [tensor.pin_memory() for tensor in case.arguments()[:4]]
    out, lse = flash_mla_with_kvcache(*tensors, 512, get_mla_metadata()[0])
    cases.check(fw, (out, lse), case.wanted)


def test_replays_of_a_fresh_schedule_follow_the_lengths(fw, rng):
    case = whole_cache(fw, rng)

    def step():
        meta = get_mla_metadata()[0]
        flash_mla_with_kvcache(*case.arguments(), meta)
        return flash_mla_with_kvcache(*case.arguments(), meta)

    graph, results = capture(step)
    replay(rng, case, graph, results, 100)


def test_a_schedule_from_outside_is_planned_again_inside(fw, rng):
    case = whole_cache(fw, rng)
    meta = get_mla_metadata()[0]
    graph, results = capture(lambda: flash_mla_with_kvcache(*case.arguments(), meta))
    replay(rng, case, graph, results, 10)
    # And eagerly, the one from inside is not used before it was replayed.
    for result, wanted in zip(flash_mla_with_kvcache(*case.arguments(), meta), eager(case)):
        assert torch.equal(result, wanted)


def test_plan_in_a_graph(fw, rng):
    case = whole_cache(fw, rng)
    planned = plan(device="cuda", batch=4, query_heads=8, max_pages=case.table.shape[1])

    def step():
        return planned.schedule(case.lengths).run(case.q, case.cache, case.table)

    graph, results = capture(step)
    replay(rng, case, graph, results, 100)


def test_old_form_in_a_graph(fw, rng):
    """As engines do: preallocated schedule tensors, filled before each replay, sliced."""
    case = whole_cache(fw, rng)
    work, _ = get_mla_metadata(case.lengths, 8, 1)
    kept_work, kept_splits = torch.empty_like(work), fw.full((64,), -7, "i32")

    def prepare():
        work, splits = get_mla_metadata(case.lengths, 8, 1)
        kept_work.copy_(work)
        kept_splits[: len(splits)].copy_(splits)

    prepare()

    def step():
        schedule = kept_work[:], kept_splits[:5]
        flash_mla_with_kvcache(*case.arguments(), *schedule)
        return flash_mla_with_kvcache(*case.arguments(), *schedule)

    graph, results = capture(step)
    replay(rng, case, graph, results, 100, prepare)


def test_compiled_in_a_graph(fw, rng):
    case = whole_cache(fw, rng)

    @torch.compile(fullgraph=True, backend="aot_eager")
    def decode(q, cache, table, lengths):
        return flash_mla_with_kvcache(q, cache, table, lengths, 512, get_mla_metadata()[0])

    graph, results = capture(lambda: decode(*case.arguments()[:4]))
    replay(rng, case, graph, results, 10)


def test_current_stream(fw, rng):
    """The call waits for what its stream does, and for nothing else."""
    case = whole_cache(fw, rng)
    wanted = eager(case)
    q = torch.zeros_like(case.q)
    meta = get_mla_metadata()[0]
    side = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(side):
        torch.cuda._sleep(200_000_000)  # some 100 ms
        q.copy_(case.q)
        results = flash_mla_with_kvcache(q, *case.arguments()[1:], meta)
        assert not side.query()  # nobody has waited
    side.synchronize()
    for result, right in zip(results, wanted):
        assert torch.equal(result, right)


def test_lengths_that_nobody_can_see_change(fw, rng):
    """Lengths of inference tensors: the result is that of the lengths before or after, whole."""
    with torch.inference_mode():
        case = whole_cache(fw, rng)
        guarded = fw.full((6, 1, 8, 512), 7.0, "bf16")
        meta, out = get_mla_metadata()[0], guarded[1:5]
        before = fw.array(rng.integers(0, 300, 4), "i32")
        call = case.q, case.cache, case.table, before, 512
        flash_mla_with_kvcache(*call, meta, out=out)
        kept = out.clone()
        before.fill_(700)
        flash_mla_with_kvcache(*call, meta, out=out)
        torch.cuda.synchronize()
        fresh = flash_mla_with_kvcache(*call, get_mla_metadata()[0])
        assert torch.equal(out, kept) or torch.equal(out, fresh[0])
        assert (guarded[0] == 7).all() and (guarded[5] == 7).all()
        meta.tile_scheduler_metadata = meta.num_splits = None
        for result, wanted in zip(flash_mla_with_kvcache(*call, meta), fresh):
            assert torch.equal(result, wanted)


@pytest.mark.parametrize("current", [0, 1])
def test_tensors_of_a_device_that_is_not_the_current_one(fw, rng, current):
    if torch.cuda.device_count() < 2:
        pytest.skip("one GPU")
    case = cases.dense(fw, rng)
    there = 1 - current
    call = [tensor.to(f"cuda:{there}") for tensor in case.arguments()[:4]]
    elsewhere = case.lengths.to(f"cuda:{current}")
    with torch.cuda.device(current):
        meta = get_mla_metadata()[0]
        results = [flash_mla_with_kvcache(*call, 512, meta) for _ in range(2)]
        results.append(flash_mla_with_kvcache(*call, 512, *get_mla_metadata(call[3], 8, 1)))
        planned = plan(
            device=f"cuda:{there}", batch=3, query_heads=8, max_pages=case.table.shape[1]
        )
        results.append(planned.schedule(call[3]).run(*call[:3]))
        schedule = torch.ops.flashmla.schedule(*call)
        results.append(torch.ops.flashmla.decode(*call, schedule))
        results.append(merge_states([results[0][0]], [results[0][1]]))
        append(call[1], call[0][:, 0, :1], torch.tensor([0, 1, 2], device=f"cuda:{there}"))
        assert torch.cuda.current_device() == current
        for out, lse in results:
            assert out.device == lse.device == call[0].device
            cases.check(fw, (out, lse), case.wanted)
        with pytest.raises(ValueError, match=f"^cache_seqlens: given a tensor on cuda:{current}"):
            flash_mla_with_kvcache(*call[:3], elsewhere, 512, get_mla_metadata()[0])


def reused(fw, rng):
    """A call with a reused schedule and given outputs: (case, function of no argument)."""
    case = cases.dense(fw, rng, b=2, h_q=16, longest=128)
    out, lse = fw.full((2, 1, 16, 512), 0.0, "bf16"), fw.full((2, 16, 1), 0.0, "fp32")
    meta = get_mla_metadata()[0]

    def call():
        return flash_mla_with_kvcache(*case.arguments(), meta, out=out, lse=lse)

    call()
    return case, call, meta, out, lse


def test_no_allocation(fw, rng):
    case, call, _, out, lse = reused(fw, rng)
    schedule = torch.ops.flashmla.schedule(*case.arguments()[:4])

    def operator():
        torch.ops.flashmla.decode_out(*case.arguments()[:4], schedule, out, lse)

    operator()
    for each in (call, operator):
        before = torch.cuda.memory_stats()["allocation.all.allocated"]
        for _ in range(20):
            each()
        assert torch.cuda.memory_stats()["allocation.all.allocated"] == before


def in_a_process_of_its_own():
    script = pathlib.Path(__file__).parent / "host_time.py"
    report = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    return json.loads(report.stdout)


def behind_other_tests():
    """Among what they have left: threads, graphs, compiled functions, garbage."""
    return host_time.measure("cuda")


@pytest.mark.parametrize("measured", [in_a_process_of_its_own, behind_other_tests])
def test_host_time(fw, record_property, measured):
    times = measured()
    for name, value in times.items():
        record_property(name, value)
    print("host time in µs:", times)
    assert times["function"] - times["run"] <= 5
    assert times["operator"] <= 20
