#include "support/guarded_tensor.h"

#include <limits>
#include <numeric>
#include <utility>

#include "support/numeric.h"
#include "support/random.h"

namespace flashmla::support {

std::int64_t offset_of(const TensorView& view, std::initializer_list<std::int64_t> index) {
  return std::inner_product(index.begin(), index.end(), view.strides.begin(), std::int64_t{0});
}

TensorView strided_view(DType type, std::array<std::int64_t, 4> shape, std::int64_t padding,
                        bool permuted, const Device& device) {
  std::array<std::int64_t, 4> strides{};
  std::int64_t stride = shape[3] + padding;
  strides[3] = 1;
  for (const std::size_t d :
       permuted ? std::array<std::size_t, 3>{1, 2, 0} : std::array<std::size_t, 3>{2, 1, 0}) {
    strides[d] = stride;
    stride = stride * shape[d] + padding;
  }
  return {nullptr,
          type,
          {shape[0], shape[1], shape[2], shape[3]},
          {strides[0], strides[1], strides[2], strides[3]},
          device};
}

GuardedTensor make_tensor(TensorView view, Memory& memory) {
  std::int64_t elements = 1;
  for (int d = 0; d < view.rank; ++d)
    elements += (view.shape[d] - 1) * view.strides[d];
  if (view.element_count() == 0)
    elements = 0;
  GuardedBuffer buffer(memory, static_cast<std::size_t>(elements) * size_of(view.dtype));
  view.data = buffer.data();
  return {view, std::move(buffer)};
}

void poison(DType type, std::span<std::uint16_t> bits) {
  const std::array<std::uint16_t, 4> bf16{0xffff, 0x7f80, 0x7fc0, 0xff80};
  const std::array<std::uint16_t, 4> fp16{0xffff, 0x7c00, 0x7e00, 0xfc00};
  const std::array<std::uint16_t, 4>& pattern = type == DType::fp16 ? fp16 : bf16;
  for (std::size_t i = 0; i < bits.size(); ++i)
    bits[i] = pattern[i % 4];
}

void write_row(DType type, std::uint64_t key, std::span<std::uint16_t> bits,
               const CommonRow& common) {
  std::vector<float> values(bits.size());
  fill_normal(values, key);
  if (common.amount != 0) {
    std::vector<float> shared(bits.size());
    fill_normal(shared, common.key);
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] += common.amount * shared[i];
  }
  encode(type, values, bits);
}

std::vector<float> draw_sinks(std::int64_t heads, std::uint64_t key) {
  std::vector<float> sinks(static_cast<std::size_t>(heads));
  fill_normal(sinks, key);
  Random random(key_of(key, 1));
  constexpr float infinity = std::numeric_limits<float>::infinity();
  for (float& sink : sinks) {
    sink = 4 * sink + 2;
    if (random.chance(0.1))
      sink = random.chance(0.5) ? infinity : -infinity;
  }
  return sinks;
}

}  // namespace flashmla::support
