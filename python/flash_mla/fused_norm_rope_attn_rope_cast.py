"""Names of another architecture's fused kernels, which engines import wherever they run.

Each raises NotImplementedError when it is called, and so does the module itself.
"""

import sys
import types

from ._unsupported import refuse

_WHY = "the kernel of another architecture, which FlashMLA on Hopper does not have"

prefill = refuse("fused_norm_rope_attn_rope_cast.prefill", _WHY)
decode = refuse("fused_norm_rope_attn_rope_cast.decode", _WHY)
permute_q_b_proj = refuse("fused_norm_rope_attn_rope_cast.permute_q_b_proj", _WHY)
permute_wv_proj = refuse("fused_norm_rope_attn_rope_cast.permute_wv_proj", _WHY)


class _Module(types.ModuleType):
    def __call__(self, *args, **kwargs):
        refuse("fused_norm_rope_attn_rope_cast", _WHY)()


sys.modules[__name__].__class__ = _Module
