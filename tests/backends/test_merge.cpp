// The promises of every backend for merge(): parts of any types, lse of any strides and of either
// base. Results are compared with sums in double.
#include "flashmla/merge.h"

#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <string>
#include <vector>

#include "support/guarded_tensor.h"
#include "support/numeric.h"
#include "support/random.h"
#include "tests/backends/backend_types.h"

namespace flashmla::backends {
namespace {

using support::GuardedTensor;
using support::Random;

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr std::int64_t b = 3, s_q = 2, h_q = 5, v_dim = 512, rows = b * s_q * h_q;

// One row of a tensor [b, s_q, h_q, d_v], numbered in that order.
struct Row {
  std::int64_t request, token, head;
  explicit Row(std::int64_t i) : request(i / h_q / s_q), token(i / h_q % s_q), head(i % h_q) {}
};

// The strides of an lse [b, h_q, s_q], and the number of elements of its memory.
struct Layout {
  const char* name;
  std::array<std::int64_t, 3> strides;
  std::int64_t first;
  std::int64_t elements;
};

constexpr Layout contiguous = {"contiguous", {h_q * s_q, s_q, 1}, 0, rows};
constexpr Layout layouts[] = {
    contiguous,
    {"[b, s_q, h_q]", {s_q * h_q, 1, h_q}, 0, rows},
    {"heads 5 to 9 of 15", {15 * s_q, s_q, 1}, 5 * s_q, b * 15 * s_q},
    {"every third element, requests last", {3, 3 * b* s_q, 3 * b}, 1, 3 * rows}};

// Values on the host, and the tensors that hold them: out [b, s_q, h_q, d_v] and lse.
struct Part {
  DType type;
  Layout layout;
  std::vector<float> out = std::vector<float>(rows * v_dim, std::nanf(""));
  std::vector<float> lse = std::vector<float>(rows, std::nanf(""));  // row by row
  GuardedTensor out_tensor, lse_tensor;

  Part(DType dtype, const Layout& lse_layout, support::Memory& memory)
      : type(dtype),
        layout(lse_layout),
        out_tensor(
            support::make_tensor({nullptr, type, {b, s_q, h_q, v_dim}, memory.device()}, memory)),
        lse_tensor(support::make_tensor({nullptr, DType::fp32, {layout.elements}, memory.device()},
                                        memory)) {}

  std::size_t place(std::int64_t row) const {
    const Row at(row);
    return static_cast<std::size_t>(layout.first + at.request * layout.strides[0] +
                                    at.head * layout.strides[1] + at.token * layout.strides[2]);
  }

  // Rounds out to the type and sends everything to the device.
  void upload() {
    if (type == DType::fp32) {
      std::ranges::copy(out, out_tensor.buffer.image_as<float>().begin());
    } else {
      support::encode(type, out, out_tensor.buffer.image_as<std::uint16_t>());
      support::round_through(type, out);
    }
    for (std::int64_t row = 0; row < rows; ++row)
      lse_tensor.buffer.image_as<float>()[place(row)] = lse[static_cast<std::size_t>(row)];
    out_tensor.buffer.upload();
    lse_tensor.buffer.upload();
  }

  // Reads the results of a call. Memory between the elements of lse must not have changed.
  void download() {
    std::vector<std::byte> bytes = out_tensor.buffer.download();
    if (type == DType::fp32)
      std::copy_n(reinterpret_cast<const float*>(bytes.data()), out.size(), out.begin());
    else
      support::decode(type, {reinterpret_cast<const std::uint16_t*>(bytes.data()), out.size()},
                      out);
    std::vector<std::byte> now = lse_tensor.buffer.download();
    for (std::int64_t row = 0; row < rows; ++row) {
      auto* const elements = reinterpret_cast<float*>(now.data());
      lse[static_cast<std::size_t>(row)] = elements[place(row)];
      elements[place(row)] = lse_tensor.buffer.image_as<float>()[place(row)];
    }
    EXPECT_TRUE(std::ranges::equal(now, lse_tensor.buffer.image())) << "written between rows";
    EXPECT_TRUE(out_tensor.buffer.guards_unchanged());
    EXPECT_TRUE(lse_tensor.buffer.guards_unchanged());
  }

  PartialResult view() const {
    TensorView strided(static_cast<float*>(lse_tensor.view.data) + layout.first, DType::fp32,
                       {b, h_q, s_q}, lse_tensor.view.device);
    std::ranges::copy(layout.strides, strided.strides.begin());
    return {out_tensor.view, strided};
  }
};

struct Expected {
  std::vector<double> out = std::vector<double>(rows * v_dim);
  std::vector<double> lse = std::vector<double>(rows);  // natural; +inf: no part has a token
};

// A part is left out where its weight is below 2^-126 of the largest one.
Expected expected_merge(const std::vector<Part>& parts, const std::vector<float>& sink,
                        LseBase base) {
  Expected expected;
  for (std::int64_t row = 0; row < rows; ++row) {
    const auto natural = [&](const Part& part) {
      return part.lse[static_cast<std::size_t>(row)] / scale_of(base);
    };
    double largest = -infinity;
    for (const Part& part : parts)
      if (std::isfinite(natural(part)))
        largest = std::max(largest, natural(part));
    double sum = 0;
    std::vector<double> weights;
    for (const Part& part : parts) {
      const double weight = std::isfinite(natural(part)) ? std::exp(natural(part) - largest) : 0.0;
      weights.push_back(weight < 0x1p-126 ? 0.0 : weight);
      sum += weights.back();
    }
    double& lse = expected.lse[static_cast<std::size_t>(row)];
    lse = sum == 0 ? double{infinity} : largest + std::log(sum);
    const double kept =
        sink.empty() ? 1.0
                     : 1.0 / (1.0 + std::exp(sink[static_cast<std::size_t>(row % h_q)] - lse));
    for (std::size_t part = 0; part < parts.size(); ++part)
      for (std::int64_t i = row * v_dim; weights[part] != 0 && i < (row + 1) * v_dim; ++i)
        expected.out[static_cast<std::size_t>(i)] +=
            kept * weights[part] / sum * parts[part].out[static_cast<std::size_t>(i)];
  }
  return expected;
}

void expect_close(const Expected& expected, const Part& got, const Outputs& outputs) {
  // Rounding to nearest has an error of at most half a unit in the last place: 2^-8 of a bf16
  // number (8 significant bits), 2^-11 of an fp16 number (11 bits). The arithmetic is fp32 or
  // better.
  const double unit = got.type == DType::bf16 ? 0x1p-8 : got.type == DType::fp16 ? 0x1p-11 : 0;
  for (std::size_t row = 0; row < static_cast<std::size_t>(rows); ++row) {
    const double lse = expected.lse[row] * scale_of(outputs.lse_base);
    if (std::isinf(lse))
      ASSERT_EQ(got.lse[row], value_of(outputs.empty_lse)) << "row " << row;
    else
      ASSERT_LE(std::fabs(got.lse[row] - lse), 4e-7 * std::fabs(lse) + 1e-6) << "row " << row;
    for (std::size_t i = row * v_dim; i < (row + 1) * v_dim; ++i)
      ASSERT_LE(std::fabs(got.out[i] - expected.out[i]),
                1.01 * unit * std::fabs(expected.out[i]) + 3e-6)
          << "row " << row << " dim " << i % v_dim;
  }
}

template <class Backend>
class Merge : public BackendTest<Backend> {
 protected:
  const std::uint64_t seed_ = support::fresh_seed();
  Random random_{seed_};
  const ::testing::ScopedTrace trace_{__FILE__, __LINE__, ::testing::Message() << "seed " << seed_};

  DType any_type() { return random_.pick({DType::bf16, DType::fp16, DType::fp32}); }

  // Random parts with lse around 200. In each part a quarter of the rows have no token. Row 4 has
  // no token in any part. The out of rows without tokens is NaN.
  std::vector<Part> parts(std::size_t count, LseBase base = LseBase::natural) {
    std::vector<Part> made;
    for (std::size_t i = 0; i < count; ++i) {
      made.emplace_back(any_type(), random_.pick(std::span<const Layout>(layouts)), *this->memory_);
      support::fill_normal(made.back().out, random_.next());
      for (std::int64_t row = 0; row < rows; ++row) {
        const double natural = 200 + 8 * random_.unit();
        made.back().lse[static_cast<std::size_t>(row)] =
            static_cast<float>(natural * scale_of(base));
        if (row == 4 || random_.chance(0.25))
          empty(made.back(), row, random_.chance(0.5) ? infinity : -infinity);
      }
      made.back().upload();
    }
    return made;
  }

  static void empty(Part& part, std::int64_t row, float lse) {
    part.lse[static_cast<std::size_t>(row)] = lse;
    std::fill_n(part.out.begin() + row * v_dim, v_dim, std::nanf(""));
  }

  void expect_right(const std::vector<Part>& made, Part& target, Outputs outputs,
                    const std::vector<float>& sink = {}) {
    const Expected expected = expected_merge(made, sink, outputs.lse_base);
    std::vector<PartialResult> views;
    for (const Part& part : made)
      views.push_back(part.view());
    outputs.out = target.view().out;
    outputs.lse = target.view().lse;
    GuardedTensor sinks = support::make_tensor(
        {nullptr, DType::fp32, {h_q}, this->memory_->device()}, *this->memory_);
    std::ranges::copy(sink, sinks.buffer.template image_as<float>().begin());
    sinks.buffer.upload();
    merge(views, sink.empty() ? TensorView() : sinks.view, outputs);
    this->memory_->wait();
    target.download();
    expect_close(expected, target, outputs);
  }

  Part target(DType type, const Layout& layout = contiguous) {
    Part made(type, layout, *this->memory_);
    made.upload();
    return made;
  }
};

TYPED_TEST_SUITE(Merge, BackendTypes, NameOfBackend);

TYPED_TEST(Merge, WeighsPartsOfAnyTypesByTheirSums) {
  for (const DType type : {DType::bf16, DType::fp16, DType::fp32})
    for (const std::size_t count : {1, 2, 3, 7, 40}) {
      const std::vector<Part> made = this->parts(count);
      Part target = this->target(type);
      this->expect_right(made, target, {});
    }
}

TYPED_TEST(Merge, WritesLseOfAnyStrides) {
  for (const Layout& layout : layouts) {
    SCOPED_TRACE(layout.name);
    const std::vector<Part> made = this->parts(3);
    Part target = this->target(this->any_type(), layout);
    this->expect_right(made, target, {});
  }
}

TYPED_TEST(Merge, TakesAndGivesEitherBaseAndEmptyValue) {
  for (const LseBase base : {LseBase::natural, LseBase::two})
    for (const EmptyLse empty : {EmptyLse::plus_infinity, EmptyLse::minus_infinity}) {
      SCOPED_TRACE(::testing::Message() << name_of(base) << ", " << name_of(empty));
      const std::vector<Part> made = this->parts(4, base);
      Part target = this->target(this->any_type());
      this->expect_right(made, target, {.lse_base = base, .empty_lse = empty});
    }
}

// Sinks are natural whatever the base.
TYPED_TEST(Merge, AppliesTheSinkOnceAndNotToLse) {
  for (const LseBase base : {LseBase::natural, LseBase::two}) {
    const std::vector<Part> made = this->parts(3, base);
    Part target = this->target(this->any_type());
    this->expect_right(made, target, {.lse_base = base}, {203, -infinity, infinity, 190, 205});
  }
}

TYPED_TEST(Merge, MayWriteOverAPart) {
  for (const std::size_t over : {0, 2}) {
    std::vector<Part> made = this->parts(3);
    this->expect_right(made, made[over], {});
  }
}

// A part with a finite lse may have the weight 0. Its out must not count then.
TYPED_TEST(Merge, ReadsNoPartThatWeighsNothing) {
  for (const LseBase base : {LseBase::natural, LseBase::two}) {
    std::vector<Part> made = this->parts(3, base);
    for (std::int64_t row = 0; row < rows; ++row) {
      const float lse = this->random_.pick({-3e38f, -1e4f, 0.0f, 20.0f});
      this->empty(made[0], row, row % 3 == 0 ? 300.0f : lse);
      if (row % 3 == 0)
        std::fill_n(made[0].out.begin() + row * v_dim, v_dim, 0.5f);
    }
    made[0].upload();
    for (int i = 1; i < 3; ++i) {
      std::ranges::fill(made[static_cast<std::size_t>(i)].lse, 200.0f + static_cast<float>(i));
      support::fill_normal(made[static_cast<std::size_t>(i)].out, this->random_.next());
      made[static_cast<std::size_t>(i)].upload();
    }
    Part target = this->target(this->any_type());
    this->expect_right(made, target, {.lse_base = base});
  }
}

TYPED_TEST(Merge, CarriesNanOfAPartThatWeighsSomething) {
  std::vector<Part> made = this->parts(2);
  std::ranges::fill(made[0].lse, 200.0f);
  std::ranges::fill(made[0].out, std::nanf(""));
  made[0].upload();
  Part target = this->target(DType::bf16);
  const std::vector<PartialResult> views = {made[0].view(), made[1].view()};
  merge(views, {}, {.out = target.view().out, .lse = target.view().lse});
  this->memory_->wait();
  target.download();
  for (const float value : target.out)
    ASSERT_TRUE(std::isnan(value));
}

}  // namespace
}  // namespace flashmla::backends
