// The scorers: Sᵀ = K Qᵀ with codes as operands from registers. Codes of one scale are added up
// alone, multiplied by the scale of each token, and then added to the scores.
#pragma once

#include "sm90/kernels/sparse_decode/codes/code_queries.h"
#include "sm90/kernels/sparse_decode/codes/shared_storage.h"
#include "sm90/kernels/sparse_decode/split_consumer.h"
#include "sm90/ops/code_operand.h"
#include "sm90/ops/scale_unit.h"

namespace flashmla::sm90::sparse_decode::codes {

template <class Room>
struct CodeScorers : Scorers<Room, CodeScorers<Room>> {
  using S = Scorers<Room, CodeScorers<Room>>;
  using S::factor;
  using S::own_rows;
  using S::S;
  using S::scores;
  using S::shared;
  using S::storage;
  using Format = typename Room::Format;
  using Scales = RowScales<Format>;
  using Sum = ops::Accumulator<S::rows>;

  FLASHMLA_DEVICE void load_queries(const attend::TileSegment& record, int thread) {
    codes::load_queries<Room::chunks, Format::code_chunks, Room::rows, S::threads>(
        S::p, record, thread, [this](int chunk) { return this->shared.query(chunk); },
        storage.query_unit);
    unit_.reset();
#pragma unroll
    for (int i = 0; i < own_rows; ++i)
      excess_[i] = 0;
  }

  FLASHMLA_DEVICE bool score(std::int32_t tokens) {
    ops::ScaleRange range;
    if (tokens > 0) {
      range = own_scales();
      multiply_queries();
    }
    S::mask(tokens);
    float block_max[own_rows];
    S::max_of_own(block_max);
    const int turn = S::turn;
    S::max_over_tokens(block_max, [&] {
      if (S::lane() == 0)
        storage.scale_range[turn][S::score_warp()] = range;
      S::meet();
    });
    bool rescales = S::raise_max_to(block_max);
    if (rescales)
#pragma unroll
      for (int i = 0; i < own_rows; ++i)
        excess_[i] *= factor[i];
    if (unit_.take_in(storage.scale_range[turn])) {
      rescales = true;
#pragma unroll
      for (int i = 0; i < own_rows; ++i)
        factor[i] *= unit_.factor();
    }
    return rescales;
  }

  // Computes P and writes it to a slot of the ring of weights.
  FLASHMLA_DEVICE void show_weights(int slot) {
    exponentiate();
    if (S::thread() == 0)
      storage.plain_codes[slot] = unit_.fits();
    if (has_rotary_values || !unit_.fits()) {
      round_weights();
      write_weights<__nv_bfloat16>(shared.weights(slot, rotary_form), unit_.down(), unit_.down());
    }
    if (unit_.fits()) [[likely]] {
#pragma unroll
      for (int form = 0; form < Scales::count; ++form)
        write_weights<__half>(shared.weights(slot, form), unit_.down() * scale(0, form),
                              unit_.down() * scale(1, form));
    }
  }

  FLASHMLA_DEVICE void show_totals() {
    S::reduce_tokens(excess_, [](float a, float b) { return a + b; });
    float divisors[own_rows];
#pragma unroll
    for (int i = 0; i < own_rows; ++i)
      divisors[i] = S::sum[i];
    S::reduce_tokens(divisors, [](float a, float b) { return a + b; });
#pragma unroll
    for (int i = 0; i < own_rows; ++i)
      divisors[i] = (divisors[i] + excess_[i]) * unit_.down();
    S::publish_totals(divisors);
  }

 private:
  static constexpr bool has_rotary_values = Room::Storage::has_rotary_values;
  static constexpr int rotary_form = Room::Storage::rotary_form;

  FLASHMLA_DEVICE int token(int r) const {
    return S::warp() * tile::warp_rows + tile::own_row(S::lane()) + r * tile::own_rows_apart;
  }
  FLASHMLA_DEVICE float scale(int r, int which) const {
    return Scales::load(shared.scales(S::key_slot(), token(r)), which);
  }
  // The unit of codes of an own token that the thread has in a chunk.
  FLASHMLA_DEVICE uint4 load_codes(int r, int chunk) const {
    return ptx::load_shared_unit(
        shared.codes(S::key_slot()) +
        CodeRows<Format>::offset(token(r), chunk * 4 + S::lane() % tile::quad_lanes));
  }

  // The scales of the warp's tokens.
  FLASHMLA_DEVICE ops::ScaleRange own_scales() const {
    ops::ScaleRange range{0, 0xffffffffu};
#pragma unroll
    for (int r = 0; r < 2; ++r)
#pragma unroll
      for (int first = 0; first < Scales::count; first += tile::quad_lanes) {
        const int which = min(first + S::lane() % tile::quad_lanes, Scales::count - 1);
        const std::uint32_t magnitude = __float_as_uint(scale(r, which)) & 0x7fffffffu;
        range.largest = max(range.largest, magnitude);
        range.smallest = min(range.smallest, magnitude - 1);  // 0 becomes the largest number
      }
    return {__reduce_max_sync(0xffffffffu, range.largest),
            __reduce_min_sync(0xffffffffu, range.smallest) + 1};
  }

  // scores = K Qᵀ. NOTE: the operands of a chunk are made while the tensor cores work on the chunk
  // before.
  FLASHMLA_DEVICE void multiply_queries() {
    multiply_rotary();
    Sum sums[2];  // of codes of the same scale
    Sum latent;
    latent.clear();
    std::uint32_t operands[2][4][4];
    uint4 codes[2] = {load_codes(0, 0), load_codes(1, 0)};
#pragma unroll
    for (int chunk = 0; chunk < Format::code_chunks; ++chunk) {
      const int which = Scales::of_chunk(chunk);
      auto& own = operands[chunk % 2];
      ops::operands_of_rows(codes, own);
      if (chunk + 1 < Format::code_chunks) {
        codes[0] = load_codes(0, chunk + 1);
        codes[1] = load_codes(1, chunk + 1);
      }
      const bool first_of_scale = chunk == 0 || Scales::of_chunk(chunk - 1) != which;
      multiply_chunk(chunk, own, sums[which % 2], !first_of_scale);
      ptx::wgmma_wait<1>();  // the product before is complete
      if (chunk > 0 && first_of_scale)
        add_scaled(latent, sums[(which + 1) % 2], which - 1);
    }
    ptx::wgmma_wait<0>();
    add_scaled(latent, sums[(Scales::count - 1) % 2], Scales::count - 1);
    scores.pin();
#pragma unroll
    for (int i = 0; i < own_rows; ++i) {
      const float unit = storage.query_unit[S::row(i)];
#pragma unroll
      for (int r = 0; r < 2; ++r)
        scores.at(r, i) = fmaf(latent.at(r, i), unit, scores.at(r, i));
    }
  }

  FLASHMLA_DEVICE void multiply_chunk(int chunk, std::uint32_t (&operands)[4][4], Sum& sum,
                                      bool accumulate) const {
    const std::uint64_t queries = tile::k_major(S::fixed().query(chunk));
    ptx::pin_matrix(operands);
    ptx::wgmma_fence();
#pragma unroll
    for (int k = 0; k < 4; ++k)
      ptx::wgmma_n16_rs<__half>(sum.value, operands[k], queries + k * tile::k_major_step,
                                accumulate || k > 0);
    ptx::wgmma_commit();
  }

  // latent += scale · sum, with the scale of each token.
  FLASHMLA_DEVICE void add_scaled(Sum& latent, Sum& sum, int which) const {
    sum.pin();
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float value = scale(r, which);
#pragma unroll
      for (int i = 0; i < own_rows; ++i)
        latent.at(r, i) = fmaf(sum.at(r, i), value, latent.at(r, i));
    }
  }

  FLASHMLA_DEVICE void multiply_rotary() {
    const std::uint64_t keys =
        attend::uniform_descriptor(tile::k_major(S::fixed().rotary(S::key_slot())));
    const std::uint64_t queries = tile::k_major(S::fixed().query(Room::chunks - 1));
    ptx::fence_async_proxy();  // other warps have copied the keys
    scores.pin();
    ptx::wgmma_fence();
#pragma unroll
    for (int k = 0; k < 4; ++k)
      ptx::wgmma_n16_ss<__nv_bfloat16>(scores.value, keys + k * tile::k_major_step,
                                       queries + k * tile::k_major_step, k > 0);
    ptx::wgmma_commit();
  }

  // Turns the scores into P.
  FLASHMLA_DEVICE void exponentiate() {
#pragma unroll
    for (int i = 0; i < own_rows; ++i) {
#pragma unroll
      for (int r = 0; r < 2; ++r)
        scores.at(r, i) = ptx::exp2(fmaf(scores.at(r, i), S::p.scores.scale, -S::max[i]));
      S::sum[i] += scores.at(0, i) + scores.at(1, i);
    }
  }

  // Writes P, multiplied by a number for each own token, as [row][token].
  template <class Number>
  FLASHMLA_DEVICE void write_weights(std::uint32_t target, float first, float second) const {
    const int matrix = S::lane() / tile::matrix_rows;
    std::uint32_t words[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int r = tile::own_row_of_operand(j);
      const int i = 2 * tile::pair_of_operand(j);
      const float number = r == 0 ? first : second;
      words[j] = ptx::pack<Number>(scores.at(r, i) * number, scores.at(r, i + 1) * number);
    }
    ptx::store_matrices_transposed(target + S::matrix_row(matrix, 0), words[0], words[1], words[2],
                                   words[3]);
  }

  // Rounds P to bf16, in which some of the products need it. NOTE: P in fp16 is rounded so finely
  // that the sum of the rounded P need not be known.
  FLASHMLA_DEVICE void round_weights() {
#pragma unroll
    for (int i = 0; i < own_rows; ++i) {
      const float2 rounded =
          ptx::unpack<__nv_bfloat16>(ptx::pack<__nv_bfloat16>(scores.at(0, i), scores.at(1, i)));
      excess_[i] += (rounded.x - scores.at(0, i)) + (rounded.y - scores.at(1, i));
      scores.at(0, i) = rounded.x;
      scores.at(1, i) = rounded.y;
    }
  }

  ops::ScaleUnit unit_;
  float excess_[own_rows];  // Σ (rounded P − P) over the thread's tokens
};

}  // namespace flashmla::sm90::sparse_decode::codes
