// Takes any bytes as an FP8 cache. Reading them, and writing rows to them, gives the same bits as
// the independent codec of support/.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "flashmla/backends.h"
#include "flashmla/kv_cache.h"
#include "support/fp8.h"
#include "support/numeric.h"
#include "tests/fuzz/byte_source.h"
#include "tests/fuzz/demand.h"

namespace flashmla::fuzz {
namespace {

bool same(std::uint16_t a, std::uint16_t b) {
  return a == b || (std::isnan(support::bf16_to_float(a)) && std::isnan(support::bf16_to_float(b)));
}

struct Cache {
  KvFormat format;
  std::int64_t page;
  std::int64_t blocks;
  std::int64_t gap;  // between pages
  std::vector<std::byte> bytes;

  std::int64_t token() const { return token_bytes(format, 0); }
  std::int64_t stride() const { return page * token() + gap; }
  std::int64_t capacity() const { return page * blocks; }
  std::int64_t dim() const { return format_qk_dim(format); }
  TensorView view() {
    return {bytes.data(), DType::u8, {blocks, page, 1, token()}, {stride(), token(), token(), 1}};
  }
  std::byte* page_of(std::int64_t slot) { return bytes.data() + slot / page * stride(); }
};

void check_reading(Cache& cache, std::vector<std::int32_t>& slots) {
  const auto count = static_cast<std::int64_t>(slots.size());
  std::vector<std::uint16_t> rows(static_cast<std::size_t>(count * cache.dim()), 0x7fff);
  gather(cache.view(), cache.format, {slots.data(), DType::i32, {count}},
         {rows.data(), DType::bf16, {count, 1, cache.dim()}});
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t slot = slots[i];
    std::vector<std::uint16_t> expected(static_cast<std::size_t>(cache.dim()), 0);
    if (slot >= 0 && slot < cache.capacity())
      expected = support::dequantise_token(
          support::fetch_token(cache.format, slot % cache.page, cache.page, cache.page_of(slot)));
    FLASHMLA_DEMAND(
        std::equal(expected.begin(), expected.end(), rows.begin() + i * cache.dim(), same));
  }
}

void check_writing(Cache& cache, std::int32_t slot, std::vector<std::uint16_t>& row) {
  Cache expected = cache;
  append(cache.view(), cache.format, {row.data(), DType::bf16, {1, 1, cache.dim()}},
         {&slot, DType::i32, {1}});
  if (slot >= 0 && slot < cache.capacity()) {
    support::store_token(
        cache.format, support::quantise_token(cache.format, row, support::ScaleRule::power_of_two),
        slot % cache.page, cache.page, expected.page_of(slot));
    if (cache.format == KvFormat::v4)
      expected.page_of(slot)[cache.page * 576 + slot % cache.page * 8 + 7] = std::byte{0};
  }
  FLASHMLA_DEMAND(cache.bytes == expected.bytes);
}

}  // namespace
}  // namespace flashmla::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace flashmla;
  using namespace flashmla::fuzz;
  set_cpu_threads(1);
  ByteSource source(data, size);
  Cache cache{.format = source.flag() ? KvFormat::v32 : KvFormat::v4,
              .page = source.between(1, 3),
              .blocks = source.between(1, 2),
              .gap = source.between(0, 16),
              .bytes = {}};
  cache.bytes.resize(
      static_cast<std::size_t>((cache.blocks - 1) * cache.stride() + cache.page * cache.token()));
  std::vector<std::int32_t> slots{0, static_cast<std::int32_t>(source.edge(cache.capacity())),
                                  static_cast<std::int32_t>(source.between(0, 5))};
  const auto target = static_cast<std::int32_t>(source.edge(1));
  std::vector<std::uint16_t> row(static_cast<std::size_t>(cache.dim()));
  const auto pattern = static_cast<std::uint16_t>(source.word(2));
  for (std::size_t i = 0; i < row.size(); ++i)
    row[i] = i % 3 == 0 ? static_cast<std::uint16_t>(pattern + i * 257) : pattern;
  for (std::size_t i = 0; i < cache.bytes.size() && source.left() > 0; ++i)
    cache.bytes[i] = static_cast<std::byte>(source.byte());
  for (std::size_t i = 0; i < row.size() && source.left() > 1; ++i)
    row[i] = static_cast<std::uint16_t>(source.word(2));
  check_reading(cache, slots);
  check_writing(cache, target, row);
  return 0;
}
