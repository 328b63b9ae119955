#include "backends/cpu/fp8_token.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/numeric.h"

namespace flashmla::backends::cpu {

namespace {

// How a format stores the scale of a tile.
struct Fp32Scales {
  static void store(float scale, std::int64_t tile, std::byte* scales) {
    std::memcpy(scales + 4 * tile, &scale, 4);
  }
  static float load(const std::byte* scales, std::int64_t tile) {
    float scale;
    std::memcpy(&scale, scales + 4 * tile, 4);
    return scale;
  }
};

struct E8m0Scales {
  static void store(float scale, std::int64_t tile, std::byte* scales) {
    scales[tile] = static_cast<std::byte>(std::ilogb(scale) + 127);
  }
  static float load(const std::byte* scales, std::int64_t tile) {
    return e8m0_to_float(static_cast<std::uint8_t>(scales[tile]));
  }
};

template <class Layout, class Scales>
void quantise(const std::uint16_t* elements, const CachedToken& token) {
  for (std::int64_t tile = 0; tile < Layout::tiles; ++tile) {
    const std::int64_t first = tile * Layout::tile_elements;
    const float scale = tile_scale(elements + first, Layout::tile_elements);
    Scales::store(scale, tile, token.scales);
    for (std::int64_t i = first; i < first + Layout::tile_elements; ++i)
      token.row[i] = static_cast<std::byte>(float_to_e4m3(bf16_to_float(elements[i]) / scale));
  }
  std::memcpy(token.row + Layout::rotary_offset, elements + Layout::latent_elements, rotary_bytes);
}

template <class Layout, class Scales>
void dequantise(const CachedToken& token, std::uint16_t* elements) {
  for (std::int64_t i = 0; i < Layout::latent_elements; ++i) {
    const float value = e4m3_to_float(static_cast<std::uint8_t>(token.row[i]));
    elements[i] = float_to_bf16(value * Scales::load(token.scales, i / Layout::tile_elements));
  }
  std::memcpy(elements + Layout::latent_elements, token.row + Layout::rotary_offset, rotary_bytes);
}

}  // namespace

float tile_scale(const std::uint16_t* elements, std::int64_t count) {
  float largest = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const float magnitude = std::fabs(bf16_to_float(elements[i]));
    largest = std::isfinite(magnitude) ? std::max(largest, magnitude) : largest;
  }
  int exponent = 0;
  const float mantissa = std::frexp(std::max(largest / largest_e4m3, 1e-4f), &exponent);
  return std::ldexp(1.0f, mantissa == 0.5f ? exponent - 1 : exponent);
}

void quantise_token(KvFormat format, const std::uint16_t* elements, const CachedToken& token) {
  if (format == KvFormat::v32)
    return quantise<V32Layout, Fp32Scales>(elements, token);
  quantise<V4Layout, E8m0Scales>(elements, token);
  token.scales[V4Layout::tiles] = std::byte{0};
}

void dequantise_token(KvFormat format, const CachedToken& token, std::uint16_t* elements) {
  if (format == KvFormat::v32)
    return dequantise<V32Layout, Fp32Scales>(token, elements);
  dequantise<V4Layout, E8m0Scales>(token, elements);
}

}  // namespace flashmla::backends::cpu
