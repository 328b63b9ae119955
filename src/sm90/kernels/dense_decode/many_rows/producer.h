// The loading warps: one for each buffer of keys, two for the queries. They run ahead of the
// consumers over the ends of segments.
#pragma once

#include "sm90/kernels/dense_decode/many_rows/shared_storage.h"
#include "sm90/kernels/dense_decode/page_walk.h"
#include "sm90/kernels/dense_decode/query_loader.h"
#include "sm90/ops/load_rows.h"
#include "sm90/ptx/cluster.h"
#include "sm90/ptx/mbarrier.h"
#include "sm90/ptx/tma.h"
#include "sm90/ptx/warpgroup.h"

namespace flashmla::sm90::dense_decode::many_rows {

// The parts of a block in the order in which a buffer's consumers give them back.
FLASHMLA_DEVICE constexpr KeyPart part_in_order(int buffer, int i) {
  return i == 0 ? rope_part : (i == 1) == (buffer == 0) ? left_part : right_part;
}

// Chunks of a part: [first, end).
FLASHMLA_DEVICE constexpr int first_chunk(KeyPart part) {
  return part == rope_part ? rope_chunk : part == left_part ? 0 : v_half_chunks;
}
template <int Chunks>
FLASHMLA_DEVICE constexpr int end_chunk(KeyPart part) {
  return part == rope_part ? Chunks : part == left_part ? v_half_chunks : 2 * v_half_chunks;
}

// One thread loads every second block by boxes of the tensor map. In a cluster each CTA loads its
// share of a block's rows and sends it to both.
template <int Chunks, int ClusterSize, int Buffer>
class KeyLoader {
 public:
  FLASHMLA_DEVICE KeyLoader(const Params& params, const CUtensorMap* tensor_map,
                            const SharedAddresses<Chunks>& addresses)
      : p(params),
        map(tensor_map),
        shared(addresses),
        rank(ClusterSize > 1 ? static_cast<int>(ptx::cluster_rank()) : 0) {}

  FLASHMLA_DEVICE void load_all() {
    std::uint32_t uses = 0;
    for_each_tile_segment<tile_rows, ClusterSize>(p, [&](const TileSegment& segment) {
      PageWalk walk(p, segment, segment.first_block + Buffer);
      for (int i = Buffer; i < segment.blocks; i += 2, ++uses) {
        const PageWalk now = walk;
        if (i + 2 < segment.blocks)
          walk.skip_blocks(p, segment, 2);
        load_block(segment, now, (uses & 1) ^ 1);
      }
    });
  }

 private:
  static constexpr int share_rows = block_tokens / ClusterSize;

  FLASHMLA_DEVICE void load_block(const TileSegment& segment, const PageWalk& walk,
                                  std::uint32_t parity) {
#pragma unroll
    for (int n = Chunks > rope_chunk ? 0 : 1; n < key_parts; ++n) {
      const KeyPart part = part_in_order(Buffer, n);
      ptx::mbarrier_wait(shared.keys_free(Buffer, part), parity);
#pragma unroll
      for (int chunk = first_chunk(part); chunk < end_chunk<Chunks>(part); ++chunk)
        ptx::mbarrier_arrive_expect(shared.keys_ready(Buffer, chunk), chunk_bytes);
      if (p.page_size >= share_rows)
        load_boxes(part, segment, rank * share_rows, walk.token_in_page + rank * share_rows,
                   walk.page);
      else
        for (int row = rank * share_rows; row < (rank + 1) * share_rows; row += p.page_size)
          load_boxes(part, segment, row, 0, walk.page_at(p, segment, row));
    }
  }

  FLASHMLA_DEVICE void load_boxes(KeyPart part, const TileSegment& segment, int row,
                                  std::int32_t token_in_page, std::int32_t page) {
#pragma unroll
    for (int chunk = first_chunk(part); chunk < end_chunk<Chunks>(part); ++chunk) {
      const std::uint32_t target = shared.keys(Buffer, chunk) + row * tile::row_bytes;
      const std::uint32_t ready = shared.keys_ready(Buffer, chunk);
      const ptx::BoxPlace box{0, token_in_page, chunk, segment.kv_head, page};
      if constexpr (ClusterSize == 1)
        ptx::tma_load(target, map, ready, box, ptx::evict_first);
      else
        ptx::tma_load_multicast(target, map, ready, box, (1 << ClusterSize) - 1,
                                ptx::evict_first);
    }
  }

  const Params& p;
  const CUtensorMap* map;
  SharedAddresses<Chunks> shared;
  int rank;
};

// A warp loads every second block row by row: any page size, any strides. Rows past the length or
// outside of the cache become zeros.
template <int Chunks, int ClusterSize, int Buffer>
FLASHMLA_DEVICE void gather_keys(const Params& p,
                                 const SharedAddresses<Chunks>& shared) {
  const int lane = threadIdx.x % 32;
  std::uint32_t uses = 0;
  for_each_tile_segment<tile_rows, ClusterSize>(p, [&](const TileSegment& segment) {
    const std::int32_t* pages = p.block_table + segment.request * p.table_stride;
    for (int i = Buffer; i < segment.blocks; i += 2, ++uses) {
      const std::int32_t first_token = (segment.first_block + i) * block_tokens;
#pragma unroll 1
      for (int n = Chunks > rope_chunk ? 0 : 1; n < key_parts; ++n) {
        const KeyPart part = part_in_order(Buffer, n);
        ptx::mbarrier_wait(shared.keys_free(Buffer, part), (uses & 1) ^ 1);
        const int first = first_chunk(part);
        const int units = (end_chunk<Chunks>(part) - first) * tile::units_per_row;
#pragma unroll 1
        for (int row = 0; row < block_tokens; ++row) {
          const std::int32_t token = first_token + row;
          bool wanted = token < segment.length;
          const std::uint16_t* source = p.cache;
          if (wanted) {
            const std::int32_t index = token / p.page_size;
            const std::int32_t page = __ldg(pages + index);
            wanted = static_cast<std::uint32_t>(page) < static_cast<std::uint32_t>(p.num_pages);
            if (wanted)
              source += page * p.cache_strides.outer +
                        (token - index * p.page_size) * p.cache_strides.middle +
                        segment.kv_head * p.cache_strides.head + first * tile::chunk_columns;
            else if (lane == 0)
              report_bad_page(p, segment.request);
          }
          if (lane < units)
            ops::load_unit(shared.keys(Buffer, first + lane / tile::units_per_row) +
                               tile::swizzled(row, lane % tile::units_per_row),
                           wanted ? source + lane * 8 : source, wanted, p.kv_aligned);
        }
        ptx::wait_for_copies();
        ptx::fence_async_proxy();
        __syncwarp();
        if (lane < end_chunk<Chunks>(part) - first)
          ptx::mbarrier_arrive(shared.keys_ready(Buffer, first + lane));
      }
    }
  });
}

}  // namespace flashmla::sm90::dense_decode::many_rows
