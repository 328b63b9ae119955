#include "sm90/kernels/cache/launch.h"

#include <algorithm>

#include "gpu/alignment.h"
#include "gpu/launch.h"
#include "sm90/kernels/cache/cache.h"
#include "sm90/kernels/cache/fp8_token.h"
#include "sm90/kernels/cache/plain_token.h"

namespace flashmla::sm90::cache {

namespace {

constexpr std::uint32_t default_shared_bytes = 48 * 1024;  // that need not be asked for

std::int64_t divide_up(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

// In bytes. The stride of a dimension of size 1 may be any number and is never used.
std::int64_t stride_of(const TensorView& view, int dimension) {
  return view.shape[dimension] > 1
             ? view.strides[dimension] * static_cast<std::int64_t>(size_of(view.dtype))
             : 0;
}

// [num_pages, page_size, h_kv, …]
Tokens tokens_of(const TensorView& view) {
  return {static_cast<std::byte*>(view.data), stride_of(view, 0), stride_of(view, 1),
          stride_of(view, 2)};
}

// [n, h_kv, d_qk], as a single page.
Tokens tokens_of_rows(const TensorView& view) {
  return {static_cast<std::byte*>(view.data), 0, stride_of(view, 0), stride_of(view, 1)};
}

template <class Layout>
void place_tokens(Params& p) {
  p.cache.token_stride = Layout::token_offset(1);
  p.scales_offset = Layout::scales_of(0, p.page_size);
  p.scales_stride = Layout::scales_of(1, p.page_size) - p.scales_offset;
}

// Everything but the rows, and which tokens are meant.
Params params_of(const TensorView& cache, KvFormat format) {
  Params p{};
  p.cache = tokens_of(cache);
  p.num_pages = cache.shape[0];
  p.page_size = cache.shape[1];
  if (format == KvFormat::v32)
    place_tokens<V32Layout>(p);
  if (format == KvFormat::v4)
    place_tokens<V4Layout>(p);
  return p;
}

Params params_of_rows(const TensorView& cache, KvFormat format, const TensorView& rows,
                      const TensorView& slots) {
  Params p = params_of(cache, format);
  p.rows = tokens_of_rows(rows);
  p.slots = slots.data;
  p.wide_slots = slots.dtype == DType::i64;
  p.count = rows.element_count() == 0 ? 0 : rows.shape[0];
  p.heads = static_cast<std::int32_t>(rows.shape[1]);
  p.columns = static_cast<std::int32_t>(rows.shape[2]);
  return p;
}

Params params_of_all(const TensorView& cache, KvFormat format, const TensorView& plain) {
  Params p = params_of(cache, format);
  p.rows = tokens_of(plain);
  p.count = plain.element_count() == 0 ? 0 : p.num_pages * p.page_size;
  p.heads = static_cast<std::int32_t>(plain.shape[2]);
  p.columns = static_cast<std::int32_t>(plain.shape[3]);
  return p;
}

// Whether Access<true> may be used.
bool is_wide(const TensorView& cache, KvFormat format, const TensorView& rows) {
  if (!gpu::rows_aligned(rows) || rows.shape[rows.rank - 1] % 8 != 0)
    return false;
  if (is_plain(format))
    return gpu::rows_aligned(cache);
  return reinterpret_cast<std::uintptr_t>(cache.data) % 8 == 0 && stride_of(cache, 0) % 8 == 0;
}

// The kernels of one way to move tokens.
struct Kernels {
  using Kernel = void (*)(Params);
  Kernel append;
  Kernel gather;
  Kernel quantise;
  Kernel dequantise;
};

template <class Token>
constexpr Kernels kernels_of{append_rows<Token>, gather_rows<Token>, quantise_cache<Token>,
                             dequantise_cache<Token>};

const Kernels& kernels_for(const TensorView& cache, KvFormat format, const TensorView& rows) {
  const bool wide = is_wide(cache, format, rows);
  if (format == KvFormat::v32)
    return wide ? kernels_of<V32Token<true>> : kernels_of<V32Token<false>>;
  if (format == KvFormat::v4)
    return wide ? kernels_of<V4Token<true>> : kernels_of<V4Token<false>>;
  return wide ? kernels_of<PlainToken<true>> : kernels_of<PlainToken<false>>;
}

// A warp for each token, in no more thread blocks than the GPU holds at once.
std::int64_t blocks_for(std::int64_t tokens, int multiprocessors) {
  return std::min<std::int64_t>(divide_up(tokens, threads / 32),
                                std::int64_t{blocks_of_multiprocessor} * multiprocessors);
}

void launch_on_all(Kernels::Kernel kernel, Params p, int multiprocessors, void* stream) {
  if (p.count == 0)
    return;
  const std::int64_t blocks = blocks_for(p.count, multiprocessors);
  const std::int64_t warps = blocks * (threads / 32);
  p.step_pages = warps / p.page_size;
  p.step_tokens = warps % p.page_size;
  gpu::launch(kernel, {static_cast<std::uint32_t>(blocks), threads}, stream, p);
}

// NOTE: always the same number, because another thread may launch the kernel at the same time.
void allow_all_shared_bytes(Kernels::Kernel kernel) {
  constexpr std::int64_t most = SlotTable::max_rows;
  gpu::check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                  cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(4 * SlotTable::of(most).words(most))),
             "cudaFuncSetAttribute");
}

}  // namespace

void launch_append(const TensorView& cache, KvFormat format, const TensorView& rows,
                   const TensorView& slots, int multiprocessors, void* stream) {
  Params p = params_of_rows(cache, format, rows, slots);
  if (p.count == 0)
    return;
  // Stretches are about equally long, and the multiprocessors have equally many.
  constexpr std::int64_t warps = append_threads / 32;
  const std::int64_t rounds = divide_up(p.count, SlotTable::max_rows * multiprocessors);
  p.rows_of_stretch = std::max(divide_up(p.count, rounds * multiprocessors), warps);
  p.slot_table = SlotTable::of(p.rows_of_stretch);
  const std::int64_t blocks =
      std::min<std::int64_t>(divide_up(p.count, p.rows_of_stretch), multiprocessors);
  const Kernels::Kernel kernel = kernels_for(cache, format, rows).append;
  const std::uint32_t bytes = 4 * p.slot_table.words(p.rows_of_stretch);
  if (bytes > default_shared_bytes)
    allow_all_shared_bytes(kernel);
  gpu::launch(kernel, {static_cast<std::uint32_t>(blocks), append_threads, bytes}, stream, p);
}

void launch_gather(const TensorView& cache, KvFormat format, const TensorView& slots,
                   const TensorView& rows, int multiprocessors, void* stream) {
  const Params p = params_of_rows(cache, format, rows, slots);
  if (p.count == 0)
    return;
  const std::int64_t blocks = blocks_for(p.count, multiprocessors);
  gpu::launch(kernels_for(cache, format, rows).gather,
              {static_cast<std::uint32_t>(blocks), threads}, stream, p);
}

void launch_quantise(const TensorView& plain, const TensorView& cache, KvFormat format,
                     int multiprocessors, void* stream) {
  launch_on_all(kernels_for(cache, format, plain).quantise, params_of_all(cache, format, plain),
                multiprocessors, stream);
}

void launch_dequantise(const TensorView& cache, KvFormat format, const TensorView& plain,
                       int multiprocessors, void* stream) {
  launch_on_all(kernels_for(cache, format, plain).dequantise, params_of_all(cache, format, plain),
                multiprocessors, stream);
}

}  // namespace flashmla::sm90::cache
