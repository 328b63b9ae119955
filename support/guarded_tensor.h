// Tensors in guarded memory, and what fills them: random rows, poison, sinks.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <vector>

#include "flashmla/tensor_view.h"
#include "support/memory.h"

namespace flashmla::support {

struct GuardedTensor {
  TensorView view;
  GuardedBuffer buffer;
};

// The offset, in elements, of an index into a tensor.
std::int64_t offset_of(const TensorView& view, std::initializer_list<std::int64_t> index);

// Allocates the memory of a view that has none yet.
GuardedTensor make_tensor(TensorView view, Memory& memory);

// A rank-4 tensor whose last dimension is contiguous; `padding` is in elements, added to the stride
// of every other dimension. `permuted` swaps the places of the two middle dimensions in memory.
TensorView strided_view(DType type, std::array<std::int64_t, 4> shape, std::int64_t padding,
                        bool permuted, const Device& device);

// Fills `bits` with NaN and both infinities in turn.
void poison(DType type, std::span<std::uint16_t> bits);

// A row that is part of each of many rows, times `amount`.
struct CommonRow {
  float amount = 0;
  std::uint64_t key = 0;
};

// Fills a row with random numbers of unit scale.
void write_row(DType type, std::uint64_t key, std::span<std::uint16_t> bits,
               const CommonRow& common = {});

// Draws sinks: some hardly matter, others outweigh thousands of tokens, and some are infinite.
std::vector<float> draw_sinks(std::int64_t heads, std::uint64_t key);

}  // namespace flashmla::support
