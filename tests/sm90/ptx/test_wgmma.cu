// Products of a warpgroup in every shape and form of operands that wgmma.h has, beside products in
// float64.
#include "sm90/ptx/wgmma.h"

#include <cmath>

#include "sm90/ptx/warpgroup.h"
#include "sm90/tile/gmma_descriptor.h"
#include "tests/sm90/drawn.h"
#include "tests/sm90/fragments.h"
#include "tests/sm90/on_device.h"

namespace flashmla::sm90::ptx {

namespace {

using test::Memory;

constexpr int rows = 64;
constexpr int depth = 64;  // four instructions of 16
constexpr std::uint32_t chunk_bytes = 64 * tile::row_bytes;
constexpr int threads = 128;

// How an operand is given. `along`: the dimension that is summed over lies along the rows of shared
// memory (K-major); `across`: it lies across them (transposed).
enum class Operand { along, across, registers };

template <class Type, int Columns, Operand A, Operand B>
struct Form {
  using T = Type;
  static constexpr int columns = Columns;
  static constexpr Operand a = A;
  static constexpr Operand b = B;
};

// The function of wgmma.h that takes operands of this form.
template <class F>
FLASHMLA_DEVICE void multiply(float (&d)[F::columns / 2], const std::uint32_t (&a_registers)[4],
                              std::uint64_t a, std::uint64_t b, int accumulate) {
  using T = typename F::T;
  if constexpr (F::columns == 256 && F::a == Operand::registers)
    wgmma_n256_rt<T>(d, a_registers, b, accumulate);
  else if constexpr (F::columns == 256)
    wgmma_n256_st<T>(d, a, b, accumulate);
  else if constexpr (F::columns == 128 && F::a == Operand::registers)
    wgmma_n128_rt<T>(d, a_registers, b, accumulate);
  else if constexpr (F::columns == 128)
    wgmma_n128_st<T>(d, a, b, accumulate);
  else if constexpr (F::columns == 64 && F::a == Operand::registers)
    wgmma_n64_rs<T>(d, a_registers, b, accumulate);
  else if constexpr (F::columns == 64)
    wgmma_n64_ss<T>(d, a, b, accumulate);
  else if constexpr (F::columns == 32 && F::a == Operand::across)
    wgmma_n32_ts<T>(d, a, b, accumulate);
  else if constexpr (F::columns == 32)
    wgmma_n32_ss<T>(d, a, b, accumulate);
  else if constexpr (F::a == Operand::registers)
    wgmma_n16_rs<T>(d, a_registers, b, accumulate);
  else if constexpr (F::a == Operand::across)
    wgmma_n16_ts<T>(d, a, b, accumulate);
  else
    wgmma_n16_ss<T>(d, a, b, accumulate);
}

// D = 2 · A · Bᵀ by two passes: the first instruction overwrites D, which holds NaN, and all others
// add to it.
template <class F>
struct Product {
  const std::uint16_t* a;  // [rows][depth]
  const std::uint16_t* b;  // [columns][depth]
  float* d;                // [rows][columns]

  FLASHMLA_DEVICE void operator()(const test::Shared& shared) const {
    const int thread = static_cast<int>(threadIdx.x);
    store<F::a>(shared.bytes, a, rows);
    store<F::b>(shared.bytes + chunk_bytes, b, F::columns);
    fence_async_proxy();
    __syncthreads();
    const std::uint64_t a_begin = descriptor<F::a>(shared.address);
    const std::uint64_t b_begin = descriptor<F::b>(shared.address + chunk_bytes);

    std::uint32_t a_registers[depth / 16][4];
    for (int k = 0; k < depth / 16; ++k)
      for (int i = 0; i < 4; ++i) {
        const std::uint16_t* const row = a + test::row_of_a(thread, i) * depth + 16 * k;
        a_registers[k][i] = row[test::column_of_a(thread, i, 0)] |
                            static_cast<std::uint32_t>(row[test::column_of_a(thread, i, 1)]) << 16;
      }
    float sums[F::columns / 2];
#pragma unroll
    for (float& sum : sums)
      sum = __int_as_float(0x7fffffff);

    pin(sums);
    pin_matrix(a_registers);
    wgmma_fence();
#pragma unroll
    for (int i = 0; i < 2 * depth / 16; ++i) {
      const int k = i % (depth / 16);
      multiply<F>(sums, a_registers[k], a_begin + k * step<F::a>(), b_begin + k * step<F::b>(),
                  i > 0);
    }
    wgmma_commit();
    wgmma_wait<0>();
    pin(sums);

#pragma unroll
    for (int i = 0; i < F::columns / 2; ++i)
      d[test::row_of_d(thread, i) * F::columns + test::column_of_d(thread, i)] = sums[i];
  }

 private:
  // Writes an operand of `count` rows to swizzled chunks.
  template <Operand Kind>
  static FLASHMLA_DEVICE void store(std::uint8_t* target, const std::uint16_t* source, int count) {
    for (int i = static_cast<int>(threadIdx.x); i < count * depth; i += threads) {
      const int row = Kind == Operand::across ? i % depth : i / depth;
      const int column = Kind == Operand::across ? i / depth : i % depth;
      const std::uint32_t offset =
          column / 64 * chunk_bytes + tile::swizzled(row, column % 64 / 8) + column % 8 * 2;
      *reinterpret_cast<std::uint16_t*>(target + offset) = source[i];
    }
  }

  template <Operand Kind>
  static FLASHMLA_DEVICE std::uint64_t descriptor(std::uint32_t address) {
    return Kind == Operand::across ? tile::transposed(address, chunk_bytes)
                                   : tile::k_major(address);
  }

  // Between the descriptors of 16 numbers of the dimension that is summed over and the next 16.
  template <Operand Kind>
  static FLASHMLA_DEVICE std::uint64_t step() {
    return Kind == Operand::across ? tile::transposed_step : tile::k_major_step;
  }
};

template <class F>
class Wgmma : public test::DeviceTest {};

constexpr Operand along = Operand::along;
constexpr Operand across = Operand::across;
constexpr Operand registers = Operand::registers;
using Bf16 = __nv_bfloat16;
using Forms =
    testing::Types<Form<Bf16, 16, along, along>, Form<__half, 16, along, along>,
                   Form<Bf16, 32, along, along>, Form<__half, 32, along, along>,
                   Form<Bf16, 64, along, along>, Form<__half, 64, along, along>,
                   Form<Bf16, 64, registers, along>, Form<__half, 64, registers, along>,
                   Form<Bf16, 16, registers, along>, Form<__half, 16, registers, along>,
                   Form<Bf16, 16, across, along>, Form<__half, 16, across, along>,
                   Form<Bf16, 32, across, along>, Form<__half, 32, across, along>,
                   Form<Bf16, 128, along, across>, Form<__half, 128, along, across>,
                   Form<Bf16, 128, registers, across>, Form<__half, 128, registers, across>,
                   Form<Bf16, 256, along, across>, Form<__half, 256, along, across>,
                   Form<Bf16, 256, registers, across>, Form<__half, 256, registers, across>>;

struct FormNames {
  template <class F>
  static std::string GetName(int) {
    const std::string type = std::is_same_v<typename F::T, Bf16> ? "bf16" : "fp16";
    return type + "_n" + std::to_string(F::columns) + letter(F::a) + letter(F::b);
  }
  static std::string letter(Operand kind) {
    return kind == along ? "_along" : kind == across ? "_across" : "_registers";
  }
};

TYPED_TEST_SUITE(Wgmma, Forms, FormNames);

TYPED_TEST(Wgmma, OverwritesAndThenAddsTheProduct) {
  using T = typename TypeParam::T;
  constexpr int columns = TypeParam::columns;
  const std::uint64_t seed = support::fresh_seed();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  const auto a_bits = test::drawn<T>(rows * depth, 0.5f, support::key_of(seed, 0));
  const auto b_bits = test::drawn<T>(columns * depth, -0.25f, support::key_of(seed, 1));
  Memory<std::uint16_t> a(a_bits);
  Memory<std::uint16_t> b(b_bits);
  Memory<float> d(rows * columns);
  test::run_blocks({.threads = threads, .shared_bytes = 5 * chunk_bytes},
                   Product<TypeParam>{a.data(), b.data(), d.data()});

  const std::vector<float> got = d.read();
  const std::vector<float> a_values = test::decoded<T>(a_bits);
  const std::vector<float> b_values = test::decoded<T>(b_bits);
  for (int row = 0; row < rows; ++row)
    for (int column = 0; column < columns; ++column) {
      double sum = 0;
      double magnitude = 0;
      for (int k = 0; k < depth; ++k) {
        const double term =
            2.0 * a_values[row * depth + k] * static_cast<double>(b_values[column * depth + k]);
        sum += term;
        magnitude += std::abs(term);
      }
      // NOTE: the tensor cores add in fp32 and cut digits off.
      ASSERT_NEAR(got[row * columns + column], sum, 0x1p-18 * magnitude)
          << "row " << row << ", column " << column;
    }
}

}  // namespace

}  // namespace flashmla::sm90::ptx
