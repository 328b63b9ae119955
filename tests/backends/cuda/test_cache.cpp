// append, gather, quantise and dequantise give the same bits on a GPU as on the CPU, in every
// format, and leave everything else as it was.
#include <gtest/gtest.h>

#include "tests/backends/cuda/cache_case.h"
#include "tests/backends/cuda/gpu_case.h"

namespace flashmla::backends::cuda {
namespace {

constexpr KvFormat formats[] = {KvFormat::bf16, KvFormat::fp16, KvFormat::v32, KvFormat::v4};

class CudaCache : public GpuTest {
 protected:
  // Runs a function on both sides and compares all of their memory.
  void expect_same(const CacheCase& c, const CacheCall& call) {
    SCOPED_TRACE(testing::Message() << call.name << ": " << c.text());
    CacheTensors on_cpu(c, host_);
    CacheTensors on_gpu(c, *memory_);
    call.run(on_cpu, c.format, nullptr);
    call.run(on_gpu, c.format, nullptr);
    for (std::size_t i = 0; i < on_cpu.buffers().size(); ++i) {
      const std::vector<std::byte> wanted = on_cpu.buffers()[i]->download();
      const std::vector<std::byte> found = on_gpu.buffers()[i]->download();
      EXPECT_TRUE(found == wanted)
          << "tensor " << i << " differs " << first_difference(found, wanted);
      EXPECT_TRUE(on_gpu.buffers()[i]->guards_unchanged());
    }
  }

  void expect_same(const CacheCase& c) {
    for (const CacheCall& call : cache_calls)
      expect_same(c, call);
  }

  support::HostMemory host_;
};

// Gaps of 48 elements keep pages and rows aligned. Gaps of 8 bytes align a v4 page of an odd size
// no better than to 8 bytes. Odd gaps demand loads of single elements.
TEST_F(CudaCache, HasTheBitsOfTheCpu) {
  for (const KvFormat format : formats)
    for (const std::int64_t page_size : {1, 3, 64})
      for (const auto& [page_gap, row_gap] : {std::pair{0, 0}, {48, 48}, {8, 8}, {3, 0}, {0, 3}})
        for (const DType slot_type : {DType::i32, DType::i64})
          expect_same({.format = format,
                       .pages = 130 / page_size + 3,
                       .page_size = page_size,
                       .page_gap = page_gap,
                       .row_gap = row_gap,
                       .slot_type = slot_type});
}

TEST_F(CudaCache, TakesPlainRowsOfAnyWidth) {
  for (const std::int64_t columns : {1, 7, 41, 512, 776, 2000})
    for (const std::int64_t heads : {1, 3})
      expect_same({.format = KvFormat::bf16,
                   .page_size = 16,
                   .heads = heads,
                   .columns = columns,
                   .row_gap = 8});
}

// More tokens than the warps of a GPU, so that each of them moves several.
TEST_F(CudaCache, MovesManyTokens) {
  for (const KvFormat format : {KvFormat::v32, KvFormat::v4})
    for (const std::int64_t page_size : {7, 64, 5000})
      expect_same({.format = format, .pages = 20000 / page_size, .page_size = page_size});
}

// Every slot is named about 60 times, within a stretch of rows and across stretches. The last row
// stays.
TEST_F(CudaCache, ASlotThatIsNamedOftenGetsItsLastRow) {
  for (const KvFormat format : {KvFormat::v32, KvFormat::v4, KvFormat::bf16})
    for (const DType slot_type : {DType::i32, DType::i64})
      expect_same({.format = format, .rows = 20000, .slot_type = slot_type}, cache_calls[0]);
}

// So many rows that a thread block has several stretches of them.
TEST_F(CudaCache, AppendsMoreRowsThanItLooksAtTogether) {
  for (const std::int64_t page_size : {64, 100'000})
    expect_same({.format = KvFormat::bf16,
                 .pages = 7,
                 .page_size = page_size,
                 .columns = 8,
                 .rows = 1'200'000},
                cache_calls[0]);
}

// A product without a value may be any NaN.
TEST_F(CudaCache, ScalesThatAreNoNumbersGiveNan) {
  for (const KvFormat format : {KvFormat::v32, KvFormat::v4}) {
    const CacheCase c{.format = format, .any_scale = true};
    SCOPED_TRACE(c.text());
    CacheTensors on_cpu(c, host_);
    CacheTensors on_gpu(c, *memory_);
    for (CacheTensors* tensors : {&on_cpu, &on_gpu})
      dequantise(tensors->cache(), format, tensors->plain());
    const std::vector<std::byte> found = on_gpu.row_buffer().download();
    std::int64_t without_value = 0;
    for (std::size_t i = 0; i < found.size(); i += 2) {
      std::uint16_t wanted, got;
      std::memcpy(&wanted, on_cpu.row_buffer().data() + i, 2);
      std::memcpy(&got, found.data() + i, 2);
      const bool nan = std::isnan(support::bf16_to_float(wanted));
      without_value += nan;
      ASSERT_TRUE(nan ? std::isnan(support::bf16_to_float(got)) : got == wanted) << i / 2;
    }
    EXPECT_GT(without_value, 0);
  }
}

TEST_F(CudaCache, ACacheWithoutTokens) {
  for (const KvFormat format : formats)
    for (const auto& [pages, page_size] : {std::pair{0, 64}, {3, 0}, {0, 0}})
      expect_same({.format = format, .pages = pages, .page_size = page_size, .rows = 5});
}

}  // namespace
}  // namespace flashmla::backends::cuda
