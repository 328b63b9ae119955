// The fields of a matrix descriptor, as NVIDIA's PTX manual lays them out for wgmma: bits 0 to 13
// the start address, 16 to 29 the leading and 32 to 45 the stride byte offset, all in units of 16
// bytes; bits 49 to 51 the base offset; bits 62 and 63 the swizzle, 1 for 128 bytes.
#include "sm90/tile/gmma_descriptor.h"

#include "tests/sm90/on_device.h"

namespace flashmla::sm90::tile {

namespace {

constexpr std::uint32_t chunk_bytes = 64 * row_bytes;
constexpr std::uint32_t last_address = 227 * 1024;

struct Descriptors {
  const std::uint32_t* addresses;
  std::uint64_t* along;
  std::uint64_t* across;

  FLASHMLA_DEVICE void operator()(int i) const {
    along[i] = k_major(addresses[i]);
    across[i] = transposed(addresses[i], chunk_bytes);
  }
};

struct Fields {
  std::uint64_t start, leading, stride, base, swizzle;

  explicit Fields(std::uint64_t descriptor)
      : start((descriptor & 0x3fff) * 16),
        leading((descriptor >> 16 & 0x3fff) * 16),
        stride((descriptor >> 32 & 0x3fff) * 16),
        base(descriptor >> 49 & 7),
        swizzle(descriptor >> 62) {}
};

class GmmaDescriptor : public test::DeviceTest {
 protected:
  void SetUp() override {
    DeviceTest::SetUp();
    for (std::uint32_t address = 0; address < last_address; address += 1024)
      addresses.push_back(address);
  }

  void make() {
    test::Memory<std::uint32_t> from(addresses);
    test::Memory<std::uint64_t> along_memory(addresses.size());
    test::Memory<std::uint64_t> across_memory(addresses.size());
    test::run_threads(static_cast<int>(addresses.size()),
                      Descriptors{from.data(), along_memory.data(), across_memory.data()});
    along = along_memory.read();
    across = across_memory.read();
  }

  std::vector<std::uint32_t> addresses;
  std::vector<std::uint64_t> along;
  std::vector<std::uint64_t> across;
};

TEST_F(GmmaDescriptor, NamesTheAddressInEveryPartOfSharedMemory) {
  make();
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    ASSERT_EQ(Fields(along[i]).start, addresses[i]);
    ASSERT_EQ(Fields(across[i]).start, addresses[i]);
  }
}

// In a cluster, bits 24 and up of a shared address name the CTA.
TEST_F(GmmaDescriptor, DropsTheNumberOfTheCta) {
  const std::vector<std::uint32_t> plain = addresses;
  make();
  const std::vector<std::uint64_t> plain_along = along;
  const std::vector<std::uint64_t> plain_across = across;
  for (std::uint32_t& address : addresses)
    address |= 3u << 24;
  make();
  EXPECT_EQ(along, plain_along);
  EXPECT_EQ(across, plain_across);
}

TEST_F(GmmaDescriptor, HasTheStridesAndTheSwizzleOfAChunk) {
  make();
  for (std::size_t i = 0; i < addresses.size(); ++i)
    for (const Fields& fields : {Fields(along[i]), Fields(across[i])}) {
      ASSERT_EQ(fields.stride, 1024u);  // of eight rows
      ASSERT_EQ(fields.base, 0u);
      ASSERT_EQ(fields.swizzle, 1u);
    }
  EXPECT_EQ(Fields(across[0]).leading, chunk_bytes);
}

// Sixteen columns are 32 bytes of a row, sixteen rows are 2048 bytes. Only the address moves.
TEST_F(GmmaDescriptor, StepsToTheNextSixteenOfTheSum) {
  make();
  for (std::size_t i = 0; i + 8 < addresses.size(); ++i)
    for (int k = 0; k < 4; ++k) {
      const Fields columns(along[i] + k * k_major_step);
      ASSERT_EQ(columns.start, addresses[i] + k * 32u);
      ASSERT_EQ(columns.leading, Fields(along[i]).leading);
      const Fields rows(across[i] + k * transposed_step);
      ASSERT_EQ(rows.start, addresses[i] + k * 2048u);
      ASSERT_EQ(rows.leading, chunk_bytes);
    }
}

}  // namespace

}  // namespace flashmla::sm90::tile
