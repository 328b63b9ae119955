// The warps that load keys, one for each buffer. They run ahead of the consumers over the ends of
// segments.
#pragma once

#include "sm90/kernels/dense_decode/gather_rows.h"
#include "sm90/kernels/dense_decode/page_walk.h"
#include "sm90/kernels/dense_decode/query_loader.h"
#include "sm90/kernels/dense_decode/seesaw/shared_storage.h"
#include "sm90/pipeline/cluster.h"
#include "sm90/pipeline/ring.h"
#include "sm90/ptx/cluster.h"
#include "sm90/ptx/tma.h"
#include "sm90/ptx/warpgroup.h"

namespace flashmla::sm90::dense_decode::seesaw {

// The parts of a block, in the order in which the consumers of a buffer give them back.
FLASHMLA_DEVICE constexpr KeyPart part_in_order(int buffer, int i) {
  return i == 0 ? rope_part : (i == 1) == (buffer == 0) ? left_part : right_part;
}

// The first part in this order. Rows without a rotary chunk skip it.
template <int Chunks>
inline constexpr int first_part = Chunks > rope_chunk ? 0 : 1;

// The number of chunks in a box of V, where a page holds whole blocks. In a cluster it is 1: the
// CTAs share the rows of a box, so that the chunks of a larger box would not lie at the distance of
// a chunk.
template <int ClusterSize>
inline constexpr int value_box_chunks = ClusterSize == 1 ? v_half_chunks : 1;

// A warp loads every second block by boxes of the tensor maps. One of its threads starts the
// copies. In a cluster each CTA loads its share of the rows and sends it to all CTAs.
// `WholeBlocks`: a page consists of whole blocks; otherwise a block consists of whole pages.
template <int Chunks, int ClusterSize, int Buffer, bool WholeBlocks>
class KeyLoader {
 public:
  FLASHMLA_DEVICE KeyLoader(const Params& params, const Maps& tensor_maps,
                            const SharedAddresses<Chunks>& addresses)
      : p(params),
        maps(tensor_maps),
        shared(addresses),
        first_row(ClusterSize > 1 ? static_cast<int>(ptx::cluster_rank()) * rows : 0) {}

  FLASHMLA_DEVICE void load_all(SegmentQueue& segments) {
    pipeline::UseCount uses;   // of the buffer
    pipeline::UseCount tails;  // tails cleared before
    segments.for_each([&](const TileSegment& segment) {
      PageWalk walk(p, segment, segment.first_block + Buffer);
      for (int i = Buffer; i < segment.blocks; i += 2, uses.advance()) {
        const PageWalk now = walk;
        if (i + 2 < segment.blocks)
          walk.skip_blocks(p, segment, 2);
        const int tokens = segment.length - (segment.first_block + i) * block_tokens;
        if (Buffer == 1 && uses.count == 0)
          ptx::barrier_sync(first_block_asked, key_loader_threads);
        if (ptx::elected())
          load_block(segment, now, pipeline::SlotUse(uses), tokens < block_tokens);
        if (Buffer == 0 && uses.count == 0)
          ptx::barrier_arrive(first_block_asked, key_loader_threads);
        if (uses.count >= prefetched_from && i + 2 < segment.blocks)
          prefetch_block(walk);
        if (tokens < block_tokens)
          clear_tail(tokens, tails.next());
      }
    });
  }

 private:
  static constexpr int rows = block_tokens / ClusterSize;
  static constexpr std::uint32_t prefetched_from = 4;  // uses of a buffer

  FLASHMLA_DEVICE void load_block(const TileSegment& segment, const PageWalk& walk,
                                  const pipeline::SlotUse& use, bool tail) {
    const std::int32_t page = walk.checked_page(p, segment);
    // With cluster size 1 device memory is the bound. The rotary chunk is loaded together with half
    // of V then, so that a row of a token is requested twice and not three times.
    if constexpr (ClusterSize == 1)
      shared.key_ring(Buffer, part_in_order(Buffer, 1)).acquire(use);
#pragma unroll
    for (int n = first_part<Chunks>; n < key_parts; ++n) {
      const KeyPart part = part_in_order(Buffer, n);
      const auto ring = shared.key_ring(Buffer, part);
      const pipeline::Landing landing = tail ? shared.tail_landing(Buffer) : ring.landing();
      ring.acquire(use);
      const std::uint32_t ready = landing.expect(chunks_of(part) * chunk_bytes);
      if constexpr (WholeBlocks) {
        constexpr int box_chunks = value_box_chunks<ClusterSize>;
#pragma unroll
        for (int chunk = 0; chunk < chunks_of(part); chunk += box_chunks)
          load_box(segment, part, ready, first_chunk_of(part) + chunk, first_row,
                   walk.token_in_page + first_row, page);
      } else {
        load_pages(segment, walk, page, part, ready);
      }
    }
  }

  // Brings the CTA's rows of the block after the next one into the L2 cache, because two buffers do
  // not cover the latency of device memory. This is not done in short calls, nor at the start of
  // long ones, where the first loads of all CTAs fill the bandwidth.
  FLASHMLA_DEVICE void prefetch_block(const PageWalk& walk) {
    if constexpr (WholeBlocks) {
      const bool inside =
          static_cast<std::uint32_t>(walk.page) < static_cast<std::uint32_t>(p.num_pages);
      if (p.prefetches_keys && inside && ptx::elected())
        ptx::prefetch_to_l2(p.cache + walk.page * p.cache_strides.outer +
                                (walk.token_in_page + first_row) * p.cache_strides.middle,
                            rows * Chunks * tile::row_bytes);
    }
  }

  FLASHMLA_DEVICE void load_pages(const TileSegment& segment, const PageWalk& walk,
                                  std::int32_t page, KeyPart part, std::uint32_t ready) {
    for (int row = first_row; row < first_row + rows; row += p.page_size) {
      const std::int32_t page_there = row == 0 ? page : walk.checked_page_at(p, segment, row);
      for (int chunk = 0; chunk < chunks_of(part); ++chunk)
        load_box(segment, part, ready, first_chunk_of(part) + chunk, row, 0, page_there);
    }
  }

  FLASHMLA_DEVICE void load_box(const TileSegment& segment, KeyPart part, std::uint32_t ready,
                                int chunk, int row, std::int32_t token_in_page, std::int32_t page) {
    const CUtensorMap* map = part == rope_part ? &maps.rope_keys : &maps.keys;
    const std::uint32_t target = shared.keys(Buffer, chunk) + row * tile::row_bytes;
    const ptx::BoxPlace box{0, token_in_page, chunk, segment.kv_head, page};
    pipeline::load_to_cluster<ClusterSize>(target, map, ready, box,
                                           static_cast<std::uint64_t>(p.key_policy));
  }

  // Sets V to 0 behind the end of the request, once for each request: P is 0 there, but 0 · NaN is
  // not. The consumers, whose loops have to be short, see the block only after that.
  FLASHMLA_DEVICE void clear_tail(int tokens, pipeline::UseCount tails) {
    const int lane = threadIdx.x % 32;
    shared.tail_landing(Buffer).wait(tails);
    const std::uint32_t end = block_tokens * tile::row_bytes;
#pragma unroll 1
    for (int chunk = 0; chunk < rope_chunk; ++chunk)
#pragma unroll 1
      for (std::uint32_t at = tokens * tile::row_bytes + lane * tile::unit_bytes; at < end;
           at += 32 * tile::unit_bytes)
        ptx::store_shared(shared.keys(Buffer, chunk) + at, uint4{});
    ptx::fence_async_proxy();
    __syncwarp();
    if (lane == 0)
#pragma unroll
      for (int n = first_part<Chunks>; n < key_parts; ++n)
        shared.key_ring(Buffer, part_in_order(Buffer, n)).commit();
  }

  const Params& p;
  const Maps& maps;
  SharedAddresses<Chunks> shared;
  int first_row;  // first row of a block in the CTA's share
};

// A warp loads every second block row by row.
template <int Chunks, int Buffer>
FLASHMLA_DEVICE void gather_keys(const Params& p, const SharedAddresses<Chunks>& shared,
                                 SegmentQueue& segments) {
  const auto show = [&](int n) {
    ptx::fence_async_proxy();
    shared.key_ring(Buffer, part_in_order(Buffer, n)).commit();
  };
  pipeline::UseCount uses;  // of the buffer
  GatheredRows rows;
  segments.for_each([&](const TileSegment& segment) {
    for (int i = Buffer; i < segment.blocks; i += 2, uses.advance()) {
      rows.look_up(p, segment, (segment.first_block + i) * block_tokens);
      rows.check(p, segment);
#pragma unroll 1
      for (int n = first_part<Chunks>; n < key_parts; ++n) {
        const KeyPart part = part_in_order(Buffer, n);
        const int first = first_chunk_of(part);
        shared.key_ring(Buffer, part).acquire(uses);
        rows.copy<1>(p, segment.kv_head, first, chunks_of(part), shared.keys(Buffer, first));
      }
      if constexpr (first_part<Chunks> == 0) {
        ptx::wait_for_groups<2>();
        show(0);
      }
      ptx::wait_for_groups<1>();
      show(1);
      ptx::wait_for_groups<0>();
      show(2);
    }
  });
}

// A warp loads every second block, in the way that the cache needs.
template <int Chunks, int ClusterSize, int Buffer>
FLASHMLA_DEVICE void load_keys(const Params& p, const Maps& maps,
                               const SharedAddresses<Chunks>& shared, SegmentQueue& segments) {
  if (p.gathered) {
    gather_keys<Chunks, Buffer>(p, shared, segments);
  } else if (p.page_size >= block_tokens) {
    KeyLoader<Chunks, ClusterSize, Buffer, true>(p, maps, shared).load_all(segments);
  } else {
    KeyLoader<Chunks, ClusterSize, Buffer, false>(p, maps, shared).load_all(segments);
  }
}

}  // namespace flashmla::sm90::dense_decode::seesaw
