#include "support/cached_row.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "support/fp8.h"
#include "support/guarded_tensor.h"
#include "support/numeric.h"
#include "support/random.h"

namespace flashmla::support {

namespace {

ScaleRule rule_of(const SparseCase& c) {
  if (!c.other_scales)
    return ScaleRule::power_of_two;
  return c.format == KvFormat::v32 ? ScaleRule::exact : ScaleRule::power_of_two_floor;
}

void multiply(std::span<std::uint16_t> row, int magnitude) {
  for (std::uint16_t& bits : row)
    bits = float_to_bf16(std::ldexp(bf16_to_float(bits), magnitude));
}

std::uint8_t finite_code(Random& random) {
  return static_cast<std::uint8_t>(random.between(0, 0x7e) | random.pick({0, 0x80}));
}

// Scales that no quantiser writes, and numbers that stay of unit scale or come to nothing. A scale
// of v4 is a power of two from 2^−127 to 2^127; one of v32 is any finite number.
class HostileTile {
 public:
  HostileTile(KvFormat format, Random& random) : any_scale_(format == KvFormat::v32) {
    switch (random.between(0, 7)) {
      case 0:
        kind_ = any_scale_ ? tiny : coarse;  // 0 itself
        scale_ = any_scale_ ? 0.0f : 128.0f;
        break;
      case 1:  // the smallest scales
        kind_ = tiny;
        scale_ = any_scale_ ? std::ldexp(static_cast<float>(random.between(1, 1 << 22)), -149)
                            : 0x1p-127f;
        break;
      case 2:
        kind_ = coarse;
        scale_ = any_scale_ ? 128 + 128 * static_cast<float>(random.unit()) : 256.0f;
        break;
      case 3:
        kind_ = zeros;
        scale_ = std::ldexp(1.0f, static_cast<int>(random.between(100, 127)));
        break;
      case 4:
        kind_ = any_scale_ ? coarse : as_written;
        scale_ = 0.0078125f * static_cast<float>(1 + random.unit());
        break;
      default:
        return;
    }
    if (any_scale_ && random.chance(0.5))
      scale_ = -scale_;
  }

  void apply(std::span<const std::uint16_t> numbers, std::span<std::uint8_t> codes, float& scale,
             Random& random) const {
    if (kind_ == as_written)
      return;
    scale = scale_;
    for (std::size_t i = 0; i < codes.size(); ++i)
      codes[i] = kind_ == coarse  ? float_to_e4m3(bf16_to_float(numbers[i]) / scale)
                 : kind_ == zeros ? random.pick<std::uint8_t>({0, 0x80})
                                  : finite_code(random);
  }

 private:
  // Left alone; quantised by another scale; any codes under a scale of about nothing; zeros under a
  // huge scale.
  enum Kind { as_written, coarse, tiny, zeros };

  bool any_scale_;
  Kind kind_ = as_written;
  float scale_ = 1;
};

void make_hostile(KvFormat format, std::span<const std::uint16_t> numbers, Fp8Token& token,
                  Random& random) {
  const std::size_t tile = token.latent.size() / token.scales.size();
  for (std::size_t i = 0; i < token.scales.size(); ++i)
    HostileTile(format, random)
        .apply(numbers.subspan(i * tile, tile), std::span(token.latent).subspan(i * tile, tile),
               token.scales[i], random);
}

std::uint16_t nan_number(Random& random) {
  return random.pick<std::uint16_t>({0x7fc0, 0xffc0, 0xffff});
}

std::size_t any_place(std::size_t size, Random& random) {
  return static_cast<std::size_t>(random.between(0, static_cast<std::int64_t>(size) - 1));
}

void put_nan(KvFormat format, Fp8Token& token, Random& random) {
  if (random.chance(0.2))
    token.rotary[any_place(token.rotary.size(), random)] = nan_number(random);
  else if (format == KvFormat::v4 && random.chance(0.4))
    token.scales[any_place(token.scales.size(), random)] =
        std::numeric_limits<float>::quiet_NaN();  // byte 255
  else
    token.latent[any_place(token.latent.size(), random)] = random.pick<std::uint8_t>({0x7f, 0xff});
}

}  // namespace

void write_cached_row(const SparseCase& c, std::uint64_t key, bool nan, const RowPlace& place) {
  Random random(key_of(key, 1));
  std::vector<std::uint16_t> row(static_cast<std::size_t>(c.qk_dim));
  write_row(DType::bf16, key, row, {c.common, key_of(c.seed, -1)});
  if (is_plain(c.format)) {
    if (c.magnitude != 0)
      multiply(row, c.magnitude);
    if (nan)
      row[any_place(row.size(), random)] = nan_number(random);
    std::ranges::copy(
        row, reinterpret_cast<std::uint16_t*>(place.page) + place.index * place.row_stride);
    return;
  }
  Fp8Token token = quantise_token(c.format, row, rule_of(c));
  if (c.hostile_scales)
    make_hostile(c.format, row, token, random);
  if (c.magnitude != 0) {
    for (float& scale : token.scales)
      scale = std::ldexp(scale, c.magnitude);
    multiply(token.rotary, c.magnitude);
  }
  if (nan)
    put_nan(c.format, token, random);
  store_token(c.format, token, place.index, place.page_size, place.page);
}

}  // namespace flashmla::support
