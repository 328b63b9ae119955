// Tensor maps are kept. A caller must always get the map of its own shape.
#include <atomic>
#include <cstring>
#include <thread>

#include "gpu/tensor_map.h"
#include "tests/backends/cuda/gpu_case.h"

namespace flashmla::backends::cuda {

namespace {

using gpu::make_tensor_map;
using gpu::TensorMapShape;

class TensorMap : public GpuTest {
 protected:
  // Changes every field of a shape in turn.
  static std::vector<TensorMapShape> shapes(void* data) {
    const TensorMapShape first{.data = data,
                               .type = DType::bf16,
                               .size = {64, 64, 9, 1, 100},
                               .stride_bytes = {1152, 128, 1152, 64 * 1152},
                               .box = {64, 32, 1, 1, 1}};
    std::vector<TensorMapShape> all(7, first);
    all[1].data = static_cast<std::byte*>(data) + 1152;
    all[2].type = DType::fp16;
    all[3].size[4] = 99;
    all[4].size[1] = 128;
    all[5].stride_bytes[3] = 65 * 1152;
    all[6].box[1] = 64;
    return all;
  }
};

bool same(const CUtensorMap& a, const CUtensorMap& b) {
  return std::memcmp(&a, &b, sizeof a) == 0;
}

TEST_F(TensorMap, IsThatOfItsShape) {
  const auto data = memory_->allocate(std::size_t{128} * 1152 * 101);
  std::vector<CUtensorMap> maps;
  for (const TensorMapShape& shape : shapes(data.get()))
    maps.push_back(make_tensor_map(shape));
  for (std::size_t i = 0; i < maps.size(); ++i)
    for (std::size_t j = 0; j < i; ++j)
      EXPECT_FALSE(same(maps[i], maps[j])) << i << " and " << j;
  std::size_t i = 0;
  for (const TensorMapShape& shape : shapes(data.get()))
    EXPECT_TRUE(same(make_tensor_map(shape), maps[i++]));
}

TEST_F(TensorMap, OfSeveralThreadsAtOnce) {
  const auto data = memory_->allocate(std::size_t{128} * 1152 * 101);
  const std::vector<TensorMapShape> wanted = shapes(data.get());
  std::vector<CUtensorMap> maps;
  for (const TensorMapShape& shape : wanted)
    maps.push_back(make_tensor_map(shape));
  std::atomic<int> wrong = 0;
  {
    std::vector<std::jthread> threads;
    for (std::size_t t = 0; t < 4; ++t)
      threads.emplace_back([&, t] {
        for (std::size_t i = 0; i < 20000; ++i)
          wrong += !same(make_tensor_map(wanted[(i + t) % wanted.size()]),
                         maps[(i + t) % wanted.size()]);
      });
  }
  EXPECT_EQ(wrong, 0);
}

}  // namespace

}  // namespace flashmla::backends::cuda
