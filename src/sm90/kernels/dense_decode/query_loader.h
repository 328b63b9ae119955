// The warp that walks over the segments of a CTA. It publishes their records and loads their
// queries. Queries are loaded by boxes of a tensor map where the rows of a tile are neighbouring
// heads of whole query tokens, and otherwise row by row.
#pragma once

#include "sm90/kernels/dense_decode/segment_queue.h"
#include "sm90/ops/load_rows.h"
#include "sm90/pipeline/position.h"
#include "sm90/ptx/grid_dependency.h"
#include "sm90/ptx/tma.h"
#include "sm90/ptx/warpgroup.h"

namespace flashmla::sm90::dense_decode {

// Shared: query(chunk), query_ring().
template <class Shared, int Chunks, int TileRows, int ClusterSize>
class QueryLoader {
 public:
  FLASHMLA_DEVICE QueryLoader(const Params& params, const CUtensorMap* tensor_map,
                              const Shared& addresses, SegmentQueue& segment_queue)
      : p(params), map(tensor_map), shared(addresses), queue(segment_queue) {}

  // The number of threads that commit the queries of a segment.
  static FLASHMLA_DEVICE int writers(const Params& p) { return p.q_box_rows > 0 ? 1 : 32; }

  // The whole warp calls this at the start of the kernel. It looks up its first segment while other
  // warps set barriers, and calls join() before it uses a barrier. The other warps need not wait
  // for the prerequisites of the kernel, since this warp waits for them before its first record.
  template <class Join>
  FLASHMLA_DEVICE void load_all(Join join) {
    if (!runs_beside<TileRows, ClusterSize>(p))
      ptx::wait_for_prerequisites();
    pipeline::UseCount n;
    for_each_tile_segment<TileRows, ClusterSize>(p, [&](const TileSegment& segment) {
      if (n.count == 0)
        join();
      queue.publish(n, segment);
      shared.query_ring().acquire(n);
      if (p.q_box_rows > 0)
        load_boxes(segment);
      else
        load_rows(segment);
      n.advance();
    });
    if (n.count == 0)
      join();
    queue.publish(n, TileSegment::end());
  }

 private:
  static FLASHMLA_DEVICE int lane() { return threadIdx.x % 32; }

  FLASHMLA_DEVICE void load_boxes(const TileSegment& segment) {
    if (!ptx::elected())
      return;
    if (segment.blocks == 0)
      return shared.query_ring().commit();
    const std::uint32_t ready = shared.query_ring().expect(Chunks * TileRows * tile::row_bytes);
    const std::int32_t box_chunks = p.q_box_rows == TileRows ? Chunks : 1;
    const std::int32_t first_token = p.rows.by_group.quotient(segment.first_row);
    const std::int32_t first_head =
        segment.kv_head * p.rows.group + segment.first_row - first_token * p.rows.group;
    for (int box = 0; box * p.q_box_rows < TileRows; ++box)
      for (int chunk = 0; chunk < Chunks; chunk += box_chunks)
        ptx::tma_load(shared.query(chunk) + box * p.q_box_rows * tile::row_bytes, map, ready,
                      {0, first_head, chunk, first_token + box, segment.request},
                      static_cast<std::uint64_t>(ptx::L2Policy::evict_last));
  }

  // Each lane computes where one row begins. Then the warp copies the rows one after the other.
  FLASHMLA_DEVICE void load_rows(const TileSegment& segment) {
    constexpr int rows = TileRows < 32 ? TileRows : 32;
#pragma unroll 1
    for (int first = 0; first < TileRows; first += rows) {
      const RowPlace own = p.rows.place(segment.kv_head, segment.first_row + first + lane() % rows);
      const bool wanted = own.there && segment.blocks > 0;
      const std::int64_t offset = segment.request * p.q_strides.outer +
                                  own.token * p.q_strides.middle + own.head * p.q_strides.head;
#pragma unroll 2
      for (int i = 0; i < rows; ++i) {
        const bool there = __shfl_sync(0xffffffffu, wanted, i);
        const std::uint16_t* source =
            p.q + (there ? __shfl_sync(0xffffffffu, offset, i) : std::int64_t{0});
        for (int unit = lane(); unit < Chunks * tile::units_per_row; unit += 32)
          ops::load_unit(shared.query(unit / tile::units_per_row) +
                             tile::swizzled(first + i, unit % tile::units_per_row),
                         source + unit * 8, there, p.q_aligned);
      }
    }
    ptx::wait_for_copies();
    ptx::fence_async_proxy();
    shared.query_ring().commit();
  }

  const Params& p;
  const CUtensorMap* map;
  Shared shared;
  SegmentQueue& queue;
};

}  // namespace flashmla::sm90::dense_decode
