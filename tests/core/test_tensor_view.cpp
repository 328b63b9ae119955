#include "flashmla/tensor_view.h"

#include <gtest/gtest.h>

#include "flashmla/error.h"

namespace flashmla {
namespace {

TEST(TensorView, IsNotGivenByDefault) {
  const TensorView view;
  EXPECT_FALSE(view.given());
  EXPECT_EQ(describe(view), "no tensor");
}

TEST(TensorView, ContiguousStridesAreRowMajor) {
  const TensorView view(nullptr, DType::bf16, {2, 3, 5, 7});
  EXPECT_TRUE(view.given());
  EXPECT_EQ(view.rank, 4);
  EXPECT_EQ(view.element_count(), 2 * 3 * 5 * 7);
  EXPECT_EQ(view.strides[3], 1);
  EXPECT_EQ(view.strides[2], 7);
  EXPECT_EQ(view.strides[1], 35);
  EXPECT_EQ(view.strides[0], 105);
}

TEST(TensorView, SizesBeyond32BitsAreKept) {
  const std::int64_t large = std::int64_t{1} << 33;
  const TensorView view(nullptr, DType::fp16, {large, 3});
  EXPECT_EQ(view.element_count(), 3 * large);
  const TensorView strided(nullptr, DType::fp16, {2, 3}, {large, 1});
  EXPECT_EQ(strided.strides[0], large);
}

TEST(TensorView, StridesAreTakenAsGiven) {
  const TensorView view(nullptr, DType::fp32, {4, 3}, {17, 2});
  EXPECT_EQ(view.shape[0], 4);
  EXPECT_EQ(view.strides[0], 17);
  EXPECT_EQ(view.strides[1], 2);
}

TEST(TensorView, AnEmptyDimensionLeavesNoElements) {
  const TensorView view(nullptr, DType::i32, {4, 0, 3});
  EXPECT_TRUE(view.given());
  EXPECT_EQ(view.element_count(), 0);
}

TEST(TensorView, RejectsRanksThatItCannotHold) {
  EXPECT_THROW(TensorView(nullptr, DType::i32, {1, 1, 1, 1, 1, 1}), Error);
  EXPECT_THROW(TensorView(nullptr, DType::i32, std::initializer_list<std::int64_t>{}), Error);
}

TEST(TensorView, RejectsStridesOfAnotherRank) {
  const std::initializer_list<std::int64_t> shape = {2, 3};
  const std::initializer_list<std::int64_t> strides = {1};
  EXPECT_THROW(TensorView(nullptr, DType::i32, shape, strides), Error);
}

TEST(TensorView, DescribesTypeShapeAndDevice) {
  const TensorView view(nullptr, DType::bf16, {2, 1, 576}, Device{DeviceType::cuda, 3});
  const std::string description = describe(view);
  EXPECT_NE(description.find("bf16[2, 1, 576]"), std::string::npos) << description;
  EXPECT_NE(description.find("cuda:3"), std::string::npos) << description;
}

}  // namespace
}  // namespace flashmla
