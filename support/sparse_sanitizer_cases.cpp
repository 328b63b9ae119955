#include "support/sparse_sanitizer_cases.h"

#include <array>

namespace flashmla::support {

namespace {

// Each kernel comes with each kind of cached row, and in each of four ways: cut(), in_order(),
// with_extra() and with_holes().
constexpr std::int64_t kernels = 4;  // tiles of 16, 32 and 64 rows; several tiles
constexpr std::int64_t kinds = 4;    // bf16 of 576 and of 512, v32, v4
constexpr std::int64_t ways = 4;
constexpr std::int64_t combinations = kernels * kinds * ways;
constexpr std::int64_t others = 10;

using Heads = std::array<std::int64_t, kernels>;

// Long lists that are cut, and last blocks that are not full. In every other case results are not
// aligned.
void cut(SparseCase& c, std::int64_t kernel, std::int64_t turn) {
  c.query_heads = Heads{5, 20, 48, 128}[kernel];
  c.batch = 2;
  c.topk = 1'000 + 37 * turn;
  c.num_pages = 20;
  c.out_padding = turn % 2 == 0 ? 0 : 1;
  c.distinct = turn % 2 == 0;
  c.invalid_share = 0.05;
  c.hostile_scales = !is_plain(c.format);
}

// One worker, so that nothing is cut; several query tokens, lists of any length and none, a sink.
void in_order(SparseCase& c, std::int64_t kernel, std::int64_t turn) {
  c.query_heads = Heads{16, 32, 64, 126}[kernel];
  c.batch = 3;
  c.query_tokens = 2;
  c.topk = turn % 2 == 0 ? 130 : 192;
  c.page_size = std::array<std::int64_t, 4>{1, 16, 64, 100}[turn % 4];
  c.num_pages = 300 / c.page_size + 1;
  c.topk_length = true;
  c.empty_lists = true;
  c.sink = true;
  c.max_workers = 1;
  c.q_padding = 8;
  c.softmax_scale = -0.05F;
}

// Two lists, fixed pieces, scales by the other rule.
void with_extra(SparseCase& c, std::int64_t kernel, std::int64_t turn) {
  c.query_heads = Heads{1, 24, 63, 192}[kernel];
  c.topk = turn % 2 == 0 ? 65 : 700;
  c.extra_topk = turn % 2 == 0 ? 600 : 1;
  c.extra_page_size = std::array<std::int64_t, 4>{2, 7, 32, 256}[turn % 4];
  c.extra_pages = 300 / c.extra_page_size + 1;
  c.extra_topk_length = turn % 4 < 2;
  c.num_pages = 9;
  c.batch = 2;
  c.batch_invariant = true;
  c.other_scales = !is_plain(c.format);
  c.out_padding = turn % 2 == 0 ? 1 : 8;
  c.index_padding = 3;
}

// Whole blocks without a valid entry; rows with NaN; page strides as of packed layers.
void with_holes(SparseCase& c, std::int64_t kernel, std::int64_t turn) {
  c.query_heads = Heads{8, 17, 40, 65}[kernel];
  c.batch = 2;
  c.query_tokens = 3;
  c.topk = 900;
  c.holes = turn % 3 == 2 ? Holes::tail : Holes::runs;
  c.nan_rows = true;
  c.num_pages = 4;
  c.poisoned_share = 0.3;
  c.page_gap = turn % 2 == 0 ? 1 << 20 : 0;
  c.cache_padding = 64;
}

SparseCase of_format(KvFormat format) {
  SparseCase c;
  c.format = format;
  c.qk_dim = is_plain(format) ? 576 : format_qk_dim(format);
  c.num_pages = 8;
  return c;
}

SparseCase other_case(std::int64_t which) {
  SparseCase c = of_format(which % 2 == 0 ? KvFormat::v32 : KvFormat::v4);
  switch (which) {
    case 0:
    case 1:  // more query tokens than a GPU has multiprocessors, and than a block has threads
      c.query_tokens = 300;
      c.query_heads = which == 0 ? 4 : 128;
      c.topk = which == 0 ? 70 : 3;
      break;
    case 2:
    case 3:  // no list has a valid entry
      c.batch = 20;
      c.query_heads = which == 2 ? 16 : 128;
      c.topk = 300;
      c.holes = Holes::all;
      c.sink = true;
      break;
    case 4:
    case 5:  // as many partial results as there are multiprocessors
      c.query_heads = which == 4 ? 8 : 64;
      c.topk = 8'448;
      break;
    case 6:  // lists of very different lengths
      c.batch = 40;
      c.query_heads = 16;
      c.topk = 700;
      c.topk_length = true;
      c.empty_lists = true;
      break;
    case 7:  // fixed pieces of many requests
      c.batch = 270;
      c.query_heads = 3;
      c.topk = 65;
      c.batch_invariant = true;
      break;
    case 8:  // several query tokens with lists of a few slots, and numbers that are huge
      c.query_tokens = 8;
      c.query_heads = 128;
      c.topk = 256;
      c.num_pages = 1;
      c.magnitude = 100;
      c.softmax_scale = 0x1p-105F;
      break;
    default:  // lists of one entry; numbers that are tiny
      c.batch = 5;
      c.query_heads = 10;
      c.topk = 1;
      c.page_size = 1;
      c.magnitude = -100;
      c.softmax_scale = 0x1p95F;
      break;
  }
  return c;
}

}  // namespace

std::int64_t sparse_sanitizer_cases() {
  return combinations + others;
}

SparseCase sparse_sanitizer_case(std::int64_t index) {
  if (index >= combinations)
    return other_case(index - combinations);
  const std::int64_t turn = index / ways;
  const std::int64_t kernel = turn % kernels;
  constexpr std::array<KvFormat, kinds> formats{KvFormat::bf16, KvFormat::bf16, KvFormat::v32,
                                                KvFormat::v4};
  const std::int64_t kind = turn / kernels;
  SparseCase c = of_format(formats[kind]);
  if (kind == 1)
    c.qk_dim = 512;
  switch (index % ways) {
    case 0:
      cut(c, kernel, turn / kernels + kernel);
      break;
    case 1:
      in_order(c, kernel, turn / kernels + kernel);
      break;
    case 2:
      with_extra(c, kernel, turn / kernels + kernel);
      break;
    default:
      with_holes(c, kernel, turn / kernels + kernel);
      break;
  }
  return c;
}

}  // namespace flashmla::support
