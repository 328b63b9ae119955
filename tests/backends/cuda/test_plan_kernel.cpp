// The plan kernel makes the same schedule as one thread of the host.
#include <cuda_runtime_api.h>

#include <limits>
#include <span>

#include "sm90/kernels/plan/launch.h"
#include "tests/backends/cuda/gpu_case.h"
#include "tests/schedule/drawn_batch.h"

namespace flashmla::backends::cuda {

namespace {

using schedule::Batch;
using schedule::Schedule;

class PlanKernel : public GpuTest {
 protected:
  // The schedule that the kernel makes of lengths on the device, which are at most `max_tokens`.
  // Its memory is filled with other numbers before.
  Schedule made_on_device(const Batch& batch, std::int32_t max_tokens) {
    const schedule::PlanLayout layout(batch.params);
    const std::vector<std::byte> noise(layout.bytes, std::byte{0x5a});
    const auto workspace = memory_->allocate(layout.bytes);
    memory_->upload(workspace.get(), noise);
    const auto lengths = std::as_bytes(std::span(batch.lengths));
    const auto given = memory_->allocate(lengths.size() + 1);
    memory_->upload(given.get(), lengths);
    const schedule::PlanMemory memory(layout, workspace.get());
    sm90::plan::launch_schedule(batch.params, memory,
                                reinterpret_cast<const std::int32_t*>(given.get()), max_tokens,
                                nullptr);
    memory_->wait();
    Schedule schedule = schedule::blank_schedule(batch.params);
    download(schedule.work, memory.work);
    download(schedule.split_offset, memory.split_offset);
    download(schedule.split_list, memory.split_list);
    return schedule;
  }

  // With 64-bit nanoseconds, and with 32-bit ones where they are enough.
  void expect_schedule_of_one_thread(const Batch& batch) {
    const Schedule wanted = schedule::make_schedule(batch);
    ASSERT_TRUE(made_on_device(batch, std::numeric_limits<std::int32_t>::max()) == wanted);
    ASSERT_TRUE(made_on_device(batch, batch.longest()) == wanted);
    fit_32_bits_ += schedule::line_fits_32_bits(batch.params, batch.longest()) ? 1 : 0;
  }

  // The kernel has a constant for `block_tokens`, and the number of workers is limited on a GPU.
  static Batch draw(std::uint64_t seed) {
    Batch batch = schedule::draw_batch(seed, seed % 3 == 0);
    batch.params.block_tokens = 64;
    batch.params.workers = std::min(batch.params.workers, schedule::max_combined_workers);
    schedule::WorkerSpeeds& speeds = batch.params.speeds;
    speeds.fast_workers = std::min(speeds.fast_workers, batch.params.workers);
    return batch;
  }

  int fit_32_bits_ = 0;  // number of such batches

 private:
  template <class T>
  void download(std::vector<T>& to, const T* from) {
    support::cuda_call(cudaMemcpy(to.data(), from, to.size() * sizeof(T), cudaMemcpyDeviceToHost),
                       "cudaMemcpy");
  }
};

TEST_F(PlanKernel, MakesTheScheduleOfOneThread) {
  const std::uint64_t seed = support::fresh_seed();
  for (std::uint64_t i = 0; i < 600; ++i) {
    const Batch batch = draw(seed + i);
    SCOPED_TRACE(testing::Message() << "seed " << seed + i << ": " << batch);
    ASSERT_NO_FATAL_FAILURE(expect_schedule_of_one_thread(batch));
  }
  EXPECT_GT(fit_32_bits_, 200);
}

// Numbers of requests around the number of threads, and far above it.
TEST_F(PlanKernel, TakesThousandsOfRequests) {
  const std::uint64_t seed = support::fresh_seed();
  support::Random random(seed);
  for (const std::int32_t requests : {991, 992, 1022, 1023, 1024, 1025, 2048, 5000, 131072})
    for (const bool batch_invariant : {false, true}) {
      Batch batch = draw(seed + requests);
      batch.params.batch_invariant = batch_invariant;
      if (batch_invariant)
        batch.params.speeds = {};
      batch.params.requests = requests;
      batch.lengths.resize(requests);
      for (const std::int32_t max_length : {3000, 100000}) {
        for (std::int32_t& length : batch.lengths)
          length = static_cast<std::int32_t>(random.log_between(1, max_length));
        SCOPED_TRACE(testing::Message() << "seed " << seed << ", " << requests << " requests");
        ASSERT_NO_FATAL_FAILURE(expect_schedule_of_one_thread(batch));
      }
    }
  EXPECT_GT(fit_32_bits_, 4);
}

}  // namespace

}  // namespace flashmla::backends::cuda
