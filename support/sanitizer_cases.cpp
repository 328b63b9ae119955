#include "support/sanitizer_cases.h"

#include <array>

namespace flashmla::support {

namespace {

// Each kernel comes with both types, with both d_qk, and in each of four ways: cut(),
// in_small_pages(), gathered() and unaligned().
constexpr std::int64_t kernels = 4;  // tiles of 16, 32 and 64 rows; 64 rows in clusters of two
constexpr std::int64_t types = 2;
constexpr std::int64_t widths = 2;
constexpr std::int64_t ways = 4;
constexpr std::int64_t combinations = kernels * types * widths * ways;
// Clusters of two tiles of 16 or 32 rows, with both types, with both d_qk, and in two ways.
constexpr std::int64_t small_clusters = 2 * types * widths * 2;
// Clusters of four beside clusters of two, with both types, with both d_qk, and in two ways.
constexpr std::int64_t clusters_of_four = types * widths * 2;
constexpr std::int64_t others = 9;

// With a block table of this many pages, tiles are as large as the rows allow, however short the
// requests are.
constexpr std::int64_t wide_table = 3000;

// Pages of whole blocks, requests that are cut, a request without tokens. In every other case
// results are not aligned.
void cut(DenseCase& c, std::int64_t kernel, std::int64_t turn) {
  c.query_heads = std::array<std::int64_t, kernels>{5, 20, 48, 128}[kernel];
  c.out_padding = turn % 2 == 0 ? 0 : 1;
  c.lengths = {700, 0, 77, 300};
  c.spare_pages = wide_table;
}

// Pages smaller than a block, several query tokens, a sink. There is one worker, so that nothing is
// cut.
void in_small_pages(DenseCase& c, std::int64_t kernel, std::int64_t turn) {
  c.query_heads = std::array<std::int64_t, kernels>{4, 8, 16, 40}[kernel];
  c.query_tokens = 3;
  c.page_size = std::array<std::int64_t, 3>{16, 32, 8}[turn % 3];
  c.causal = true;
  c.sink = true;
  c.max_workers = 1;
  c.lengths = {150, 2, 65};
}

// Rows that append() writes and that are gathered one by one; fixed pieces.
void gathered(DenseCase& c, std::int64_t kernel, std::int64_t turn) {
  c.query_heads = std::array<std::int64_t, kernels>{1, 32, 63, 126}[kernel];
  c.page_size = std::array<std::int64_t, 5>{7, 1, 48, 100, 13}[turn % 5];
  c.batch_invariant = true;
  c.appended = true;
  c.shared_pages = turn % 2 == 0;
  c.lengths = {650, 600, 40};
}

// Rows that are not aligned; in every other case only the rows of results are not. Two parts are
// merged. Each part has one worker, because the rule for whole tensors allows one rounding of
// partial results.
void unaligned(DenseCase& c, std::int64_t kernel, std::int64_t turn) {
  c.query_heads = std::array<std::int64_t, kernels>{8, 16, 32, 128}[kernel];
  c.query_tokens = 2;
  c.page_size = turn % 2 == 0 ? 64 : 128;
  c.cache_padding = turn % 2 == 0 ? 1 : 8;
  c.q_padding = turn % 2 == 0 ? 3 : 8;
  c.out_padding = turn % 2 == 0 ? 8 : 1;
  c.table_padding = 1;
  c.permuted = turn % 4 < 2;
  c.merged = true;
  c.max_workers = 1;
  c.sink = turn % 3 == 0;
  c.lengths = {300, 64, 0};
}

// Clusters of two small tiles. They are chosen for block tables of 400 … 2,400 blocks with up to 32
// rows, and of 800 … 2,000 blocks of at least 16 requests with up to 64 rows. The requests are cut;
// or they have several query tokens and pages smaller than a block, and in every other case rows
// are gathered one by one.
DenseCase small_cluster(std::int64_t which) {
  DenseCase c;
  const bool of_32 = which % 2 == 1;
  const bool in_small_pages = which / 2 % 2 == 1;
  c.type = which / 4 % 2 == 0 ? DType::bf16 : DType::fp16;
  c.qk_dim = which / 8 == 0 ? 576 : 512;
  c.lengths = {700, 0, 77, 300};
  if (of_32)
    c.lengths.resize(17, 90);
  c.query_heads = of_32 ? 48 : 20;
  c.spare_pages = of_32 ? 60 : 150;
  if (in_small_pages) {
    c.query_tokens = 2;
    c.query_heads /= 2;
    c.page_size = 16;
    c.spare_pages *= 4;
    c.causal = true;
    c.sink = true;
    c.out_padding = 1;
    c.cache_padding = which / 4 % 2 == 0 ? 0 : 1;
  }
  return c;
}

// Clusters of four beside clusters of two, which are chosen for four tiles of 64 rows and more
// requests than workers. Both kinds have requests that are cut. The cache is loaded by boxes; or
// rows are gathered one by one, tiles are not full, and queries are loaded row by row.
DenseCase cluster_of_four(std::int64_t which) {
  DenseCase c;
  c.spare_pages = wide_table;
  c.type = which % 2 == 0 ? DType::bf16 : DType::fp16;
  c.qk_dim = which / 2 % 2 == 0 ? 576 : 512;
  c.causal = true;
  c.query_tokens = 2;
  c.query_heads = 128;
  for (int i = 0; i < 10; ++i)
    c.lengths.insert(c.lengths.end(), {150, 70, 0, 10});
  c.lengths[5] = 900;
  c.lengths[38] = 600;
  if (which / 4 == 1) {
    c.causal = false;
    c.query_tokens = 4;
    c.query_heads = 50;
    c.page_size = 128;
    c.sink = true;
    c.cache_padding = 1;
    c.out_padding = 1;
  }
  return c;
}

DenseCase other_case(std::int64_t which) {
  DenseCase c;
  switch (which) {
    case 0:  // more tiles than a GPU has multiprocessors
      c.query_tokens = 70;
      c.query_heads = 128;
      c.lengths = {130};
      c.causal = true;
      break;
    case 1:  // more requests than a small thread block has threads
      c.query_heads = 16;
      c.lengths.assign(300, 3);
      c.lengths[250] = 900;
      break;
    case 2:
      c.query_heads = 64;
      c.kv_heads = 8;
      c.page_size = 256;
      c.lengths = {400, 90};
      break;
    case 3:  // fixed pieces, with more requests than a small thread block has threads
      c.query_heads = 64;
      c.lengths.assign(260, 2);
      c.lengths[3] = 2000;
      c.batch_invariant = true;
      c.softmax_scale = -0.05F;
      break;
    case 4:  // as many partial results as there are multiprocessors
      c.query_heads = 5;
      c.lengths = {8448};
      break;
    case 5:  // every number of threads that may share a row of partial results
      c.query_heads = 13;
      c.lengths = {2816, 1920, 1152, 448, 256, 128};
      c.out_padding = 1;
      c.sink = true;
      break;
    case 6:  // several tiles of 16 rows
      c.query_tokens = 2;
      c.query_heads = 40;
      c.page_size = 16;
      c.causal = true;
      c.lengths = {300, 90};
      break;
    case 7:  // several tiles of 32 rows, cut
      c.query_heads = 64;
      c.lengths.assign(8, 2048);
      c.lengths[3] = 1000;
      break;
    default:  // several tiles of 32 rows, with one request for each worker
      c.query_heads = 128;
      c.lengths.assign(32, 250);
      c.sink = true;
      break;
  }
  return c;
}

}  // namespace

std::int64_t sanitizer_cases() {
  return combinations + small_clusters + clusters_of_four + others;
}

DenseCase sanitizer_case(std::int64_t index, std::uint64_t seed) {
  DenseCase c;
  if (index >= combinations + small_clusters + clusters_of_four) {
    c = other_case(index - combinations - small_clusters - clusters_of_four);
  } else if (index >= combinations + small_clusters) {
    c = cluster_of_four(index - combinations - small_clusters);
  } else if (index >= combinations) {
    c = small_cluster(index - combinations);
  } else {
    const std::int64_t kernel = index / ways % kernels;
    const std::int64_t turn = index / ways;
    switch (index % ways) {
      case 0:
        cut(c, kernel, turn / kernels);
        break;
      case 1:
        in_small_pages(c, kernel, turn);
        break;
      case 2:
        gathered(c, kernel, turn);
        break;
      default:
        unaligned(c, kernel, turn / kernels);
        break;
    }
    c.type = turn / kernels % types == 0 ? DType::bf16 : DType::fp16;
    c.qk_dim = turn / kernels / types == 0 ? 576 : 512;
  }
  c.seed = seed;
  return c;
}

}  // namespace flashmla::support
