"""Names of the existing package that belong to kernels of another architecture."""

_SEPARATE = (
    "attention over separate keys and values is not what FlashMLA computes; on Hopper the existing "
    "package has no such kernel either"
)


def refuse(name, why):
    """A function of this name that raises NotImplementedError with the reason."""

    def function(*args, **kwargs):
        raise NotImplementedError(f"{name}: given a call, wanted none: {why}")

    function.__name__ = function.__qualname__ = name
    function.__doc__ = "Raises NotImplementedError: a name that engines import, without a kernel."
    return function


flash_attn_varlen_func = refuse("flash_attn_varlen_func", _SEPARATE)
flash_attn_varlen_qkvpacked_func = refuse("flash_attn_varlen_qkvpacked_func", _SEPARATE)
flash_attn_varlen_kvpacked_func = refuse("flash_attn_varlen_kvpacked_func", _SEPARATE)
