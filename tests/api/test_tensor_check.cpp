// Checks of a tensor that the tests of calls do not reach.
#include "api/tensor_check.h"

#include <gtest/gtest.h>

#include <array>

#include "expect_rejected.h"

namespace flashmla::tests {
namespace {

using api::TensorCheck;

TEST(TensorCheck, AcceptsEmptyTensorsWithoutMemory) {
  const TensorView empty(nullptr, DType::fp32, {0, 4});
  EXPECT_NO_THROW(TensorCheck("x", empty).shape({{"n", 0}, {"d", 4}}).contiguous().writable());
}

TEST(TensorCheck, IgnoresStridesOfSizeOneDimensions) {
  std::array<float, 8> values{};
  const TensorView view(values.data(), DType::fp32, {1, 8, 1}, {123, 1, 456});
  EXPECT_NO_THROW(TensorCheck("x", view).contiguous().last_dimension_contiguous().writable());
}

TEST(TensorCheck, TellsOverlapFromPermutation) {
  std::array<float, 24> values{};
  const TensorView permuted(values.data(), DType::fp32, {2, 3, 4}, {4, 8, 1});
  EXPECT_NO_THROW(TensorCheck("x", permuted).writable());
  const TensorView overlapping(values.data(), DType::fp32, {2, 3, 4}, {4, 4, 1});
  expect_rejected([&] { TensorCheck("x", overlapping).writable(); }, "x", "strides [4, 4, 1]");
  const TensorView broadcast(values.data(), DType::fp32, {2, 3, 4}, {0, 4, 1});
  expect_rejected([&] { TensorCheck("x", broadcast).writable(); }, "x", "strides [0, 4, 1]");
}

TEST(TensorCheck, RefusesOffsetsBeyond64Bits) {
  float value = 0;
  const std::int64_t huge = std::int64_t{1} << 61;
  const TensorView sizes(&value, DType::fp32, {huge, 4}, {0, 0});
  expect_rejected([&] { TensorCheck("x", sizes); }, "x", "strides");
  const TensorView strides(&value, DType::fp32, {3, 3}, {huge, 1});
  expect_rejected([&] { TensorCheck("x", strides); }, "x", "strides");
  const TensorView dtype(&value, static_cast<DType>(77), {1});
  expect_rejected([&] { TensorCheck("x", dtype); }, "x", "dtype 77");
}

}  // namespace
}  // namespace flashmla::tests
