#include "support/memory.h"

#include <gtest/gtest.h>

#include <cstdint>

#include "support/guarded_tensor.h"

namespace flashmla::support {
namespace {

TEST(GuardedBuffer, StartsAsNanBytesAndIsAligned) {
  HostMemory memory;
  GuardedBuffer buffer(memory, 100);
  buffer.upload();
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % workspace_alignment, 0u);
  EXPECT_EQ(buffer.bytes(), 100u);
  for (const std::byte byte : buffer.download())
    ASSERT_EQ(byte, std::byte{0xff});
  EXPECT_TRUE(buffer.unchanged());
}

TEST(GuardedBuffer, UploadsItsImage) {
  HostMemory memory;
  GuardedBuffer buffer(memory, 12);
  buffer.image_as<std::int32_t>()[2] = 77;
  buffer.upload();
  EXPECT_EQ(reinterpret_cast<const std::int32_t*>(buffer.data())[2], 77);
  EXPECT_TRUE(buffer.unchanged());
}

TEST(GuardedBuffer, SeesEveryByteThatChanges) {
  HostMemory memory;
  constexpr std::ptrdiff_t guard = GuardedBuffer::guard_bytes;
  for (std::ptrdiff_t i = -guard; i < 40 + guard; ++i) {
    GuardedBuffer buffer(memory, 40);
    buffer.upload();
    buffer.data()[i] = std::byte{0};
    ASSERT_FALSE(buffer.unchanged()) << i;
    ASSERT_EQ(buffer.guards_unchanged(), i >= 0 && i < 40) << i;
  }
}

TEST(HostMemory, FillsRowsByTheirKeys) {
  HostMemory memory;
  std::vector<std::uint64_t> keys(200);
  for (std::size_t i = 0; i < keys.size(); ++i)
    keys[i] = 1000 + 7 * i;
  for (const DType type : {DType::bf16, DType::fp16}) {
    std::vector<std::uint16_t> rows(keys.size() * 5);
    memory.fill_rows(reinterpret_cast<std::byte*>(rows.data()), type, 5, keys.data(), 200);
    for (std::size_t i = 0; i < keys.size(); ++i) {
      std::vector<std::uint16_t> row(5);
      write_row(type, keys[i], row);
      ASSERT_TRUE(std::equal(row.begin(), row.end(), rows.begin() + 5 * i)) << i;
    }
  }
}

TEST(HostStopwatch, AddsItsPiecesOnce) {
  HostStopwatch watch;
  watch.start();
  watch.stop();
  watch.start();
  watch.stop();
  EXPECT_GE(watch.seconds(), 0);
  EXPECT_EQ(watch.seconds(), 0);
}

}  // namespace
}  // namespace flashmla::support
