#include "tools/bench/random_cache.h"

#include <algorithm>
#include <span>
#include <vector>

#include "support/numeric.h"
#include "support/parallel.h"
#include "support/random.h"

namespace flashmla::tools {

std::shared_ptr<std::byte> random_rows(support::Memory& memory, DType type, std::int64_t rows,
                                       std::int64_t columns, std::uint64_t key) {
  constexpr std::int64_t keys_of_a_task = 4096;
  std::vector<std::uint64_t> keys(static_cast<std::size_t>(rows));
  support::parallel_for(rows / keys_of_a_task + 1, [&](std::int64_t task) {
    const std::int64_t end = std::min(rows, (task + 1) * keys_of_a_task);
    for (std::int64_t i = task * keys_of_a_task; i < end; ++i)
      keys[i] = support::key_of(key, i);
  });
  const auto bytes = std::as_bytes(std::span(keys));
  const auto device_keys = memory.allocate(bytes.size() + 1);
  memory.upload(device_keys.get(), bytes);
  auto data = memory.allocate(static_cast<std::size_t>(rows * columns) * size_of(type) + 1);
  memory.fill_rows(data.get(), type, columns,
                   reinterpret_cast<const std::uint64_t*>(device_keys.get()), rows);
  memory.wait();
  return data;
}

std::shared_ptr<std::byte> random_fp8_cache(support::Memory& memory, KvFormat format,
                                            const CachePages& pages, support::ScaleRule rule,
                                            std::uint64_t key) {
  constexpr std::int64_t made_tokens = 16384;
  const std::int64_t made =
      std::min(pages.count, (made_tokens + pages.page_size - 1) / pages.page_size);
  std::vector<std::byte> image(static_cast<std::size_t>(made * pages.page_bytes));
  support::parallel_for(made * pages.page_size, [&](std::int64_t token) {
    std::vector<float> numbers(static_cast<std::size_t>(format_qk_dim(format)));
    std::vector<std::uint16_t> row(numbers.size());
    support::fill_normal(numbers, support::key_of(key, token));
    support::encode(DType::bf16, numbers, row);
    store_token(format, quantise_token(format, row, rule), token % pages.page_size, pages.page_size,
                image.data() + token / pages.page_size * pages.page_bytes);
  });
  auto cache = memory.allocate(pages.bytes());
  for (std::int64_t page = 0; page < pages.count; page += made) {
    const std::int64_t count = std::min(made, pages.count - page);
    memory.upload(cache.get() + page * pages.page_bytes,
                  std::span(image).first(static_cast<std::size_t>(count * pages.page_bytes)));
  }
  return cache;
}

}  // namespace flashmla::tools
