"""The plug-in of vLLM: vLLM finds it by the entry point `vllm.general_plugins`.

vLLM calls register() once in each of its processes, before it chooses an attention backend. Nothing
of vLLM is imported before that call. The guide is docs/engines.md of the repository.
"""

from __future__ import annotations

BACKEND = f"{__name__}.backend.Backend"


def register():
    """Makes FlashMLA's backend known to vLLM as CUSTOM; with FLASH_MLA_VLLM=1 also replaces.

    `--attention-backend CUSTOM` takes the backend. FLASH_MLA_VLLM=1 puts this package's functions
    in front of those that vLLM's own backends FLASHMLA and FLASHMLA_SPARSE call. Unset or 0 leaves
    them as they are. On a GPU that this package does not serve, or in a vLLM of an unknown version,
    everything stays vLLM's own, and one line in the log says so.

    Raises ValueError where FLASH_MLA_VLLM has another value.
    """
    from ._engine import reason_to_stay_out, replacement_wanted, say_once, take_custom

    wanted = replacement_wanted()
    reason = reason_to_stay_out()
    if reason:
        say_once(f"FlashMLA leaves vLLM as it is: {reason}", important=wanted)
        return
    take_custom(BACKEND)
    if wanted:
        from ._replacement import replace

        replace()
