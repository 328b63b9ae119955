"""CuPy's arrays, by __cuda_array_interface__; on a GPU."""

import numpy
import pytest

cupy = pytest.importorskip("cupy", reason="CuPy is not installed")

import cases  # noqa: E402
import frameworks  # noqa: E402
import reference  # noqa: E402
from flash_mla import flash_mla_with_kvcache, get_mla_metadata, plan  # noqa: E402

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def _gpu():
    reason = frameworks.Torch("cuda").unavailable()
    if reason:
        pytest.skip(reason)


def on_the_gpu(case):
    arrays = case.q, case.cache, case.table, case.lengths
    case.q, case.cache, case.table, case.lengths = (cupy.asarray(array) for array in arrays)
    return case


def check(case, results):
    out, lse = (cupy.asnumpy(result).astype(numpy.float64) for result in results)
    reference.check(out, lse, *case.wanted, "fp16")


def test_drop_in(rng):
    case = on_the_gpu(cases.dense(frameworks.NumPy(), rng, kind="fp16"))
    meta = get_mla_metadata()[0]
    for _ in range(2):
        results = flash_mla_with_kvcache(*case.arguments(), meta)
        assert isinstance(results[0], cupy.ndarray)
        check(case, results)
    work, splits = get_mla_metadata(case.lengths, 8, 1)
    check(case, flash_mla_with_kvcache(*case.arguments(), work, splits))


def test_plan_on_a_stream(rng):
    case = on_the_gpu(cases.dense(frameworks.NumPy(), rng, kind="fp16"))
    with cupy.cuda.Stream(non_blocking=True) as stream:
        planned = plan(
            device="cuda", batch=3, query_heads=8, dtype="fp16", max_pages=case.table.shape[1]
        )
        results = planned.schedule(case.lengths).run(case.q, case.cache, case.table)
        stream.synchronize()
    check(case, results)
