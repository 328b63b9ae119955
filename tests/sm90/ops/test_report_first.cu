// The status word that many threads may write: the first of all reported requests stays.
#include "sm90/ops/report_first.h"

#include "tests/sm90/on_device.h"

namespace flashmla::sm90::ops {

namespace {

using test::Memory;

// What the threads take the status for: nothing, what it is, or something wrong.
enum class Seen { nothing, present, wrong };

// Thread i reports request `first` + (i · 7919 mod threads).
struct Report {
  std::int32_t* status;
  std::int32_t first;
  std::int32_t threads;
  Seen seen;

  FLASHMLA_DEVICE void operator()(int thread) const {
    const std::int32_t request = first + thread * 7919 % threads;
    if (seen == Seen::nothing)
      report_first(status, request);
    else if (seen == Seen::present)
      report_first(status, request, *static_cast<volatile std::int32_t*>(status));
    else
      report_first(status, request, request + 2 + thread % 3);
  }
};

class ReportFirst : public test::DeviceTest {
 protected:
  static std::int32_t status_after(std::int32_t before, std::int32_t first, std::int32_t threads,
                                   Seen seen) {
    Memory<std::int32_t> status(std::vector<std::int32_t>{before});
    test::run_threads(threads, Report{status.data(), first, threads, seen});
    return status.read()[0];
  }
};

TEST_F(ReportFirst, KeepsTheFirstOfManyRequests) {
  for (const Seen seen : {Seen::nothing, Seen::present, Seen::wrong}) {
    EXPECT_EQ(status_after(0, 0, 10000, seen), 1);
    EXPECT_EQ(status_after(0, 500, 10000, seen), 501);
    EXPECT_EQ(status_after(0, 7, 1, seen), 8);
  }
}

TEST_F(ReportFirst, LeavesAnEarlierRequestAlone) {
  for (const Seen seen : {Seen::nothing, Seen::present, Seen::wrong}) {
    EXPECT_EQ(status_after(5, 100, 1000, seen), 5);
    EXPECT_EQ(status_after(101, 100, 1000, seen), 101);
    EXPECT_EQ(status_after(102, 100, 1000, seen), 101);
  }
}

}  // namespace

}  // namespace flashmla::sm90::ops
