#include "api/cache_check.h"

#include "core/check.h"

namespace flashmla::api {

TensorCheck check_cache(const char* argument, const TensorView& cache, const CacheWanted& wanted) {
  const bool plain = is_plain(wanted.format);
  const std::int64_t elements = token_elements(wanted.format, wanted.qk_dim);
  TensorCheck check(argument, cache);
  if (plain)
    check.dtype({cache_dtype(wanted.format)});
  else
    check.dtype({DType::e4m3, DType::u8, DType::i8});
  check
      .shape({{"num_pages", wanted.num_pages},
              {"page_size", wanted.page_size},
              {"h_kv", wanted.kv_heads},
              {plain ? "d_qk" : "token bytes", elements}})
      .last_dimension_contiguous();
  if (!plain && cache.shape[0] > 0 && cache.shape[1] > 1 && cache.strides[1] != elements)
    reject(argument, text("stride ", cache.strides[1], " between tokens"),
           text("tokens back to back: ", elements, " bytes"));
  return check;
}

}  // namespace flashmla::api
