// Which scores of a block the mask hides, for every thread that holds some.
#include "sm90/ops/mask.h"

#include <array>
#include <cmath>

#include "tests/sm90/fragments.h"
#include "tests/sm90/on_device.h"

namespace flashmla::sm90::ops {

namespace {

constexpr int threads = 128;
constexpr int registers = 32;

struct Mask {
  std::int32_t seen_first;   // tokens that each thread's first row sees
  std::int32_t seen_second;  // the same of its second row
  float* scores;             // [thread][register]

  FLASHMLA_DEVICE void operator()(int thread) const {
    float own[registers];
    for (int i = 0; i < registers; ++i)
      own[i] = static_cast<float>(i);
    mask_scores(own, thread % 4 * 2, seen_first, seen_second);
    for (int i = 0; i < registers; ++i)
      scores[thread * registers + i] = own[i];
  }
};

class MaskScores : public test::DeviceTest {
 protected:
  static void expect_hidden(std::int32_t seen_first, std::int32_t seen_second) {
    test::Memory<float> memory(threads * registers);
    test::run_threads(threads, Mask{seen_first, seen_second, memory.data()});
    const std::vector<float> scores = memory.read();
    for (int thread = 0; thread < threads; ++thread)
      for (int i = 0; i < registers; ++i) {
        const bool second = test::row_of_d(thread, i) % 16 >= 8;
        const int token = test::column_of_d(thread, i);
        const float score = scores[thread * registers + i];
        ASSERT_EQ(score,
                  token < (second ? seen_second : seen_first) ? static_cast<float>(i) : -HUGE_VALF)
            << "thread " << thread << ", register " << i << ", token " << token << "; seen "
            << seen_first << " and " << seen_second;
      }
  }
};

TEST_F(MaskScores, HidesEveryTokenAtMinusOneAndZero) {
  expect_hidden(-1, -1);
  expect_hidden(0, 0);
}

TEST_F(MaskScores, HidesTheLastTokenAt63AndNoneAt64) {
  expect_hidden(63, 63);
  expect_hidden(64, 64);
  expect_hidden(1 << 30, 1 << 30);
}

TEST_F(MaskScores, TakesTheTwoRowsOfAThreadApart) {
  for (const std::int32_t seen : {-1, 0, 1, 31, 63, 64}) {
    expect_hidden(seen, 64);
    expect_hidden(64, seen);
    expect_hidden(seen, seen + 1);
  }
}

TEST_F(MaskScores, HidesFromEveryTokenOn) {
  for (std::int32_t seen = 0; seen <= 64; ++seen)
    expect_hidden(seen, 64 - seen);
}

}  // namespace

}  // namespace flashmla::sm90::ops
