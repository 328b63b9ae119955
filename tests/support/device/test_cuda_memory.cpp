// GPU memory has the same functions as host memory.
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "support/random.h"
#include "tests/support/device/gpu_test.h"

namespace flashmla::support {
namespace {

class CudaMemoryTest : public GpuTest {
 protected:
  std::vector<std::byte> rows_in(Memory& memory, DType type, std::int64_t columns,
                                 const std::vector<std::uint64_t>& keys) {
    const std::size_t bytes = keys.size() * static_cast<std::size_t>(columns) * size_of(type);
    const auto there = memory.allocate(keys.size() * sizeof(std::uint64_t));
    const auto to = memory.allocate(bytes);
    memory.upload(there.get(), std::as_bytes(std::span(keys)));
    memory.fill_rows(to.get(), type, columns, reinterpret_cast<const std::uint64_t*>(there.get()),
                     std::ssize(keys));
    std::vector<std::byte> rows(bytes);
    memory.download(rows, to.get());
    return rows;
  }
};

TEST_F(CudaMemoryTest, FillsRowsWithTheSameBits) {
  const std::uint64_t seed = fresh_seed();
  SCOPED_TRACE(seed);
  std::vector<std::uint64_t> keys(3000);
  for (std::size_t i = 0; i < keys.size(); ++i)
    keys[i] = key_of(seed, i);
  HostMemory host;
  for (const DType type : {DType::bf16, DType::fp16})
    for (const std::int64_t columns : {1, 512, 576})
      EXPECT_EQ(rows_in(*memory_, type, columns, keys), rows_in(host, type, columns, keys))
          << name_of(type) << " " << columns;
}

TEST_F(CudaMemoryTest, SetsBytes) {
  const auto data = memory_->allocate(1000);
  memory_->set_bytes(data.get(), std::byte{0x5a}, 1000);
  std::vector<std::byte> now(1000);
  memory_->download(now, data.get());
  EXPECT_EQ(now, std::vector<std::byte>(1000, std::byte{0x5a}));
}

TEST_F(CudaMemoryTest, TheStopwatchAddsItsPieces) {
  constexpr std::size_t bytes = std::size_t{1} << 30;
  const auto data = memory_->allocate(bytes);
  const auto watch = memory_->stopwatch();
  const auto piece = [&] {
    watch->start();
    memory_->set_bytes(data.get(), std::byte{1}, bytes);
    watch->stop();
  };
  piece();
  watch->seconds();
  piece();
  const double one = watch->seconds();
  EXPECT_GT(one, 1e-4) << "1 GiB at less than 10 TB/s";
  piece();
  piece();
  piece();
  EXPECT_NEAR(watch->seconds() / one, 3, 1);
  EXPECT_EQ(watch->seconds(), 0);
}

}  // namespace
}  // namespace flashmla::support
