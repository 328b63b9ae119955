#include "support/fp8.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "support/numeric.h"

namespace flashmla::support {

namespace {

constexpr int codes = 127;  // magnitudes 0x00 … 0x7e; 0x7f is NaN

// The magnitudes of e4m3, ascending.
std::array<float, codes> make_magnitudes() {
  std::array<float, codes> magnitudes{};
  for (int code = 0; code < codes; ++code) {
    const int exponent = code / 8;
    const int mantissa = code % 8;
    magnitudes[code] = static_cast<float>(exponent == 0 ? std::ldexp(mantissa, -9)
                                                        : std::ldexp(8 + mantissa, exponent - 10));
  }
  return magnitudes;
}

const std::array<float, codes>& magnitudes() {
  static const std::array<float, codes> table = make_magnitudes();
  return table;
}

// The parts of a token in bytes, as the formats' definitions list them.
struct Parts {
  std::size_t latent;
  std::size_t tile;
  std::size_t tiles() const { return latent / tile; }
};

Parts parts_of(KvFormat format) {
  return format == KvFormat::v32 ? Parts{512, 128} : Parts{448, 64};
}

struct Places {
  std::int64_t latent;
  std::int64_t scales;
  std::int64_t rotary;
};

Places places_of(KvFormat format, std::int64_t index, std::int64_t page_size) {
  if (format == KvFormat::v32)
    return {656 * index, 656 * index + 512, 656 * index + 528};
  return {576 * index, 576 * page_size + 8 * index, 576 * index + 448};
}

float scale_of(std::span<const std::uint16_t> tile, ScaleRule rule) {
  double largest = 0;
  for (const std::uint16_t bits : tile)
    if (const double value = std::abs(bf16_to_float(bits)); std::isfinite(value))
      largest = std::max(largest, value);
  if (rule == ScaleRule::exact)
    return largest == 0
               ? 0.0f
               : std::max(static_cast<float>(largest) / 448.0f, std::numeric_limits<float>::min());
  const double least = rule == ScaleRule::power_of_two ? 1e-4 : 1e-4 / 448;
  const double wanted = std::max(largest / 448, least);
  double scale = 0x1p-30;
  while (scale < wanted)
    scale *= 2;
  return static_cast<float>(scale);
}

// Of a power of two, or of NaN.
std::uint8_t float_to_e8m0(float scale) {
  return static_cast<std::uint8_t>(std::isnan(scale) ? 255 : std::lround(std::log2(scale)) + 127);
}

}  // namespace

float e4m3_to_float(std::uint8_t bits) {
  const int code = bits & 0x7f;
  const float magnitude =
      code == codes ? std::numeric_limits<float>::quiet_NaN() : magnitudes()[code];
  return std::copysign(magnitude, (bits & 0x80) != 0 ? -1.0f : 1.0f);
}

std::uint8_t float_to_e4m3(float value) {
  const int sign = std::signbit(value) ? 0x80 : 0;
  if (std::isnan(value))
    return static_cast<std::uint8_t>(sign | codes);
  const float magnitude = std::abs(value);
  const auto& table = magnitudes();
  const auto above = std::lower_bound(table.begin(), table.end(), magnitude);
  if (above == table.end())
    return static_cast<std::uint8_t>(sign | (codes - 1));
  auto code = static_cast<int>(above - table.begin());
  if (code > 0) {
    const double up = static_cast<double>(*above) - magnitude;
    const double down = static_cast<double>(magnitude) - *(above - 1);
    if (down < up || (down == up && code % 2 == 1))
      --code;
  }
  return static_cast<std::uint8_t>(sign | code);
}

float e8m0_to_float(std::uint8_t bits) {
  return bits == 255 ? std::numeric_limits<float>::quiet_NaN() : std::ldexp(1.0f, bits - 127);
}

Fp8Token quantise_token(KvFormat format, std::span<const std::uint16_t> numbers, ScaleRule rule) {
  const Parts parts = parts_of(format);
  Fp8Token token;
  for (std::size_t tile = 0; tile < parts.tiles(); ++tile) {
    const auto members = numbers.subspan(tile * parts.tile, parts.tile);
    const float scale = scale_of(members, rule);
    token.scales.push_back(scale);
    for (const std::uint16_t bits : members)
      token.latent.push_back(scale == 0 ? 0 : float_to_e4m3(bf16_to_float(bits) / scale));
  }
  const auto rotary = numbers.subspan(parts.latent);
  token.rotary.assign(rotary.begin(), rotary.end());
  return token;
}

std::vector<std::uint16_t> dequantise_token(const Fp8Token& token) {
  const std::size_t tile = token.latent.size() / token.scales.size();
  std::vector<std::uint16_t> numbers;
  numbers.reserve(token.latent.size() + token.rotary.size());
  for (std::size_t i = 0; i < token.latent.size(); ++i)
    numbers.push_back(float_to_bf16(e4m3_to_float(token.latent[i]) * token.scales[i / tile]));
  numbers.insert(numbers.end(), token.rotary.begin(), token.rotary.end());
  return numbers;
}

std::vector<float> products_of(const Fp8Token& token) {
  const std::size_t tile = token.latent.size() / token.scales.size();
  std::vector<float> numbers;
  numbers.reserve(token.latent.size() + token.rotary.size());
  for (std::size_t i = 0; i < token.latent.size(); ++i)
    numbers.push_back(e4m3_to_float(token.latent[i]) * token.scales[i / tile]);
  for (const std::uint16_t bits : token.rotary)
    numbers.push_back(bf16_to_float(bits));
  return numbers;
}

void store_token(KvFormat format, const Fp8Token& token, std::int64_t index, std::int64_t page_size,
                 std::byte* page) {
  const Places places = places_of(format, index, page_size);
  std::memcpy(page + places.latent, token.latent.data(), token.latent.size());
  std::memcpy(page + places.rotary, token.rotary.data(), 2 * token.rotary.size());
  if (format == KvFormat::v32) {
    std::memcpy(page + places.scales, token.scales.data(), 4 * token.scales.size());
    return;
  }
  for (std::size_t tile = 0; tile < token.scales.size(); ++tile)
    page[places.scales + static_cast<std::int64_t>(tile)] =
        static_cast<std::byte>(float_to_e8m0(token.scales[tile]));
}

Fp8Token fetch_token(KvFormat format, std::int64_t index, std::int64_t page_size,
                     const std::byte* page) {
  const Parts parts = parts_of(format);
  const Places places = places_of(format, index, page_size);
  Fp8Token token{.latent = std::vector<std::uint8_t>(parts.latent),
                 .scales = std::vector<float>(parts.tiles()),
                 .rotary = std::vector<std::uint16_t>(64)};
  std::memcpy(token.latent.data(), page + places.latent, parts.latent);
  std::memcpy(token.rotary.data(), page + places.rotary, 128);
  if (format == KvFormat::v32) {
    std::memcpy(token.scales.data(), page + places.scales, 4 * parts.tiles());
    return token;
  }
  for (std::size_t tile = 0; tile < parts.tiles(); ++tile)
    token.scales[tile] = e8m0_to_float(
        static_cast<std::uint8_t>(page[places.scales + static_cast<std::int64_t>(tile)]));
  return token;
}

}  // namespace flashmla::support
