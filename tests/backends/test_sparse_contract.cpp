// The promises of every backend in sparse decoding, one in each test. Random cases with an option
// go through the public interface and are compared with the oracle.
#include <cmath>
#include <cstdint>
#include <functional>
#include <string>

#include "flashmla/plan.h"
#include "support/sparse_runner.h"
#include "tests/backends/backend_types.h"
#include "tests/backends/sparse_call.h"

namespace flashmla::backends {
namespace {

using support::Holes;
using support::Random;
using support::SparseCase;

constexpr std::int64_t heads[] = {1,  2,  4,  5,  8,  10, 12,  16,  20, 32,
                                  40, 48, 63, 64, 65, 96, 126, 128, 192};

template <class Backend>
class SparseContract : public BackendTest<Backend> {
 protected:
  using Change = std::function<void(SparseCase&, Random&)>;

  support::CaseResult expect_right(const SparseCase& c) {
    SCOPED_TRACE(describe(c));
    EXPECT_EQ(make_plan(problem_of(c, this->memory_->device())).backend(), Backend::name);
    support::CaseResult result = support::run_case(c, *this->memory_);
    for (const std::string& fault : result.faults)
      ADD_FAILURE() << fault;
    EXPECT_TRUE(result.rows_checked > 0 || c.rows() == 0);
    return result;
  }

  // Each format with few heads and with many, `cases` times, and in batch-invariant mode besides,
  // which takes the kernels of long calls.
  void expect_right_with(const Change& change, int cases = 1) {
    const std::uint64_t seed = support::fresh_seed();
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    Random random(seed);
    for (const KvFormat format : sparse_formats)
      for (const std::int64_t count : {random.pick({4, 16}), random.pick({20, 32}),
                                       random.pick({40, 64}), random.pick({65, 128})})
        for (int i = 0; i < 2 * cases && !this->HasFailure(); ++i) {
          SparseCase c = sparse_case(format, count);
          c.seed = random.next();
          c.batch_invariant = i % 2 == 1;
          change(c, random);
          expect_right(c);
        }
  }
};

TYPED_TEST_SUITE(SparseContract, BackendTypes, NameOfBackend);

TYPED_TEST(SparseContract, Plain) {
  this->expect_right_with([](SparseCase&, Random&) {});
}

TYPED_TEST(SparseContract, EveryHeadCount) {
  for (const KvFormat format : sparse_formats)
    for (const std::int64_t count : heads)
      this->expect_right(sparse_case(format, count));
}

TYPED_TEST(SparseContract, Bf16RowsOf512) {
  this->expect_right_with([](SparseCase& c, Random&) {
    c.format = KvFormat::bf16;
    c.qk_dim = 512;
  });
}

TYPED_TEST(SparseContract, EveryPageSize) {
  for (const std::int64_t page : {1, 2, 3, 16, 63, 100, 256})
    this->expect_right_with([&](SparseCase& c, Random& r) {
      c.page_size = page;
      c.num_pages = 500 / page + 1;
      c.cache_padding = 64 * r.between(0, 1);
    });
}

// Lists of every residue, from a single entry on.
TYPED_TEST(SparseContract, EveryListLength) {
  for (const std::int64_t topk : {1, 2, 31, 63, 64, 65, 127, 128, 129, 1000})
    this->expect_right_with([&](SparseCase& c, Random&) { c.topk = topk; });
}

TYPED_TEST(SparseContract, ListsEndAtTheirLengths) {
  this->expect_right_with(
      [](SparseCase& c, Random& r) {
        c.batch = 9;
        c.topk = r.pick({1, 64, 200});
        c.topk_length = true;
        c.empty_lists = true;
      },
      2);
}

// The second list has its own cache, page size and lengths; either list may be empty.
TYPED_TEST(SparseContract, ExtraCache) {
  this->expect_right_with(
      [](SparseCase& c, Random& r) {
        c.extra_topk = r.pick({1, 64, 90, 300});
        c.extra_page_size = r.pick({2, 7, 64, 100});
        c.extra_pages = 400 / c.extra_page_size;
        c.extra_topk_length = r.chance(0.5);
        c.topk_length = r.chance(0.5);
        c.empty_lists = r.chance(0.7);
        c.sink = r.chance(0.5);
      },
      3);
}

// Blocks without a valid entry, single valid entries among hundreds that are not, and none at all.
TYPED_TEST(SparseContract, Holes) {
  for (const Holes holes : {Holes::runs, Holes::tail, Holes::all})
    this->expect_right_with([&](SparseCase& c, Random& r) {
      c.holes = holes;
      c.topk = r.between(600, 1500);
      c.sink = r.chance(0.5);
    });
}

// Exactly the rows that attend to a NaN are NaN.
TYPED_TEST(SparseContract, Nan) {
  this->expect_right_with(
      [](SparseCase& c, Random& r) {
        c.nan_rows = true;
        c.batch = 8;
        c.num_pages = 60;
        c.topk = r.pick({1, 64, 150, 700});
        c.sink = r.chance(0.5);
      },
      3);
}

// A part of a cut list that attends to a NaN is no part without tokens.
TYPED_TEST(SparseContract, NanInCutLists) {
  this->expect_right_with([](SparseCase& c, Random&) {
    c.nan_rows = true;
    c.num_pages = 60;
    c.topk = 1'500;
    c.batch_invariant = true;
  });
}

TYPED_TEST(SparseContract, ScalesOfEveryKind) {
  this->expect_right_with(
      [](SparseCase& c, Random& r) {
        c.other_scales = r.chance(0.5);
        c.hostile_scales = true;
      },
      3);
}

// Numbers far from 1, with scores of unit scale.
TYPED_TEST(SparseContract, HugeAndTinyNumbers) {
  for (const int magnitude : {-100, 100})
    this->expect_right_with([&](SparseCase& c, Random& r) {
      c.magnitude = magnitude;
      c.softmax_scale = std::ldexp(0.05F, -magnitude);
      c.topk = r.pick({100, 1500});
    });
}

TYPED_TEST(SparseContract, SoftmaxScale) {
  for (const float scale : {0.3F, 0.005F, -0.1F, 0.0F})
    this->expect_right_with([&](SparseCase& c, Random&) { c.softmax_scale = scale; });
}

// Sinks are −inf, +inf and finite numbers.
TYPED_TEST(SparseContract, Sinks) {
  this->expect_right_with([](SparseCase& c, Random& r) {
    c.sink = true;
    c.empty_lists = r.chance(0.5);
    c.topk = r.pick({100, 1500});
  });
}

TYPED_TEST(SparseContract, Strides) {
  this->expect_right_with(
      [](SparseCase& c, Random& r) {
        c.q_padding = 8 * r.between(1, 9);
        c.out_padding = r.between(1, 20);
        c.index_padding = r.between(1, 20);
        c.cache_padding = 64;
      },
      2);
}

TYPED_TEST(SparseContract, PackedLayers) {
  this->expect_right_with([](SparseCase& c, Random& r) {
    c.page_gap = 16 * r.between(1 << 16, 1 << 17);
    c.num_pages = 5;
  });
}

TYPED_TEST(SparseContract, WorkerLimit) {
  for (const std::int32_t workers : {1, 2, 3, 7})
    this->expect_right_with([&](SparseCase& c, Random& r) {
      c.max_workers = workers;
      c.topk = r.pick({150, 900});
    });
}

// One long list is cut, and the sink is applied once.
TYPED_TEST(SparseContract, LongListsAreCut) {
  for (const KvFormat format : sparse_formats)
    for (const std::int64_t count : {5, 16, 32, 64, 128})
      for (const bool invariant : {false, true}) {
        SparseCase c = sparse_case(format, count);
        c.batch = c.query_tokens = 1;
        c.num_pages = 60;
        c.topk = 4'000;
        c.extra_topk = 333;
        c.extra_page_size = 2;
        c.extra_pages = 200;
        c.sink = true;
        c.topk_length = true;
        c.batch_invariant = invariant;
        EXPECT_TRUE(this->expect_right(c).split) << describe(c);
      }
}

TYPED_TEST(SparseContract, ManyQueryTokensAndRequests) {
  this->expect_right_with([](SparseCase& c, Random& r) {
    c.batch = 300;
    c.query_tokens = 1;
    c.topk = 20;
    c.empty_lists = true;
    c.topk_length = true;
    if (r.chance(0.5))
      std::swap(c.batch, c.query_tokens);
  });
}

TYPED_TEST(SparseContract, NoRequestsAndNoPages) {
  this->expect_right_with([](SparseCase& c, Random&) { c.batch = 0; });
  this->expect_right_with([](SparseCase& c, Random&) { c.num_pages = 0; });
}

}  // namespace
}  // namespace flashmla::backends
