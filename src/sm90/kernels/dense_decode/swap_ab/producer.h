// The warp that loads the keys. It runs ahead of the consumers over the ends of segments.
#pragma once

#include "sm90/kernels/dense_decode/gather_rows.h"
#include "sm90/kernels/dense_decode/page_walk.h"
#include "sm90/kernels/dense_decode/query_loader.h"
#include "sm90/kernels/dense_decode/swap_ab/shared_storage.h"
#include "sm90/pipeline/cluster.h"
#include "sm90/pipeline/position.h"
#include "sm90/ptx/cluster.h"
#include "sm90/ptx/warpgroup.h"

namespace flashmla::sm90::dense_decode::swap_ab {

// The warp loads blocks by boxes of the tensor map. One of its threads starts the copies: one box
// for each slot where a page holds whole blocks, otherwise one box for each chunk and page. In a
// cluster the CTAs load slots in turn, and each sends its slots to all CTAs.
template <int Chunks, int Rows, int ClusterSize, bool WholeBlocks>
FLASHMLA_DEVICE void load_boxes(const Params& p, const CUtensorMap* map,
                                const SharedAddresses<Chunks, Rows>& shared,
                                SegmentQueue& segments) {
  using Shared = SharedAddresses<Chunks, Rows>;
  constexpr int slot_chunks = Slot<Chunks>::chunks;
  static_assert(Shared::Storage::key_slots % ClusterSize == 0, "a slot always has the same sender");
  const int rank = ClusterSize > 1 ? static_cast<int>(ptx::cluster_rank()) : 0;
  pipeline::RingPosition<Shared::Storage::key_slots> at;
  const auto load_part = [&](const TileSegment& segment, const PageWalk& walk, std::int32_t page,
                             int first_chunk) {
    const pipeline::Landing landing = shared.key_ring().landing(at);
    const std::uint32_t target = shared.keys(at.slot);
    shared.key_ring().acquire(at);
    const std::uint32_t ready = landing.expect(Slot<Chunks>::bytes);
    if (ClusterSize > 1 && at.slot % ClusterSize != rank)
      return;  // another CTA loads this slot
    const auto load_box = [&](std::uint32_t to, const ptx::BoxPlace& box) {
      pipeline::load_to_cluster<ClusterSize>(to, map, ready, box,
                                             static_cast<std::uint64_t>(p.key_policy));
    };
    if constexpr (WholeBlocks) {
      load_box(target, {0, walk.token_in_page, first_chunk, segment.kv_head, page});
    } else {
      for (int row = 0; row < block_tokens; row += p.page_size) {
        const std::int32_t part = row == 0 ? page : walk.checked_page_at(p, segment, row);
        for (int chunk = 0; chunk < slot_chunks; ++chunk)
          load_box(target + chunk * chunk_bytes + row * tile::row_bytes,
                   {0, 0, first_chunk + chunk, segment.kv_head, part});
      }
    }
  };
  segments.for_each([&](const TileSegment& segment) {
    PageWalk walk(p, segment, segment.first_block);
    for (int i = 0; i < segment.blocks; ++i) {
      const PageWalk now = walk;
      if (i + 1 < segment.blocks)
        walk.skip_blocks(p, segment, 1);
      const std::int32_t page = now.checked_page(p, segment);
      for (int part = 0; part < Slot<Chunks>::per_block; ++part) {
        if (ptx::elected())
          load_part(segment, now, page, part * slot_chunks);
        at.advance();
      }
    }
  });
}

// The warp loads blocks row by row. It starts the copies of further slots before it commits earlier
// ones. At the end of a segment it commits all of them, since the next record may wait for the
// consumers of this segment.
template <int Chunks, int Rows>
FLASHMLA_DEVICE void gather_keys(const Params& p, const SharedAddresses<Chunks, Rows>& shared,
                                 SegmentQueue& segments) {
  using Shared = SharedAddresses<Chunks, Rows>;
  constexpr int slot_chunks = Slot<Chunks>::chunks;
  constexpr int ahead = 2;  // the slots of a block have to be committed before the ring is full
  static_assert(Shared::Storage::key_slots >= Slot<Chunks>::per_block + ahead);
  pipeline::RingPosition<Shared::Storage::key_slots> at;
  pipeline::RingPosition<Shared::Storage::key_slots> shown;
  const auto show = [&] {
    ptx::fence_async_proxy();
    shared.key_ring().commit(shown);
    shown.advance();
  };
  segments.for_each([&](const TileSegment& segment) {
    int asked = 0;
    GatheredRows next;
    next.look_up(p, segment, segment.first_block * block_tokens);
    for (int i = 0; i < segment.blocks; ++i) {
      GatheredRows rows = next;
      rows.check(p, segment);
      if (i + 1 < segment.blocks)
        next.look_up(p, segment, (segment.first_block + i + 1) * block_tokens);
#pragma unroll 1
      for (int part = 0; part < Slot<Chunks>::per_block; ++part) {
        shared.key_ring().acquire(at);
        rows.copy<4>(p, segment.kv_head, part * slot_chunks, slot_chunks, shared.keys(at.slot));
        at.advance();
        if (++asked <= ahead)
          continue;
        ptx::wait_for_groups<ahead>();
        show();
      }
    }
    ptx::wait_for_groups<0>();
    for (int i = 0; i < asked && i < ahead; ++i)
      show();
  });
}

// The warp loads the keys in the way that the cache needs.
template <int Chunks, int Rows, int ClusterSize>
FLASHMLA_DEVICE void load_keys(const Params& p, const CUtensorMap* map,
                               const SharedAddresses<Chunks, Rows>& shared,
                               SegmentQueue& segments) {
  if (p.gathered)
    gather_keys<Chunks, Rows>(p, shared, segments);
  else if (p.page_size >= block_tokens)
    load_boxes<Chunks, Rows, ClusterSize, true>(p, map, shared, segments);
  else
    load_boxes<Chunks, Rows, ClusterSize, false>(p, map, shared, segments);
}

}  // namespace flashmla::sm90::dense_decode::swap_ab
