// The promises of every backend in dense decoding, one in each test. Random cases with an option go
// through the public interface and are compared with the oracle.
#include <algorithm>
#include <functional>
#include <span>
#include <string>

#include "flashmla/decode.h"
#include "support/dense_runner.h"
#include "support/random.h"
#include "tests/backends/backend_types.h"

namespace flashmla::backends {
namespace {

using support::DenseCase;
using support::Random;

constexpr std::int64_t heads[] = {1, 2, 4, 5, 8, 10, 12, 16, 20, 32, 40, 48, 64, 96, 128};

// A small case without options: a few requests that together have some hundreds of tokens.
DenseCase plain_case(Random& random) {
  DenseCase dense_case;
  dense_case.seed = random.next();
  dense_case.query_heads = random.pick(std::span<const std::int64_t>(heads));
  dense_case.lengths.resize(static_cast<std::size_t>(random.between(1, 4)));
  for (std::int32_t& length : dense_case.lengths)
    length = static_cast<std::int32_t>(random.log_between(1, 300));
  return dense_case;
}

template <class Backend>
class DenseContract : public BackendTest<Backend> {
 protected:
  using Change = std::function<void(DenseCase&, Random&)>;

  void expect_right(const DenseCase& dense_case) {
    SCOPED_TRACE(describe(dense_case));
    ASSERT_EQ(make_plan(problem_of(dense_case, this->memory_->device())).backend(), Backend::name);
    const support::CaseResult result = support::run_case(dense_case, *this->memory_);
    for (const std::string& fault : result.faults)
      ADD_FAILURE() << fault;
    ASSERT_TRUE(result.rows_checked > 0 || dense_case.rows() == 0);
  }

  void expect_right_with(const Change& change, int cases = 8) {
    const std::uint64_t seed = support::fresh_seed();
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    Random random(seed);
    for (int i = 0; i < cases && !this->HasFailure(); ++i) {
      DenseCase dense_case = plain_case(random);
      change(dense_case, random);
      expect_right(dense_case);
    }
  }
};

TYPED_TEST_SUITE(DenseContract, BackendTypes, NameOfBackend);

TYPED_TEST(DenseContract, Plain) {
  this->expect_right_with([](DenseCase&, Random&) {});
}

TYPED_TEST(DenseContract, EveryHeadCount) {
  Random random(support::fresh_seed());
  for (const std::int64_t count : heads) {
    DenseCase dense_case = plain_case(random);
    dense_case.query_heads = count;
    this->expect_right(dense_case);
  }
}

TYPED_TEST(DenseContract, Fp16) {
  this->expect_right_with([](DenseCase& c, Random&) { c.type = DType::fp16; });
}

TYPED_TEST(DenseContract, RowsOf512) {
  this->expect_right_with([](DenseCase& c, Random&) { c.qk_dim = 512; });
}

TYPED_TEST(DenseContract, SeveralQueryTokens) {
  this->expect_right_with([](DenseCase& c, Random& r) { c.query_tokens = r.between(2, 9); });
}

// Some requests have more query tokens than cached tokens, so that the first query tokens see
// nothing.
TYPED_TEST(DenseContract, Causal) {
  this->expect_right_with([](DenseCase& c, Random& r) {
    c.causal = true;
    c.query_tokens = r.between(2, 9);
    c.lengths.push_back(static_cast<std::int32_t>(r.between(0, c.query_tokens - 1)));
  });
}

TYPED_TEST(DenseContract, SeveralKvHeads) {
  this->expect_right_with([](DenseCase& c, Random& r) {
    c.kv_heads = r.pick({2, 3, 8});
    c.query_heads = c.kv_heads * r.between(1, 8);
  });
}

TYPED_TEST(DenseContract, EveryPageSize) {
  for (const std::int64_t page : {1, 7, 16, 32, 100, 128, 256})
    this->expect_right_with(
        [&](DenseCase& c, Random& r) {
          c.page_size = page;
          c.spare_pages = r.between(0, 3);
          c.shared_pages = r.chance(0.5);
        },
        2);
}

TYPED_TEST(DenseContract, Strides) {
  this->expect_right_with([](DenseCase& c, Random& r) {
    c.query_tokens = 2;
    c.q_padding = r.between(1, 20);
    c.cache_padding = r.between(1, 20);
    c.out_padding = r.between(1, 20);
    c.table_padding = r.between(1, 20);
    c.permuted = r.chance(0.5);
  });
}

TYPED_TEST(DenseContract, SoftmaxScale) {
  this->expect_right_with([](DenseCase& c, Random& r) {
    c.softmax_scale = static_cast<float>(0.005 + 0.2 * r.unit());
  });
}

// Sinks are −inf, +inf and finite numbers.
TYPED_TEST(DenseContract, Sinks) {
  this->expect_right_with([](DenseCase& c, Random& r) {
    c.sink = true;
    if (r.chance(0.5))
      c.lengths.push_back(0);
  });
}

TYPED_TEST(DenseContract, ZeroLengths) {
  this->expect_right_with([](DenseCase& c, Random&) {
    c.lengths.insert(c.lengths.begin(), 0);
    c.lengths.push_back(0);
  });
}

TYPED_TEST(DenseContract, NoRequestHasTokens) {
  this->expect_right_with([](DenseCase& c, Random&) { std::ranges::fill(c.lengths, 0); });
}

TYPED_TEST(DenseContract, WorkerLimit) {
  this->expect_right_with([](DenseCase& c, Random& r) {
    c.max_workers = static_cast<std::int32_t>(r.between(1, 5));
    c.lengths.push_back(900);
  });
}

TYPED_TEST(DenseContract, BatchInvariantMode) {
  this->expect_right_with([](DenseCase& c, Random& r) {
    c.batch_invariant = true;
    c.lengths.push_back(static_cast<std::int32_t>(r.between(1000, 3000)));
  });
}

// One request that is cut, with fewer heads than a tile has rows, and with more.
TYPED_TEST(DenseContract, ALongRequest) {
  for (const std::int64_t count : {16, 128})
    this->expect_right_with(
        [&](DenseCase& c, Random& r) {
          c.query_heads = count;
          c.sink = r.chance(0.5);
          c.lengths = {static_cast<std::int32_t>(r.between(4097, 9000))};
        },
        2);
}

TYPED_TEST(DenseContract, ManyRequests) {
  this->expect_right_with([](DenseCase& c, Random& r) {
    c.query_heads = 2;
    c.lengths.resize(200);
    for (std::int32_t& length : c.lengths)
      length = static_cast<std::int32_t>(r.between(0, 40));
  });
}

}  // namespace
}  // namespace flashmla::backends
