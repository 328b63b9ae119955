"""The older form in inference mode, where nobody counts changes: one plan for a step's layers."""

import numpy
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import cases  # noqa: E402
import frameworks  # noqa: E402
import reference  # noqa: E402
from flash_mla import (  # noqa: E402
    FlashMLASchedMeta,
    flash_mla_with_kvcache,
    get_mla_decoding_metadata,
    get_mla_metadata,
)

DEVICES = [
    pytest.param("cpu", id="cpu"),
    pytest.param("cuda", id="cuda", marks=pytest.mark.gpu),
]


@pytest.fixture(params=DEVICES)
def fw(request):
    framework = frameworks.Torch(request.param)
    if framework.unavailable():
        pytest.skip(framework.unavailable())
    with torch.inference_mode():
        yield framework


def shared(work):
    """What the calls with a schedule tensor share.

    On the CPU lengths are compared themselves, so there the plan is made to look like a GPU's,
    whose lengths nobody can compare: what is tested is what the host then concludes.
    """
    carried = work._flash_mla
    carried.held.on_gpu = True
    return carried.held


def check(fw, case, *schedule):
    out, lse = flash_mla_with_kvcache(*case.arguments(), *schedule)
    cases.check(fw, (out, lse), case.wanted)


def changed(fw, rng, case):
    """New lengths in the same tensor, as an engine has them in its next step."""
    case.values["lengths"] = rng.integers(0, case.values["lengths"].max() + 1, 3)
    case.values["lengths"] = numpy.minimum(case.values["lengths"], case.longest)
    case.lengths.copy_(fw.array(case.values["lengths"], "i32"))
    case.wanted = reference.dense(*case.values.values())


@pytest.fixture
def case(fw, rng):
    made = cases.dense(fw, rng)
    made.longest = made.values["lengths"].copy()
    assert made.lengths.is_inference()
    return made


def test_layers_share_a_plan(fw, rng, case):
    for _ in range(3):
        schedule = get_mla_metadata(case.lengths, 8, 1)
        check(fw, case, *schedule)
        held = shared(schedule[0])
        for _ in range(3):
            check(fw, case, *schedule)
            assert schedule[0]._flash_mla.held is held
        changed(fw, rng, case)


def test_objects_of_the_same_tensors_share_a_plan(fw, rng, case):
    for _ in range(3):
        work, splits = get_mla_decoding_metadata(case.lengths, 8, 1)
        held = None
        for _ in range(3):
            meta = FlashMLASchedMeta(tile_scheduler_metadata=work, num_splits=splits)
            check(fw, case, meta)
            assert held in (None, work._flash_mla.held)
            held = shared(work)
        changed(fw, rng, case)


def test_two_halves_of_a_batch_in_turns(fw, rng, case):
    other = cases.dense(fw, rng)
    halves = [(c, get_mla_metadata(c.lengths, 8, 1)) for c in (case, other)]
    plans = []
    for _ in range(3):
        for each, schedule in halves:
            check(fw, each, *schedule)
            plans.append(shared(schedule[0]))
    assert all(plan is plans[i % 2] for i, plan in enumerate(plans))


def test_a_new_step_plans_again(fw, rng, case):
    """Kept tensors: their contents and the lengths' change, and get_mla_metadata was called."""
    kept, splits = get_mla_metadata(torch.ones_like(case.lengths), 8, 1)
    for _ in range(4):
        new = get_mla_metadata(case.lengths, 8, 1)
        kept.copy_(new[0])
        splits.copy_(new[1])
        check(fw, case, kept, splits)
        held = shared(kept)
        check(fw, case, kept, splits)
        assert kept._flash_mla.held is held
        changed(fw, rng, case)


def test_tensors_of_the_caller_plan_in_each_call(fw, rng, case):
    """They may have been filled from schedules that were made long before."""
    made = []
    for _ in range(2):
        made.append((get_mla_metadata(case.lengths, 8, 1), case.values, case.wanted))
        case.values = dict(case.values)
        changed(fw, rng, case)
    kept = torch.empty_like(made[0][0][0])
    for schedule, values, wanted in made * 2:
        kept.copy_(schedule[0])
        case.lengths.copy_(fw.array(values["lengths"], "i32"))
        case.wanted = wanted
        check(fw, case, kept, schedule[1])
        held = shared(kept)
        check(fw, case, kept, schedule[1])
        assert kept._flash_mla.held is not held


def test_other_lengths_plan_again(fw, rng, case):
    schedule = get_mla_metadata(case.lengths, 8, 1)
    check(fw, case, *schedule)
    shared(schedule[0])
    shorter = case.values["lengths"] // 2
    case.lengths = fw.array(shorter, "i32")
    case.values["lengths"] = shorter
    case.wanted = reference.dense(*case.values.values())
    check(fw, case, *schedule)


def test_layers_of_a_graph_share_a_plan(fw, rng, case):
    """Of buffers that are filled before each replay."""
    if fw.device == "cpu":
        pytest.skip("a graph needs a GPU")
    work, splits = get_mla_metadata(case.lengths, 8, 1)
    kept, kept_splits = torch.empty_like(work), torch.empty_like(splits)
    flash_mla_with_kvcache(*case.arguments(), kept, kept_splits)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        flash_mla_with_kvcache(*case.arguments(), kept, kept_splits)
        held = kept._flash_mla.held
        out, lse = flash_mla_with_kvcache(*case.arguments(), kept, kept_splits)
        assert kept._flash_mla.held is held
    for _ in range(5):
        changed(fw, rng, case)
        graph.replay()
        cases.check(fw, (out, lse), case.wanted)
