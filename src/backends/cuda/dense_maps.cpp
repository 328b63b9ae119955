#include "backends/cuda/dense_maps.h"

#include "gpu/alignment.h"
#include "gpu/tensor_map.h"

namespace flashmla::backends::cuda {

namespace dense = sm90::dense_decode;
using dense::block_tokens;

namespace {

constexpr std::uint32_t chunk_columns = 64;
constexpr std::uint64_t chunk_bytes = chunk_columns * sizeof(std::uint16_t);

std::uint64_t size_of(const TensorView& tensor, int d) {
  return static_cast<std::uint64_t>(tensor.shape[d]);
}

// NOTE: the stride of a dimension of size 1 may be any number, but a tensor map needs a valid one.
std::uint64_t stride_bytes(const TensorView& tensor, int d) {
  return tensor.shape[d] > 1 ? static_cast<std::uint64_t>(tensor.strides[d]) * sizeof(std::uint16_t)
                             : chunk_bytes;
}

// The dimensions are (column in chunk, token in page, chunk, KV head, page). A box has `rows` rows
// and `chunks` chunks where a page holds whole blocks, and otherwise one chunk of a page.
CUtensorMap key_map(const TensorView& cache, std::int32_t rows, std::int32_t chunks) {
  const bool whole_blocks = cache.shape[1] >= block_tokens;
  return gpu::make_tensor_map(
      {.data = cache.data,
       .type = cache.dtype,
       .size = {chunk_columns, size_of(cache, 1), size_of(cache, 3) / chunk_columns,
                size_of(cache, 2), size_of(cache, 0)},
       .stride_bytes = {stride_bytes(cache, 1), chunk_bytes, stride_bytes(cache, 2),
                        stride_bytes(cache, 0)},
       .box = {chunk_columns, static_cast<std::uint32_t>(whole_blocks ? rows : cache.shape[1]),
               static_cast<std::uint32_t>(whole_blocks ? chunks : 1), 1, 1}});
}

// The dimensions are (column in chunk, head, chunk, query token, request).
CUtensorMap query_map(const TensorView& q, const dense::Kernel& kernel, std::int32_t box_rows) {
  const bool whole_tile = box_rows == kernel.tile_rows;
  return gpu::make_tensor_map(
      {.data = q.data,
       .type = q.dtype,
       .size = {chunk_columns, size_of(q, 2), size_of(q, 3) / chunk_columns, size_of(q, 1),
                size_of(q, 0)},
       .stride_bytes = {stride_bytes(q, 2), chunk_bytes, stride_bytes(q, 1), stride_bytes(q, 0)},
       .box = {chunk_columns, static_cast<std::uint32_t>(box_rows),
               whole_tile ? static_cast<std::uint32_t>(kernel.qk_chunks()) : 1, 1, 1}});
}

}  // namespace

bool boxes_fit(const TensorView& cache) {
  return dense::fits_boxes(cache.shape[1]) && gpu::rows_aligned(cache) && cache.shape[0] > 0;
}

std::int32_t query_box_rows(const TensorView& q, const RowTiles& tiles) {
  constexpr std::int64_t min_rows = 8;  // the unit of the swizzle
  if (!gpu::rows_aligned(q))
    return 0;
  const std::int32_t tile_rows = tiles.kernel.tile_rows;
  if (q.shape[1] == 1 || tiles.group % tile_rows == 0)
    return tile_rows;
  if (tiles.group % min_rows == 0 && tile_rows % tiles.group == 0)
    return static_cast<std::int32_t>(tiles.group);
  return 0;
}

dense::Maps dense_maps(const Inputs& in, const dense::Kernel& kernel, const dense::Params& p) {
  dense::Maps maps{};
  if (!p.gathered) {
    maps.keys = key_map(in.kv_cache, kernel.box_rows, kernel.box_chunks);
    if (kernel.boxes_rope)
      maps.rope_keys = key_map(in.kv_cache, kernel.box_rows, 1);
  }
  if (p.q_box_rows > 0)
    maps.queries = query_map(in.q, kernel, p.q_box_rows);
  return maps;
}

}  // namespace flashmla::backends::cuda
