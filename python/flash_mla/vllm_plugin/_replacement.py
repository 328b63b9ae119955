"""FLASH_MLA_VLLM=1: this package's functions in front of those that vLLM carries.

Each call goes to this package where its library serves it, and to vLLM's own function otherwise. So
calls that gain a kernel here move over by themselves.
"""

from __future__ import annotations

import importlib
import sys

from .._decode import flash_mla_with_kvcache
from .._metadata import FlashMLASchedMeta
from .._prefill import flash_mla_sparse_fwd
from ._engine import say_once
from ._serving import DECODE_ORDER, PREFILL_ORDER, by_name, decode_refusal, prefill_refusal

_VENDORED = "vllm.third_party.flashmla.flash_mla_interface"
_REPLACED = "flash_mla_with_kvcache", "flash_mla_sparse_fwd", "get_mla_metadata"


class Schedule(FlashMLASchedMeta):
    """The schedule of a step, for this package's calls and for those of vLLM's own function.

    get_mla_metadata makes it before anybody knows which function the step's layers will reach.
    """

    _other = None  # the schedule of vLLM's own function, from the first call that reaches it

    def other(self, make):
        """The schedule for vLLM's own function, with tensors that vLLM has put into this one."""
        if self._other is None:
            self._other = make()
        held, work = self._held, self.tile_scheduler_metadata
        if work is not None and (held is None or work is not held.work):
            self._other.tile_scheduler_metadata = work
            self._other.num_splits = self.num_splits
        return self._other


def _say(what, refusal):
    if refusal:
        say_once(f"{what} stays vLLM's own: {refusal}")
    else:
        say_once(f"{what} runs FlashMLA's kernels")


class Replacement:
    """Stands for the functions of a vendored flash_mla_interface, whose own it keeps."""

    def __init__(self, module):
        self._decode, self._prefill, self._metadata = (getattr(module, n) for n in _REPLACED)

    def get_mla_metadata(self, *arguments, **named):
        """(a schedule, None), whatever the arguments: the first call with it plans."""
        return Schedule(), None

    def flash_mla_with_kvcache(self, *arguments, **named):
        given = by_name(DECODE_ORDER, arguments, named)
        schedule = None if given is None else given["tile_scheduler_metadata"]
        if not isinstance(schedule, Schedule):
            return self._decode(*arguments, **named)
        refusal = decode_refusal(given)
        _say("dense decoding" if given.get("indices") is None else "sparse decoding", refusal)
        if not refusal:
            return flash_mla_with_kvcache(**given)
        given["tile_scheduler_metadata"] = schedule.other(lambda: self._metadata()[0])
        return self._decode(**given)

    def flash_mla_sparse_fwd(self, *arguments, **named):
        given = by_name(PREFILL_ORDER, arguments, named)
        refusal = "an unknown argument" if given is None else prefill_refusal(given)
        _say("sparse prefill", refusal)
        function = self._prefill if refusal else flash_mla_sparse_fwd
        return function(*arguments, **named) if given is None else function(**given)


def replace():
    """Puts this package's functions into vLLM's vendored module and where they came from it."""
    try:
        module = importlib.import_module(_VENDORED)
    except ImportError as failure:
        say_once(f"nothing of vLLM's FlashMLA is replaced: {failure}", important=True)
        return
    if isinstance(getattr(module.get_mla_metadata, "__self__", None), Replacement):
        return  # vLLM may call a plug-in twice
    replacement = Replacement(module)
    own = {name: getattr(module, name) for name in _REPLACED}
    # Modules that were imported before the plug-in ran have the functions under their names.
    for name, holder in list(sys.modules.items()):
        if name.partition(".")[0] != "vllm":
            continue
        for function in _REPLACED:
            if getattr(holder, "__dict__", {}).get(function) is own[function]:
                setattr(holder, function, getattr(replacement, function))
    say_once("vLLM's FLASHMLA and FLASHMLA_SPARSE call FlashMLA where it has kernels")
