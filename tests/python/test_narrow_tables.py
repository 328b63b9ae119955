"""Block tables with fewer pages than the lengths need: refused where the host knows the lengths."""

import cases
import pytest
from flash_mla import FlashMLASchedMeta, flash_mla_with_kvcache, get_mla_metadata, plan


@pytest.fixture
def case(fw, rng):
    """Lengths of up to 600 tokens in pages of 64."""
    if fw.device == "cuda":
        pytest.skip(
            "the host does not know lengths on a device: they are clamped, and status() says so"
        )
    return cases.dense(fw, rng, longest=600)


def narrow(case):
    return (case.q, case.cache, case.table[:, :3], case.lengths, 512)


def refused(call, *names):
    names = names or ("block_table",)
    for _ in range(3):
        with pytest.raises(ValueError, match=r"^\w+: given .*, wanted ") as caught:
            call()
        assert caught.value.argument in names


def test_reused_objects(case):
    meta = get_mla_metadata()[0]
    flash_mla_with_kvcache(*case.arguments(), meta)
    refused(lambda: flash_mla_with_kvcache(*narrow(case), meta))
    flash_mla_with_kvcache(*case.arguments(), meta)


def test_reused_tensors(case):
    work, splits = get_mla_metadata(case.lengths, 8, 1)
    for _ in range(2):
        flash_mla_with_kvcache(*case.arguments(), work, splits)
        refused(lambda: flash_mla_with_kvcache(*narrow(case), work, splits))
        fields = {"tile_scheduler_metadata": work, "num_splits": splits}
        refused(lambda f=fields: flash_mla_with_kvcache(*narrow(case), FlashMLASchedMeta(**f)))


def test_the_first_call_names_both(case):
    with pytest.raises(
        ValueError, match="^cache_seqlens: given [0-9]+ tokens.* block_table of 3 pages of 64"
    ):
        flash_mla_with_kvcache(*narrow(case), get_mla_metadata()[0])


def test_plans(fw, case):
    planned = plan(device="cpu", batch=3, query_heads=8, max_pages=case.table.shape[1])
    planned.schedule(case.lengths)
    planned.run(case.q, case.cache, case.table)
    refused(lambda: planned.run(*narrow(case)[:3]))


def test_a_narrow_table_that_suffices(fw, rng, case):
    """Its width may differ from that of the first call."""
    shorter = cases.dense(fw, rng, longest=180)
    meta = get_mla_metadata()[0]
    flash_mla_with_kvcache(*shorter.arguments(), meta)
    wide = shorter.table
    for table in (wide[:, :3], wide):
        flash_mla_with_kvcache(shorter.q, shorter.cache, table, shorter.lengths, 512, meta)


def test_operators(fw, case):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if fw.name == "numpy":
        pytest.skip("operators are PyTorch's")
    q, cache, table, lengths = case.arguments()[:4]
    schedule = torch.ops.flashmla.schedule(q, cache, table, lengths)
    torch.ops.flashmla.decode(q, cache, table, lengths, schedule)
    out, lse = torch.empty_like(q[..., :512]), torch.empty(3, 8, 1)
    few = table[:, :3]
    refused(lambda: torch.ops.flashmla.decode(q, cache, few, lengths, schedule))
    # A copy is taken for a schedule of this very call, which it does not fit.
    copied = schedule.clone()
    refused(lambda: torch.ops.flashmla.decode(q, cache, few, lengths, copied), "schedule")
    refused(lambda: torch.ops.flashmla.decode_out(q, cache, few, lengths, schedule, out, lse))
