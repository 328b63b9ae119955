// Bad contents of device memory, which no check reads. Nothing outside the buffers is read or
// written, the other requests are right, and the status word names the first bad request.
#include <limits>
#include <vector>

#include "flashmla/error.h"
#include "support/random.h"
#include "tests/backends/cuda/gpu_case.h"

namespace flashmla::backends::cuda {
namespace {

class HostileContents : public GpuTest {};

support::DenseCase hostile_case(std::int64_t heads, std::int64_t page_size) {
  support::DenseCase dense_case;
  dense_case.seed = support::fresh_seed();
  dense_case.query_heads = heads;
  dense_case.page_size = page_size;
  dense_case.lengths = {700, 650, 300};
  return dense_case;
}

constexpr std::int32_t bad_numbers[] = {-1, std::numeric_limits<std::int32_t>::min(),
                                        std::numeric_limits<std::int32_t>::max(), 1 << 20};

TEST_F(HostileContents, Lengths) {
  for (const std::int64_t heads : {16, 64, 128})
    for (const std::int32_t bad : bad_numbers) {
      GpuCase c(hostile_case(heads, 64), *memory_);
      SCOPED_TRACE(describe(c.tensors.dense_case));
      c.tensors.lengths.buffer.image_as<std::int32_t>()[1] = bad;
      c.tensors.lengths.buffer.upload();
      c.schedule(c.tensors.lengths.view);
      EXPECT_EQ(c.plan.status(), 2);
      c.run();
      c.results();
      EXPECT_TRUE(c.tensors.out.buffer.guards_unchanged());
      EXPECT_TRUE(c.run_workspace.guards_unchanged());
      EXPECT_TRUE(c.plan_workspace.guards_unchanged());
    }
}

TEST_F(HostileContents, PageNumbers) {
  for (const std::int64_t heads : {16, 64, 128})
    for (const std::int64_t page_size : {1, 16, 64, 256})
      for (const std::int32_t bad : bad_numbers) {
        GpuCase c(hostile_case(heads, page_size), *memory_);
        SCOPED_TRACE(describe(c.tensors.dense_case));
        const std::int64_t page = 600 / page_size;
        c.tensors.block_table.buffer.image_as<std::int32_t>()[static_cast<std::size_t>(
            support::offset_of(c.tensors.block_table.view, {1, page}))] = bad;
        c.tensors.block_table.buffer.upload();
        c.schedule(c.tensors.lengths.view);
        c.run();
        c.results();
        EXPECT_EQ(c.plan.status(), 2);
        EXPECT_TRUE(c.tensors.kv_cache.buffer.unchanged());
      }
}

// A block table that is too narrow for lengths on the device. The lengths are clamped to it, and
// the status word names the first such request. Where no length is too long, nothing is reported.
TEST_F(HostileContents, NarrowTable) {
  for (const std::int64_t heads : {16, 64, 128}) {
    support::DenseCase dense_case = hostile_case(heads, 64);
    dense_case.lengths = {100, 650, 300};
    GpuCase c(dense_case, *memory_);
    SCOPED_TRACE(describe(dense_case));
    const auto run_with_pages = [&](std::int64_t pages) {
      Inputs inputs = c.tensors.inputs();
      inputs.block_table.shape[1] = pages;
      c.schedule(c.tensors.lengths.view);
      flashmla::run(c.plan, inputs, c.tensors.outputs(),
                    {c.run_workspace.data(), c.run_workspace.bytes()});
      c.results();
      EXPECT_TRUE(c.tensors.out.buffer.guards_unchanged());
      EXPECT_TRUE(c.tensors.kv_cache.buffer.unchanged());
      return c.plan.status();
    };
    EXPECT_EQ(run_with_pages(11), 0);
    EXPECT_EQ(run_with_pages(10), 2);
    EXPECT_EQ(run_with_pages(2), 2);
    EXPECT_EQ(run_with_pages(1), 1);
    EXPECT_EQ(run_with_pages(0), 1);
  }
}

// Where the host knows the lengths, such a table is an error at every call.
TEST_F(HostileContents, NarrowTableForLengthsOfTheHost) {
  GpuCase c(hostile_case(128, 64), *memory_);
  std::vector<std::int32_t>& lengths = c.tensors.dense_case.lengths;
  c.schedule({lengths.data(), DType::i32, {std::ssize(lengths)}});
  Inputs inputs = c.tensors.inputs();
  inputs.block_table.shape[1] = 10;
  for (int i = 0; i < 2; ++i)
    try {
      flashmla::run(c.plan, inputs, c.tensors.outputs(),
                    {c.run_workspace.data(), c.run_workspace.bytes()});
      ADD_FAILURE() << "a table of 10 pages for 700 tokens was taken";
    } catch (const Error& error) {
      EXPECT_EQ(error.argument(), "block_table") << error.what();
    }
  EXPECT_EQ(c.plan.status(), 0);
}

}  // namespace
}  // namespace flashmla::backends::cuda
