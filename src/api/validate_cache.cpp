#include "api/cache_check.h"
#include "api/tensor_check.h"
#include "api/validate.h"
#include "core/check.h"

namespace flashmla::api {

namespace {

void validate_format(KvFormat format) {
  if (name_of(format) == "?")
    reject("format", text(static_cast<int>(format)), "bf16, fp16, v32 or v4");
}

// The type of the rows that go to a cache or come from it: that of the cache, or bf16 for FP8
// formats.
DType row_type(KvFormat format) {
  return is_plain(format) ? cache_dtype(format) : DType::bf16;
}

Dimension heads_of(KvFormat format) {
  return {"h_kv", is_plain(format) ? any_size : 1};
}

Dimension width_of(KvFormat format) {
  return {"d_qk", is_plain(format) ? any_size : format_qk_dim(format)};
}

CacheWanted cache_wanted(KvFormat format, std::int64_t heads, std::int64_t qk_dim) {
  return {.format = format, .kv_heads = heads, .qk_dim = qk_dim};
}

CacheWanted cache_like(const TensorView& plain, KvFormat format) {
  return {.format = format,
          .num_pages = plain.shape[0],
          .page_size = plain.shape[1],
          .kv_heads = plain.shape[2],
          .qk_dim = plain.shape[3]};
}

TensorCheck check_rows(const TensorView& rows, KvFormat format) {
  TensorCheck check("rows", rows);
  check.dtype({row_type(format)})
      .shape({{"n", any_size}, heads_of(format), width_of(format)})
      .last_dimension_contiguous();
  return check;
}

TensorCheck check_plain(const TensorView& plain, KvFormat format) {
  TensorCheck check("plain", plain);
  check.dtype({row_type(format)})
      .shape({{"num_pages", any_size}, {"page_size", any_size}, heads_of(format), width_of(format)})
      .last_dimension_contiguous();
  return check;
}

void validate_slots(const TensorView& cache, const TensorView& rows, const TensorView& slots) {
  TensorCheck("slots", slots)
      .on(cache.device)
      .dtype({DType::i64, DType::i32})
      .shape({{"n", rows.shape[0]}})
      .contiguous();
}

}  // namespace

void validate_append(const TensorView& cache, KvFormat format, const TensorView& rows,
                     const TensorView& slots) {
  validate_format(format);
  const TensorCheck rows_check = check_rows(rows, format);
  check_cache("cache", cache, cache_wanted(format, rows.shape[1], rows.shape[2])).writable();
  rows_check.on(cache.device);
  validate_slots(cache, rows, slots);
}

void validate_gather(const TensorView& cache, KvFormat format, const TensorView& slots,
                     const TensorView& rows) {
  validate_format(format);
  const TensorCheck rows_check = check_rows(rows, format);
  check_cache("cache", cache, cache_wanted(format, rows.shape[1], rows.shape[2]));
  rows_check.on(cache.device).writable();
  validate_slots(cache, rows, slots);
}

void validate_quantise(const TensorView& plain, const TensorView& cache, KvFormat format) {
  validate_format(format);
  const TensorCheck plain_check = check_plain(plain, format);
  check_cache("cache", cache, cache_like(plain, format)).writable();
  plain_check.on(cache.device);
}

void validate_dequantise(const TensorView& cache, KvFormat format, const TensorView& plain) {
  validate_format(format);
  const TensorCheck plain_check = check_plain(plain, format);
  check_cache("cache", cache, cache_like(plain, format));
  plain_check.on(cache.device).writable();
}

}  // namespace flashmla::api
