"""Sound calls of every operator."""

import cases
import flash_mla
import torch

KEPT: list = []


def plan_of(fw, case, **fields):
    """A scheduled plan of a dense call."""
    b, s_q, h_q, _ = case.q.shape
    plan = flash_mla.plan(
        device=fw.device, batch=b, query_tokens=s_q, query_heads=h_q,
        page_size=case.cache.shape[1], max_pages=case.table.shape[1], **fields,
    )  # fmt: skip
    plan.schedule(case.lengths)
    KEPT.append(plan)  # since an operator knows its number alone
    return plan


def calls(fw, rng):
    """{operator: [(arguments, named arguments), ...]}, sound ones of every operator."""
    ops = torch.ops.flashmla
    case = cases.dense(fw, rng, b=2)
    dense = case.arguments()[:4]
    out, lse = fw.full((2, 1, 8, 512), 0.0, "bf16"), fw.full((2, 8, 1), 0.0, "fp32")
    plain = fw.array(rng.standard_normal((3, 8, 1, 576)), "bf16")
    rows, slots = plain[0, :2], fw.array([3, -1], "i64")
    form = {"empty_lse": "-inf", "lse_base": 2.0}
    parts = ([out + 1, out.float()], [lse, lse + 1], None)
    packed = flash_mla.quantise(plain, "v32")
    sparse = cases.sparse(fw, rng)
    lists = (sparse.q[0], plain[0], sparse.indices[0][:, None] % 8)
    lengths = case.lengths
    plan = plan_of(fw, case)
    found = {
        "metadata": [((lengths, 8, 1), {}), ((lengths, 8, 1, 4, True, 16), {"max_workers": 2})],
        "schedule": [(dense, {}), (dense, {"causal": True, "max_workers": 2})],
        "decode": [
            (dense, {}),
            (dense, {"schedule": ops.schedule(*dense), "scale_tensor": torch.tensor(0.1)}),
        ],
        "decode_out": [((*dense, s, out, lse), {}) for s in (None, ops.schedule(*dense))],
        "run": [
            ((plan.number, *dense[:3], out, lse), {}),
            ((plan.number, *dense[:3], out, lse), {"scale_tensor": torch.tensor(0.1), **form}),
        ],
        "sparse_prefill": [((*lists, 0.1), {}), (lists, {"scale_tensor": torch.tensor(0.1)})],
        "merge_states": [(parts, {}), (parts, {"lse_layout": "bhs", **form})],
        "merge_states_out": [((*parts, out, lse), {}), ((*parts, out, lse), form)],
        "append": [((plain.clone(), rows, slots), {}), ((packed, rows, slots), {"format": "v32"})],
        "gather": [((plain, slots), {}), ((packed, slots, "v32"), {})],
        "gather_out": [((packed, slots, rows.clone()), {})],
        "quantise": [((plain, "v32"), {}), ((plain, "bf16"), {})],
        "quantise_out": [((plain, "v32", packed), {})],
        "dequantise": [((packed,), {}), ((plain, "bf16"), {})],
        "dequantise_out": [((packed, plain.clone()), {})],
    }
    arguments = (sparse.q, sparse.cache, None, None, None, False, sparse.indices)
    found["decode"].append((arguments, form))
    if fw.device == "cpu":
        latent, rotary = case.q[..., :512].contiguous(), case.q[..., 512:].contiguous()
        two_parts = (latent, *dense[1:])
        split = plan_of(fw, case, split_query=True)
        for name, arguments in (
            ("schedule", two_parts), ("decode", two_parts),
            ("decode_out", (*two_parts, None, out, lse)),
            ("run", (split.number, *two_parts[:3], out, lse)),
        ):  # fmt: skip
            found[name].append((arguments, {"q_rotary": rotary}))
    else:
        found["run"].pop()
        found["metadata"].pop()
        del found["sparse_prefill"]
    return found
