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

// What a part arrives in: [first, end).
FLASHMLA_DEVICE constexpr int first_arrival(KeyPart part) {
  return part == rope_part ? rope_arrival : part == left_part ? 0 : arrivals_of_half;
}
template <int Chunks>
FLASHMLA_DEVICE constexpr int end_arrival(KeyPart part) {
  return part == rope_part ? (Chunks > rope_chunk ? key_arrivals : rope_arrival)
                           : first_arrival(part) + arrivals_of_half;
}
FLASHMLA_DEVICE constexpr int chunks_of(int arrival) {
  return arrival == rope_arrival ? 1 : arrival_chunks;
}

// The tensor maps of the cache: their boxes hold an arrival's rows where a page holds whole blocks,
// otherwise one chunk of a page.
struct KeyMaps {
  const CUtensorMap* values;
  const CUtensorMap* rope;
};

// One thread loads every second block by boxes of the tensor maps. In a cluster each CTA loads
// every second arrival of V and half of the rotary rows, and sends them to both.
template <int Chunks, int ClusterSize, int Buffer>
class KeyLoader {
 public:
  FLASHMLA_DEVICE KeyLoader(const Params& params, const KeyMaps& tensor_maps,
                            const SharedAddresses<Chunks>& addresses)
      : p(params),
        maps(tensor_maps),
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
  FLASHMLA_DEVICE void load_block(const TileSegment& segment, const PageWalk& walk,
                                  std::uint32_t parity) {
    const std::int32_t page = walk.checked_page(p, segment);
#pragma unroll
    for (int n = Chunks > rope_chunk ? 0 : 1; n < key_parts; ++n) {
      const KeyPart part = part_in_order(Buffer, n);
      ptx::mbarrier_wait(shared.keys_free(Buffer, part), parity);
#pragma unroll
      for (int arrival = first_arrival(part); arrival < end_arrival<Chunks>(part); ++arrival) {
        ptx::mbarrier_arrive_expect(shared.keys_ready(Buffer, arrival),
                                    chunks_of(arrival) * chunk_bytes);
        if (arrival == rope_arrival)
          load_rows(segment, walk, page, arrival, rank * (block_tokens / ClusterSize),
                    block_tokens / ClusterSize);
        else if (arrival % ClusterSize == rank)
          load_rows(segment, walk, page, arrival, 0, block_tokens);
      }
    }
  }

  FLASHMLA_DEVICE void load_rows(const TileSegment& segment, const PageWalk& walk,
                                 std::int32_t page, int arrival, int first_row, int rows) {
    const int first_chunk = arrival * arrival_chunks;
    if (p.page_size >= block_tokens) {
      load_box(segment, arrival, first_chunk, first_row, walk.token_in_page + first_row, page);
      return;
    }
    for (int row = first_row; row < first_row + rows; row += p.page_size) {
      const std::int32_t part = row == 0 ? page : walk.checked_page_at(p, segment, row);
      for (int chunk = 0; chunk < chunks_of(arrival); ++chunk)
        load_box(segment, arrival, first_chunk + chunk, row, 0, part);
    }
  }

  FLASHMLA_DEVICE void load_box(const TileSegment& segment, int arrival, int chunk, int row,
                                std::int32_t token_in_page, std::int32_t page) {
    const CUtensorMap* map = arrival == rope_arrival ? maps.rope : maps.values;
    const std::uint32_t target = shared.keys(Buffer, chunk) + row * tile::row_bytes;
    const std::uint32_t ready = shared.keys_ready(Buffer, arrival);
    const ptx::BoxPlace box{0, token_in_page, chunk, segment.kv_head, page};
    if constexpr (ClusterSize == 1)
      ptx::tma_load(target, map, ready, box, static_cast<std::uint64_t>(p.key_policy));
    else
      ptx::tma_load_multicast(target, map, ready, box, (1 << ClusterSize) - 1,
                              static_cast<std::uint64_t>(p.key_policy));
  }

  const Params& p;
  KeyMaps maps;
  SharedAddresses<Chunks> shared;
  int rank;
};

// A warp loads every second block row by row: any page size, any strides. Rows past the length or
// outside of the cache become zeros.
template <int Chunks, int ClusterSize, int Buffer>
FLASHMLA_DEVICE void gather_keys(const Params& p, const SharedAddresses<Chunks>& shared) {
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
        const int first = first_arrival(part) * arrival_chunks;
        const int units = (part == rope_part ? 1 : v_half_chunks) * tile::units_per_row;
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
        for (int arrival = first_arrival(part); arrival < end_arrival<Chunks>(part); ++arrival)
          ptx::mbarrier_arrive(shared.keys_ready(Buffer, arrival));
      }
    }
  });
}

}  // namespace flashmla::sm90::dense_decode::many_rows
