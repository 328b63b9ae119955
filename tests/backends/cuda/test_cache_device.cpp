// What only a GPU has: graphs of the cache's functions, caches beyond 2^31 bytes, and their speed.
#include <gtest/gtest.h>

#include <cstdio>
#include <memory>
#include <span>
#include <vector>

#include "support/device/graph.h"
#include "support/device/graph_timer.h"
#include "tests/backends/cuda/cache_case.h"
#include "tests/backends/cuda/gpu_case.h"

namespace flashmla::backends::cuda {
namespace {

using support::cuda_call;

class CudaCacheDevice : public GpuTest {};

// Replays read the slots and rows that are there at the time.
TEST_F(CudaCacheDevice, GraphsFollowTheSlots) {
  for (const KvFormat format : {KvFormat::bf16, KvFormat::v32, KvFormat::v4}) {
    const CacheCase c{.format = format};
    SCOPED_TRACE(c.text());
    support::HostMemory host;
    CacheTensors on_cpu(c, host);
    CacheTensors on_gpu(c, *memory_);
    const auto all = [&](const CacheTensors& tensors, void* stream) {
      for (const CacheCall& call : cache_calls)
        call.run(tensors, format, stream);
    };
    const Stream stream;
    const support::Graph graph([&](cudaStream_t s) { all(on_gpu, s); }, stream.get());
    const support::GraphReplay replay(graph);
    for (std::uint64_t i = 0; i < 10; ++i) {
      for (CacheTensors* tensors : {&on_cpu, &on_gpu}) {
        support::Random random(c.seed + i);
        tensors->draw_slots(random);
        tensors->slot_buffer().upload();
      }
      all(on_cpu, nullptr);
      replay.launch(stream.get());
      cuda_call(cudaStreamSynchronize(stream.get()), "cudaStreamSynchronize");
      for (std::size_t b = 0; b < on_cpu.buffers().size(); ++b)
        ASSERT_TRUE(on_gpu.buffers()[b]->download() == on_cpu.buffers()[b]->download())
            << "replay " << i << ", tensor " << b;
    }
  }
}

// Pages that are 2.7 GB apart hold what close ones hold.
TEST_F(CudaCacheDevice, CachesBeyond2To31Bytes) {
  constexpr std::int64_t far = (std::int64_t{5} << 29) + 48;  // bytes, and elements of FP8 caches
  const std::shared_ptr<std::byte> memory = memory_->allocate(far + (1 << 20));
  for (const KvFormat format : {KvFormat::v32, KvFormat::v4}) {
    const CacheCase c{.format = format, .pages = 2};
    SCOPED_TRACE(c.text());
    support::HostMemory host;
    CacheTensors on_cpu(c, host);
    CacheTensors on_gpu(c, *memory_);
    TensorView cache = on_gpu.cache();
    cache.data = memory.get();
    cache.strides[0] = far;
    const auto expect_same_rows = [&] {
      const std::vector<std::byte> found = on_gpu.row_buffer().download();
      EXPECT_TRUE(found == on_cpu.row_buffer().download());
    };
    quantise(on_cpu.plain(), on_cpu.cache(), format);
    quantise(on_gpu.plain(), cache, format);
    dequantise(on_cpu.cache(), format, on_cpu.plain());
    dequantise(cache, format, on_gpu.plain());
    expect_same_rows();
    append(on_cpu.cache(), format, on_cpu.rows(), on_cpu.slots());
    append(cache, format, on_gpu.rows(), on_gpu.slots());
    gather(on_cpu.cache(), format, on_cpu.slots(), on_cpu.rows());
    gather(cache, format, on_gpu.slots(), on_gpu.rows());
    expect_same_rows();
  }
}

// --- Speed ---

constexpr std::int64_t page_size = 64;
constexpr std::int64_t cache_bytes = 1'500'000'000;
constexpr std::int64_t appended_rows = 131'072;

// A cache of 1.5 GB, the plain rows of all its tokens, and slots in no order.
class LargeCache {
 public:
  LargeCache(KvFormat format, support::Memory& memory)
      : format_(format),
        pages_(cache_bytes / page_size / token_bytes(format, 576)),
        width_(is_plain(format) ? 576 : format_qk_dim(format)),
        device_(memory.device()),
        cache_(memory.allocate(static_cast<std::size_t>(tokens() * token_bytes(format, 576)))),
        rows_(memory.allocate(static_cast<std::size_t>(tokens() * width_ * 2))),
        slots_(memory.allocate(appended_rows * sizeof(std::int32_t))) {
    memory.set_bytes(rows_.get(), std::byte{0x3f}, static_cast<std::size_t>(tokens() * width_ * 2));
    std::vector<std::int32_t> slots(appended_rows);
    for (std::size_t i = 0; i < slots.size(); ++i)
      slots[i] = static_cast<std::int32_t>(static_cast<std::int64_t>(i) * 104'729 % tokens());
    memory.upload(slots_.get(), std::as_bytes(std::span(slots)));
  }

  std::int64_t tokens() const { return pages_ * page_size; }
  std::int64_t bytes_of_token() const { return token_bytes(format_, 576) + width_ * 2; }

  TensorView cache() const {
    return {cache_.get(),
            cache_dtype(format_),
            {pages_, page_size, 1, token_elements(format_, 576)},
            device_};
  }
  TensorView plain() const {
    return {rows_.get(), DType::bf16, {pages_, page_size, 1, width_}, device_};
  }
  TensorView rows() const {
    return {rows_.get(), DType::bf16, {appended_rows, 1, width_}, device_};
  }
  TensorView slots() const { return {slots_.get(), DType::i32, {appended_rows}, device_}; }

 private:
  KvFormat format_;
  std::int64_t pages_;
  std::int64_t width_;  // d_qk
  Device device_;
  std::shared_ptr<std::byte> cache_;
  std::shared_ptr<std::byte> rows_;
  std::shared_ptr<std::byte> slots_;
};

// Bytes a second, read and written.
double rate_of(support::GraphTimer& timer, std::int64_t bytes, const support::Launch& work) {
  return static_cast<double>(bytes) / timer.time(work, 3, 0.3).hot;
}

double copy_rate(support::GraphTimer& timer, support::Memory& memory) {
  const std::shared_ptr<std::byte> from = memory.allocate(cache_bytes);
  const std::shared_ptr<std::byte> to = memory.allocate(cache_bytes);
  return rate_of(timer, 2 * cache_bytes, [&](void* stream) {
    cuda_call(cudaMemcpyAsync(to.get(), from.get(), cache_bytes, cudaMemcpyDeviceToDevice,
                              static_cast<cudaStream_t>(stream)),
              "cudaMemcpyAsync");
  });
}

TEST_F(CudaCacheDevice, MovesAtHalfOfTheCopyRateAndMore) {
  support::GraphTimer timer(*memory_);
  const double copy = copy_rate(timer, *memory_);
  std::printf("copy: %.0f GB/s, read and written\n", copy * 1e-9);
  for (const KvFormat format : {KvFormat::v32, KvFormat::v4, KvFormat::bf16}) {
    const LargeCache c(format, *memory_);
    const std::int64_t some = appended_rows * c.bytes_of_token();
    const std::int64_t all = c.tokens() * c.bytes_of_token();
    const auto expect_fast = [&](const char* call, std::int64_t bytes,
                                 const support::Launch& work) {
      const double rate = rate_of(timer, bytes, work);
      std::printf("%s, %s: %.0f GB/s, %.2f of the copy rate\n", name_of(format).data(), call,
                  rate * 1e-9, rate / copy);
      EXPECT_GT(rate, 0.5 * copy) << call << ", " << name_of(format);
    };
    expect_fast("quantise", all,
                [&](void* stream) { quantise(c.plain(), c.cache(), format, stream); });
    expect_fast("dequantise", all,
                [&](void* stream) { dequantise(c.cache(), format, c.plain(), stream); });
    expect_fast("append of 131,072 rows", some,
                [&](void* stream) { append(c.cache(), format, c.rows(), c.slots(), stream); });
    expect_fast("gather of 131,072 rows", some,
                [&](void* stream) { gather(c.cache(), format, c.slots(), c.rows(), stream); });
  }
}

}  // namespace
}  // namespace flashmla::backends::cuda
