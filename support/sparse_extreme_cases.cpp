#include "support/sparse_extreme_cases.h"

namespace flashmla::support {

namespace {

// Pages of 64 tokens of which a cache has more than 2^31 bytes, of bf16 2^31 elements.
constexpr std::int64_t pages_of_v32 = 51'200;
constexpr std::int64_t pages_of_v4 = 57'500;
constexpr std::int64_t pages_of_bf16 = 58'300;
static_assert(pages_of_v32 * 64 * 656 > std::int64_t{1} << 31);
static_assert(pages_of_v4 * 64 * 584 > std::int64_t{1} << 31);
static_assert(pages_of_bf16 * 64 * 576 > std::int64_t{1} << 31);

SparseCase decoding(KvFormat format, std::int64_t batch, std::int64_t query_heads,
                    std::int64_t num_pages, std::int64_t topk) {
  SparseCase c;
  c.format = format;
  c.qk_dim = is_plain(format) ? 576 : format_qk_dim(format);
  c.batch = batch;
  c.query_heads = query_heads;
  c.num_pages = num_pages;
  c.topk = topk;
  c.live_slots = 6'000;
  return c;
}

void add_extra(SparseCase& c, std::int64_t topk, std::int64_t page_size, std::int64_t pages) {
  c.extra_topk = topk;
  c.extra_page_size = page_size;
  c.extra_pages = pages;
}

SparseCase large_cache(std::int64_t which) {
  SparseCase c;
  switch (which) {
    case 0:
      c = decoding(KvFormat::v32, 8, 128, pages_of_v32, 2'048);
      c.invalid_share = 0.2;
      break;
    case 1:
      c = decoding(KvFormat::v4, 4, 64, pages_of_v4, 512);
      add_extra(c, 128, 256, 20);
      c.sink = true;
      break;
    case 2:
      c = decoding(KvFormat::bf16, 8, 16, pages_of_bf16, 2'048);
      break;
    case 3:  // 61 layers in one block of memory
      c = decoding(KvFormat::v32, 3, 32, 900, 2'000);
      c.page_gap = 60 * 64 * 656;
      c.query_tokens = 2;
      break;
    default:
      c = decoding(KvFormat::v4, 2, 8, 20, 128);
      add_extra(c, 1'000, 64, pages_of_v4);
      c.extra_topk_length = true;
      break;
  }
  return c;
}

}  // namespace

std::int64_t sparse_extreme_cases() {
  return 10;
}

SparseCase sparse_extreme_case(std::int64_t which) {
  SparseCase c;
  switch (which) {
    case 0:
      c = decoding(KvFormat::bf16, 1, 1, 200, 3);
      c.qk_dim = 512;
      c.query_tokens = 131'072;
      break;
    case 1:
      c = decoding(KvFormat::v32, 131'072, 2, 300, 2);
      c.topk_length = true;
      c.empty_lists = true;
      break;
    case 2:
      c = decoding(KvFormat::v32, 148, 128, 3'000, 16'384);
      c.query_tokens = 2;
      break;
    case 3:
      c = decoding(KvFormat::v4, 1, 256, 2'000, 16'384);
      c.query_tokens = 64;
      c.holes = Holes::runs;
      add_extra(c, 16'383, 3, 5'000);
      break;
    case 4:
      c = decoding(KvFormat::v32, 300, 128, 900, 2'048);
      c.holes = Holes::all;
      c.sink = true;
      break;
    default:
      c = large_cache(which - 5);
      break;
  }
  return c;
}

}  // namespace flashmla::support
