#include "backends/cpu/cpu_backend.h"

#include <gtest/gtest.h>

#include "backends/cpu/row_tiles.h"
#include "backends/cpu/thread_pool.h"

namespace flashmla::backends::cpu {
namespace {

Problem small_problem() {
  Problem problem;
  problem.batch = 2;
  problem.query_heads = 16;
  problem.max_pages = 4;
  return problem;
}

TEST(CpuBackend, NamesItsDevice) {
  set_threads(3);
  ASSERT_EQ(cpu_backend().devices().size(), 1u);
  const std::string device = cpu_backend().devices()[0];
  EXPECT_EQ(device.find("cpu:0, 3 threads, "), 0u) << device;
  EXPECT_FALSE(cpu_backend().unavailable().has_value());
  set_threads(0);
}

TEST(CpuBackend, ServesEveryKindAndRefusesTheRestWithAReason) {
  for (const AttentionKind kind :
       {AttentionKind::dense_decode, AttentionKind::sparse_decode, AttentionKind::sparse_prefill}) {
    Problem problem = small_problem();
    problem.kind = kind;
    EXPECT_FALSE(cpu_backend().refuses(problem).has_value());
  }
  const auto refused = [](auto change) {
    Problem problem = small_problem();
    change(problem);
    const auto reason = cpu_backend().refuses(problem);
    return reason.has_value() && !reason->empty();
  };
  EXPECT_TRUE(refused([](Problem& p) { p.kv_format = KvFormat::v32; }));
  EXPECT_TRUE(refused([](Problem& p) { p.kv_format = KvFormat::v4; }));
  EXPECT_TRUE(refused([](Problem& p) { p.ragged_queries = true; }));
  EXPECT_TRUE(refused([](Problem& p) { p.scaled_cache = true; }));
  EXPECT_TRUE(refused([](Problem& p) { p.device.index = 1; }));
}

TEST(CpuBackend, TheScheduleDoesNotDependOnThreads) {
  const Problem problem = small_problem();
  set_threads(1);
  const std::int32_t workers = cpu_backend().decide(problem)->params.workers;
  set_threads(7);
  EXPECT_EQ(cpu_backend().decide(problem)->params.workers, workers);
  set_threads(0);
}

TEST(CpuBackend, TheWorkerLimitIsRespected) {
  Problem problem = small_problem();
  for (const std::int32_t limit : {1, 2, 50}) {
    problem.max_workers = limit;
    EXPECT_LE(cpu_backend().decide(problem)->params.workers, limit);
  }
}

TEST(CpuBackend, ManyQueryTokensNeedNoPartialResults) {
  Problem problem = small_problem();
  problem.query_tokens = 131072;
  problem.query_heads = 128;
  problem.max_pages = 4096;
  for (const bool invariant : {false, true}) {
    problem.batch_invariant = invariant;
    EXPECT_EQ(cpu_backend().decide(problem)->partials.bytes(), 0u);
  }
}

TEST(RowTilesTest, CoverEveryRowOnce) {
  for (const std::int64_t kv_heads : {1, 2, 3})
    for (const std::int64_t group : {1, 5, 64, 65, 80, 128})
      for (const std::int64_t tokens : {1, 2, 63, 131}) {
        Problem problem = small_problem();
        problem.kv_heads = kv_heads;
        problem.query_heads = kv_heads * group;
        problem.query_tokens = tokens;
        const RowTiles tiles(problem);
        std::vector<int> covered(static_cast<std::size_t>(kv_heads * group * tokens));
        for (std::int64_t index = 0; index < tiles.total; ++index) {
          const RowTile tile(tiles, index);
          ASSERT_LE(tile.rows, max_tile_rows);
          for (std::int32_t row = 0; row < tile.rows; ++row)
            ++covered[tile.kv_head * tiles.rows + tile.first_row + row];
        }
        for (const int count : covered)
          ASSERT_EQ(count, 1) << kv_heads << " " << group << " " << tokens;
      }
}

}  // namespace
}  // namespace flashmla::backends::cpu
