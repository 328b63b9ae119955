"""Names of the existing package that belong to kernels of another architecture."""


def _refuse(name):
    def function(*args, **kwargs):
        raise NotImplementedError(
            f"{name}: given a call, wanted none: attention over separate keys and values is not "
            "what FlashMLA computes; on Hopper the existing package has no such kernel either"
        )

    function.__name__ = function.__qualname__ = name
    function.__doc__ = "Raises NotImplementedError: a name that engines import, without a kernel."
    return function


flash_attn_varlen_func = _refuse("flash_attn_varlen_func")
flash_attn_varlen_qkvpacked_func = _refuse("flash_attn_varlen_qkvpacked_func")
flash_attn_varlen_kvpacked_func = _refuse("flash_attn_varlen_kvpacked_func")
