"""Schedules as tensors, which a user can make of anything: right results, or an error."""

import os
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import cases  # noqa: E402
import flash_mla  # noqa: E402, F401
import frameworks  # noqa: E402
import reference  # noqa: E402

FRAMEWORKS = frameworks.torch_devices()


def with_lengths(case, fw, lengths):
    """The call with other lengths; the case then wants its results."""
    case.values["lengths"] = lengths
    case.wanted = reference.dense(*case.values.values())
    return (*case.arguments()[:3], fw.array(lengths, "i32"))


def test_a_schedule_is_a_tensor(fw, rng):
    case = cases.dense(fw, rng)
    call = case.arguments()[:4]
    schedule = torch.ops.flashmla.schedule(*call)
    assert schedule.dtype == torch.uint8 and schedule.device == case.q.device
    cases.check(fw, torch.ops.flashmla.decode(*call, schedule=schedule), case.wanted)
    with pytest.raises(ValueError, match="^schedule: given "):
        torch.ops.flashmla.decode(*call, schedule=schedule[:100])


def test_views_of_a_schedule(fw, rng):
    """Misaligned, strided, longer than need be, moved."""
    case = cases.dense(fw, rng)
    call = case.arguments()[:4]
    schedule = torch.ops.flashmla.schedule(*call)
    size = len(schedule)

    def empty(count):
        return torch.full((count,), 7, dtype=torch.uint8, device=schedule.device)

    for view in (empty(size + 64)[64:], empty(size + 1)[1:], empty(2 * size)[::2], empty(size)):
        cases.check(
            fw, torch.ops.flashmla.decode(*call, schedule=view.copy_(schedule)), case.wanted
        )
    longer = empty(size + 1000)
    longer[:size] = schedule
    cases.check(fw, torch.ops.flashmla.decode(*call, schedule=longer), case.wanted)


def test_a_schedule_that_is_written_anew(fw, rng):
    """In place, as into a CUDA graph's buffer, or by other memory under the same object."""
    case = cases.dense(fw, rng)
    lengths, call = case.values["lengths"], case.arguments()[:4]
    ops = torch.ops.flashmla
    for change in "copied", "moved":
        schedule = ops.schedule(*call)
        cases.check(fw, ops.decode(*call, schedule=schedule), case.wanted)
        shorter = with_lengths(case, fw, lengths // 2)
        if change == "copied":
            schedule.copy_(ops.schedule(*shorter))
        else:
            schedule.data = ops.schedule(*shorter)
        cases.check(fw, ops.decode(*shorter, schedule=schedule), case.wanted)
        call = with_lengths(case, fw, lengths)
    with torch.inference_mode():
        schedule = ops.schedule(*call)
        cases.check(fw, ops.decode(*call, schedule=schedule), case.wanted)
        shorter = with_lengths(case, fw, lengths // 2)
        schedule.copy_(ops.schedule(*shorter))
        cases.check(fw, ops.decode(*shorter, schedule=schedule), case.wanted)


def wrong_schedules(schedule):
    yield "short", schedule[:-1]
    yield "empty", schedule[:0]
    yield "int8", schedule.view(torch.int8)
    yield "int32", schedule.view(torch.int32)
    yield "float", schedule.float()
    yield "two dimensions", schedule[None]
    yield "expanded", schedule[:1, None].expand(1, len(schedule))
    yield "sparse", schedule.to_sparse()
    yield "meta", schedule.to("meta")
    freed = schedule.clone()
    freed.untyped_storage().resize_(0)
    yield "freed", freed
    if schedule.is_cuda:
        yield "cpu", schedule.cpu()


def test_what_is_no_schedule(fw, rng):
    case = cases.dense(fw, rng)
    call = case.arguments()[:4]
    schedule = torch.ops.flashmla.schedule(*call)
    for text, wrong in wrong_schedules(schedule):
        with pytest.raises(ValueError, match="^schedule: given .*, wanted ") as caught:
            torch.ops.flashmla.decode(*call, schedule=wrong)
        assert caught.value.argument == "schedule", text
    cases.check(fw, torch.ops.flashmla.decode(*call, schedule=schedule), case.wanted)


# Calls with schedules of random bytes, and of right ones with some of them changed. The memory that
# results and inputs lie in is framed: nothing of the frame may change.
HOSTILE = """
import sys, torch, flash_mla
device, seed = sys.argv[1], int(sys.argv[2])
torch.manual_seed(seed)
ops = torch.ops.flashmla

def framed(*shape, dtype):
    memory = torch.full((2 * 4096 + torch.Size(shape).numel(),), 3, dtype=dtype, device=device)
    return memory, memory[4096:-4096].view(shape)

def intact(memory):
    return bool((memory[:4096] == 3).all() and (memory[-4096:] == 3).all())

def rounds(b, s_q, h_q, pages, count):
    q = torch.randn(b, s_q, h_q, 576, device=device).bfloat16()
    cache = torch.randn(b * pages, 64, 1, 576, device=device).bfloat16()
    table = torch.arange(b * pages, dtype=torch.int32, device=device).view(b, pages)
    lengths = torch.randint(0, 64 * pages + 1, (b,), dtype=torch.int32, device=device)
    call = q, cache, table, lengths
    out_memory, out = framed(b, s_q, h_q, 512, dtype=torch.bfloat16)
    lse_memory, lse = framed(b, h_q, s_q, dtype=torch.float32)
    right = ops.schedule(*call)
    done = 0
    for i in range(count):
        if i % 2:
            wrong = torch.randint(0, 256, right.shape, dtype=torch.uint8, device=device)
        else:
            wrong = right.clone()
            words = wrong.view(torch.int32)
            where = torch.randint(0, len(words), (1 + i % 7,), device=device)
            words[where] = torch.randint(-2**31, 2**31, where.shape, device=device).to(torch.int32)
        try:
            ops.decode_out(*call, wrong, out, lse)
            done += 1
        except ValueError as error:
            assert error.argument == "schedule", error
        if device == "cuda":
            torch.cuda.synchronize()
        assert intact(out_memory) and intact(lse_memory)
    ops.decode_out(*call, right, out, lse)
    wanted = ops.decode(*call)
    assert torch.equal(out, wanted[0]) and torch.equal(lse, wanted[1])
    return done

print(rounds(3, 2, 16, 6, 60), rounds(40, 1, 4, 3, 60), rounds(1, 1, 128, 20, 40))
"""


def test_schedules_of_random_bytes(fw, rng):
    seed = str(rng.integers(2**31))
    result = subprocess.run(
        [sys.executable, "-c", HOSTILE, fw.device, seed], capture_output=True, text=True,
        env={**os.environ, "FLASHMLA_NUM_THREADS": "2"}, check=False, timeout=300,
    )  # fmt: skip
    assert result.returncode == 0, f"seed {seed}: {result.returncode}\n{result.stderr[-3000:]}"
    assert len(result.stdout.split()) == 3
