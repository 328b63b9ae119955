// The valuers: Oᵀ += Vᵀ Pᵀ with operands Vᵀ from codes in registers. The scales of V are in P,
// which there is once for each scale of a token. Where the scales of a block do not allow this, V
// is dequantised.
#pragma once

#include "sm90/kernels/sparse_decode/codes/shared_storage.h"
#include "sm90/kernels/sparse_decode/split_consumer.h"
#include "sm90/ops/code_operand.h"

namespace flashmla::sm90::sparse_decode::codes {

template <class Room>
struct CodeValuers : Valuers<Room, CodeValuers<Room>> {
  using S = Valuers<Room, CodeValuers<Room>>;
  using S::out;
  using S::S;
  using S::shared;
  using S::storage;
  using Format = typename Room::Format;
  using Scales = RowScales<Format>;

  FLASHMLA_DEVICE void multiply(int slot) {
    if (storage.plain_codes[slot]) [[likely]]
      multiply_all<__half>(slot);
    else
      multiply_all<__nv_bfloat16>(slot);
  }

 private:
  static constexpr int last = S::v_chunks - 1;  // of the warpgroup's chunks
  static constexpr bool has_rotary_values = Room::Storage::has_rotary_values;
  static constexpr int rotary_form = Room::Storage::rotary_form;

  // NOTE: the operands of a chunk are made while the tensor cores work on the chunk before. The
  // last chunk comes first: where it is the rotary chunk, its product is another one, and no
  // product may be on its way at a branch.
  template <class Number>
  FLASHMLA_DEVICE void multiply_all(int slot) {
#pragma unroll
    for (int chunk = 0; chunk < S::v_chunks; ++chunk)
      out[chunk].pin();
    std::uint32_t operands[2][4][4];
    if (has_rotary_values && place_of(last) >= Format::code_chunks) {
      load_rotary(operands[0]);
      start_product<__nv_bfloat16>(out[last], operands[0], shared.weights(slot, rotary_form));
      ptx::wgmma_wait<0>();
      out[last].pin();
    } else {
      multiply_chunk<Number>(slot, last, operands[0]);
      if constexpr (has_rotary_values) {
        ptx::wgmma_wait<0>();
        out[last].pin();
      }
    }
#pragma unroll
    for (int chunk = 0; chunk < last; ++chunk) {
      multiply_chunk<Number>(slot, chunk, operands[(chunk + 1) % 2]);
      ptx::wgmma_wait<1>();  // the operands of the product before are free
    }
    ptx::wgmma_wait<0>();
#pragma unroll
    for (int chunk = 0; chunk < S::v_chunks; ++chunk)
      out[chunk].pin();
  }

  // The number among all chunks of V.
  FLASHMLA_DEVICE int place_of(int chunk) const { return S::value_group() * S::v_chunks + chunk; }

  // Starts the product of one of the warpgroup's chunks.
  template <class Number>
  FLASHMLA_DEVICE void multiply_chunk(int slot, int chunk, std::uint32_t (&operands)[4][4]) {
    const int place = place_of(chunk);
    const int which = Scales::of_chunk(place);
    std::uint32_t words[8];
    load_words(place, words);
    if constexpr (std::is_same_v<Number, __half>) {
      ops::operands_of_columns(words, operands);
      start_product<__half>(out[chunk], operands, shared.weights(slot, which));
    } else {
      const int token = S::lane() % tile::quad_lanes * 2;
      ops::scaled_operands_of_columns(
          words,
          [&](int i) {
            return float2{Scales::load(shared.scales(S::key_slot(), token + 8 * i), which),
                          Scales::load(shared.scales(S::key_slot(), token + 8 * i + 1), which)};
          },
          operands);
      start_product<__nv_bfloat16>(out[chunk], operands, shared.weights(slot, rotary_form));
    }
  }

  // `weights` is the address of P.
  template <class Number>
  FLASHMLA_DEVICE void start_product(ops::Accumulator<S::rows>& sum,
                                     std::uint32_t (&operands)[4][4], std::uint32_t weights) {
    const std::uint64_t p = attend::uniform_descriptor(tile::k_major(weights));
    ptx::pin_matrix(operands);
    ptx::wgmma_fence();
#pragma unroll
    for (int k = 0; k < 4; ++k)
      ptx::wgmma_n16_rs<Number>(sum.value, operands[k], p + k * tile::k_major_step, 1);
    ptx::wgmma_commit();
  }

  // The codes of the warp's 16 columns of a chunk, of all tokens, as pairs of columns: word i has
  // tokens 8i … 8i + 7.
  FLASHMLA_DEVICE void load_words(int chunk, std::uint32_t (&words)[8]) const {
    const int unit = chunk * 4 + S::warp();
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      std::uint32_t loaded[4];
      ptx::load_matrices_transposed(
          shared.codes(S::key_slot()) + CodeRows<Format>::offset(half * 32 + S::lane(), unit),
          loaded);
#pragma unroll
      for (int i = 0; i < 4; ++i)
        words[half * 4 + i] = loaded[i];
    }
  }

  // The rotary chunk as operands, where it is one of V. Its columns are in order.
  FLASHMLA_DEVICE void load_rotary(std::uint32_t (&operands)[4][4]) const {
    const int matrix = S::lane() / tile::matrix_rows;
#pragma unroll
    for (int k = 0; k < 4; ++k)
      ptx::load_matrices_transposed(
          shared.rotary(S::key_slot()) +
              tile::swizzled(k * 16 + tile::transposed_matrix_row(matrix, S::lane()),
                             S::warp() * 2 + tile::transposed_matrix_unit(matrix)),
          operands[k]);
  }
};

}  // namespace flashmla::sm90::sparse_decode::codes
