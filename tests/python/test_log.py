"""set_log: what a callback is told, by whom, and that nothing is said without one."""

import os
import subprocess
import sys
import threading

import cases
import flash_mla
import pytest
import reference

LINE = "dense_decode {kind}, cache {kind}: kernel "


@pytest.fixture
def messages():
    heard = []
    flash_mla.set_log(heard.append)
    yield heard
    flash_mla.set_log(None)


def decode(case):
    return flash_mla.flash_mla_with_kvcache(*case.arguments(), flash_mla.get_mla_metadata()[0])


def test_one_line_for_each_kind_of_kernel(fw, rng, messages):
    half, plain = cases.dense(fw, rng, kind="fp16"), cases.dense(fw, rng)
    for _ in range(2):
        for case in (plain, half):
            results = decode(case)
            reference.check(*map(fw.numbers, results), *case.wanted, case.kind)
    assert len(messages) == 2
    for message, kind in zip(messages, ("bf16", "fp16")):
        assert message.startswith(LINE.format(kind=kind)) and message.endswith(
            f", on {fw.device}:0"
        )
    told = list(messages)
    flash_mla.set_log(messages.append)  # a new callback is told anew
    decode(plain)
    assert messages == [*told, told[0]]
    flash_mla.set_log(None)
    decode(half)
    assert len(messages) == 3


def test_sparse_calls(fw, rng, messages):
    case = cases.sparse(fw, rng, fmt="v32")
    meta = flash_mla.get_mla_metadata()[0]
    flash_mla.flash_mla_with_kvcache(
        case.q, case.cache, None, None, 512, meta, is_fp8_kvcache=True, indices=case.indices
    )
    told = ["sparse_decode bf16, cache v32"]
    if fw.device == "cpu":  # the CUDA backend has no sparse prefill yet
        flash_mla.flash_mla_sparse_fwd(*cases.prefill(fw, rng)[0], 0.05)
        told.append("sparse_prefill bf16, cache bf16")
    assert [message.partition(":")[0] for message in messages] == told


def test_an_exception_of_the_callback(fw, rng, monkeypatch):
    """It is reported by Python, and the call goes on."""
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda given: seen.append(given.exc_value))

    def fail(message):
        raise RuntimeError(message)

    case = cases.dense(fw, rng)
    flash_mla.set_log(fail)
    try:
        results = decode(case)
    finally:
        flash_mla.set_log(None)
    reference.check(*map(fw.numbers, results), *case.wanted)
    assert len(seen) == 1 and str(seen[0]).startswith(LINE.format(kind="bf16"))


def test_a_callback_may_use_the_package(fw, rng):
    case, heard = cases.dense(fw, rng), []

    def callback(message):
        heard.append(message)
        flash_mla.set_log(None)
        reference.check(*map(fw.numbers, decode(case)), *case.wanted)

    flash_mla.set_log(callback)
    decode(case)
    assert len(heard) == 1


def test_threads(fw, rng, messages):
    case = cases.dense(fw, rng)
    threads = [threading.Thread(target=decode, args=(case,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(messages) == 1


def test_the_callback_is_released():
    class Callback:
        ended = 0

        def __call__(self, message):
            pass

        def __del__(self):
            Callback.ended += 1

    flash_mla.set_log(Callback())
    assert Callback.ended == 0
    flash_mla.set_log(Callback())
    assert Callback.ended == 1
    flash_mla.set_log(None)
    assert Callback.ended == 2


@pytest.mark.parametrize("given", [3, "x", False, []])
def test_wrong_callbacks(given):
    with pytest.raises(TypeError, match="^callback: given .*, wanted a callable") as caught:
        flash_mla.set_log(given)
    assert caught.value.argument == "callback"


CALL = """
import sys, threading, time
sys.modules["torch"] = None
import ml_dtypes, numpy, flash_mla
def call(heads):
    q = numpy.zeros((1, 1, heads, 576), ml_dtypes.bfloat16)
    cache = numpy.zeros((1, 64, 1, 576), ml_dtypes.bfloat16)
    table, lengths = numpy.zeros((1, 1), numpy.int32), numpy.full(1, 9, numpy.int32)
    return flash_mla.flash_mla_with_kvcache(
        q, cache, table, lengths, 512, flash_mla.get_mla_metadata()[0]
    )
"""


def run(code, before="", **environment):
    result = subprocess.run(
        [sys.executable, "-c", before + CALL + code], capture_output=True, text=True, timeout=120,
        env={**os.environ, **environment},
    )  # fmt: skip
    return result.returncode, result.stdout, result.stderr


@pytest.mark.parametrize("value, lines", [("1", 1), ("0", 0), ("", 0), (None, 0)])
def test_environment(value, lines):
    environment = {} if value is None else {"FLASH_MLA_LOG": value}
    status, output, errors = run("call(4); call(4)", **environment)
    assert (status, output) == (0, "")
    assert errors.count("\n") == lines
    assert errors.startswith("flash_mla: dense_decode bf16, cache bf16: kernel ") is bool(lines)


# A callback that goes on for ever, and calls of which each one has a callback of its own.
WAITING = """
def callback(message):
    began.set()
    while True:
        time.sleep(0.0001)  # gives up the lock, which the end of the interpreter takes
flash_mla.set_log(callback)
work = lambda: call(4)
"""
CALLING = """
def work():
    while True:
        flash_mla.set_log(lambda message: began.set())
        call(4)
"""


@pytest.mark.parametrize("work", [WAITING, CALLING], ids=["waiting", "calling"])
def test_the_process_ends_while_a_callback_is_called(work):
    """With status 0 and without a word."""
    start = "threading.Thread(target=work, daemon=True).start(); began.wait()"
    for _ in range(4):
        assert run(f"began = threading.Event()\n{work}\n{start}") == (0, "", "")


@pytest.mark.parametrize("after_import", [True, False])
def test_a_call_when_the_interpreter_ends(after_import):
    """The callback is told as long as the package has not been told that Python ends."""
    register = "import atexit; atexit.register(lambda: call(4))"
    code = "flash_mla.set_log(print)"
    code = f"{code}\n{register}" if after_import else code
    status, output, errors = run(code, "" if after_import else register)
    assert (status, output.count("dense_decode"), errors) == (0, int(after_import), "")
