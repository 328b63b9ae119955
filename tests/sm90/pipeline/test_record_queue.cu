// Records on their way from one warp to all others: every reader gets every record, in order.
#include "sm90/pipeline/record_queue.h"

#include "tests/sm90/on_device.h"
#include "tests/sm90/phase.h"

namespace flashmla::sm90::pipeline {

namespace {

using test::Memory;

struct Record {
  int number;  // −1: the end
  int square;

  FLASHMLA_DEVICE bool is_end() const { return number < 0; }
};

constexpr int records = 11;
constexpr int copiers = 2;  // warps
constexpr int threads = (2 + copiers) * 32;

struct Storage {
  RecordQueue<Record> queue;
  RingBarriers<1> work;  // what the holder gives back
};

// Warp 0 publishes, warp 1 holds records while it works, the others copy them. `late`: the role
// that is slow.
enum class Late { publisher, holder, copiers };

struct PassRecords {
  Late late;
  int*
      got;  // [1 + copiers][records + 1]: the square of each record's number and how many there are

  FLASHMLA_DEVICE void operator()(const test::Shared& shared) const {
    auto& storage = *reinterpret_cast<Storage*>(shared.bytes);
    const auto at_storage = static_cast<std::uint32_t>(shared.address);
    const Ring<1> work{{at_storage + static_cast<std::uint32_t>(offsetof(Storage, work))}};
    if (threadIdx.x == 0) {
      storage.queue.initialise(copiers * 32);
      work.initialise(32, 32);
      ptx::fence_mbarrier_init();
    }
    __syncthreads();
    const int warp = static_cast<int>(threadIdx.x) / 32;
    if (warp == 0)
      publish(storage.queue, work);
    else if (warp == 1)
      hold(storage.queue, work);
    else
      copy(storage.queue, got + (warp - 1) * (records + 1));
  }

 private:
  // As the library's publisher does: the work of a record begins when the one before is given back.
  FLASHMLA_DEVICE void publish(RecordQueue<Record>& queue, const Ring<1>& work) const {
    for (UseCount n; n.count < records; n.advance()) {
      if (late == Late::publisher)
        test::idle(5000);
      const int number = static_cast<int>(n.count);
      queue.publish(n, {number, number * number});
      work.acquire(n);
      work.commit(n);
    }
    queue.publish({records}, {-1, 0});
  }

  FLASHMLA_DEVICE void hold(RecordQueue<Record>& queue, const Ring<1>& work) const {
    int count = 0;
    for (UseCount n;; n.advance(), ++count) {
      const Record& record = queue.wait(n);
      if (record.is_end())
        break;
      work.wait(n);
      if (late == Late::holder)
        test::idle(5000);
      // NOTE: read after the work, when a record that was not held would have been overwritten.
      if (threadIdx.x % 32 == 0)
        got[count] = static_cast<const volatile Record&>(record).square;
      work.release(n);
    }
    if (threadIdx.x % 32 == 0)
      got[records] = count;
  }

  FLASHMLA_DEVICE void copy(RecordQueue<Record>& queue, int* target) const {
    int count = 0;
    queue.for_each([&](const Record& record) {
      if (late == Late::copiers)
        test::idle(5000);
      if (threadIdx.x % 32 == 31)
        target[count] = record.square;
      ++count;
    });
    if (threadIdx.x % 32 == 31)
      target[records] = count;
  }
};

class RecordQueueTest : public test::DeviceTest {
 protected:
  static void expect_passed(Late late) {
    Memory<int> got((1 + copiers) * (records + 1));
    test::run_blocks({.threads = threads, .shared_bytes = sizeof(Storage)},
                     PassRecords{late, got.data()});
    const std::vector<int> there = got.read();
    for (int reader = 0; reader < 1 + copiers; ++reader) {
      for (int i = 0; i < records; ++i)
        EXPECT_EQ(there[reader * (records + 1) + i], i * i)
            << "reader " << reader << ", record " << i;
      EXPECT_EQ(there[reader * (records + 1) + records], records) << "reader " << reader;
    }
  }
};

TEST_F(RecordQueueTest, GivesEveryReaderEveryRecord) {
  expect_passed(Late::publisher);
}

TEST_F(RecordQueueTest, KeepsARecordThatIsHeld) {
  expect_passed(Late::holder);
}

TEST_F(RecordQueueTest, WaitsForTheCopiers) {
  expect_passed(Late::copiers);
}

}  // namespace

}  // namespace flashmla::sm90::pipeline
