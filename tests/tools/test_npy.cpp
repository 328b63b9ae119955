#include "tools/npy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <numeric>

#include "support/random.h"
#include "tests/tools/read_npy.h"

namespace flashmla::tools {
namespace {

using testing::ElementsAre;

std::int64_t product(const std::vector<std::int64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

TEST(Npy, FloatsComeBack) {
  const std::uint64_t seed = support::fresh_seed();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  support::Random random(seed);
  for (int i = 0; i < 50; ++i) {
    std::vector<std::int64_t> shape(static_cast<std::size_t>(random.between(0, 5)));
    for (std::int64_t& size : shape)
      size = random.between(0, 6);
    std::vector<float> values(static_cast<std::size_t>(product(shape)));
    support::fill_normal(values, random.next());
    const tests::NpyArray array = tests::parse_npy(npy_bytes(values, shape));
    EXPECT_EQ(array.shape, shape);
    EXPECT_EQ(array.floats(), values);
  }
}

TEST(Npy, IntegersComeBack) {
  const std::vector<std::int32_t> values{-1, 2147483647, -2147483648, 0, 5, 6};
  const tests::NpyArray array = tests::parse_npy(npy_bytes(values, {3, 2}));
  EXPECT_THAT(array.shape, ElementsAre(3, 2));
  EXPECT_EQ(array.integers(), values);
}

TEST(Npy, RefusesAnotherShape) {
  const std::vector<float> values(6, 1.0f);
  EXPECT_THROW(npy_bytes(values, {5}), std::logic_error);
  EXPECT_THROW(npy_bytes(values, {2, 2}), std::logic_error);
}

TEST(Npy, NumPyReadsIt) {
  if (std::system("python3 -c 'import numpy' >/dev/null 2>&1") != 0)
    GTEST_SKIP() << "no python3 with NumPy here";
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() /
      ("flashmla_npy_" + std::to_string(support::fresh_seed()) + ".npy");
  std::vector<float> values(24);
  std::iota(values.begin(), values.end(), -3.5f);
  std::ofstream(path, std::ios::binary) << npy_bytes(values, {2, 3, 4});
  const std::string script =
      "import numpy, sys; a = numpy.load(sys.argv[1]); "
      "sys.exit(0 if a.dtype == numpy.float32 and "
      "(a == numpy.arange(24).reshape(2, 3, 4) - 3.5).all() else 1)";
  EXPECT_EQ(std::system(("python3 -c '" + script + "' " + path.string()).c_str()), 0);
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace flashmla::tools
