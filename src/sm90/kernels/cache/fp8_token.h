// Quantising a row into the token of an FP8 cache, and dequantising it. A warp does it.
#pragma once

#include "flashmla/kv_format.h"
#include "sm90/kernels/cache/access.h"
#include "sm90/kernels/cache/place.h"
#include "sm90/ops/fp8_codec.h"

namespace flashmla::sm90::cache {

// How a format stores the scale of a tile. `byte` is the scale as e8m0.
template <class Access>
struct Fp32Scales {
  static FLASHMLA_DEVICE void store(std::byte* scales, int tile, std::uint32_t byte) {
    Access::store_word(scales + 4 * tile, ops::power_of_two_bits(byte));
  }
  static FLASHMLA_DEVICE float load(const std::byte* scales, int tile) {
    return __uint_as_float(Access::load_word(scales + 4 * tile));
  }
  static FLASHMLA_DEVICE void store_padding(std::byte* /*scales*/) {}
};

template <class Access>
struct E8m0Scales {
  static FLASHMLA_DEVICE void store(std::byte* scales, int tile, std::uint32_t byte) {
    scales[tile] = static_cast<std::byte>(byte);
  }
  static FLASHMLA_DEVICE float load(const std::byte* scales, int tile) {
    return __uint_as_float(ops::e8m0_bits(static_cast<std::uint32_t>(scales[tile])));
  }
  static FLASHMLA_DEVICE void store_padding(std::byte* scales) {
    scales[V4Layout::tiles] = std::byte{0};
  }
};

// A row has units of eight elements, and lane l has the units l, l + 32, … The units of a tile lie
// in neighbouring lanes.
template <class Layout, class Scales, class Access>
class Fp8Token {
 public:
  static FLASHMLA_DEVICE void write(const Params& /*p*/, const std::byte* row,
                                    const CachedToken& token, int lane) {
    uint4 elements[passes]{};
#pragma unroll
    for (int i = 0; i < passes; ++i)
      if (const int unit = lane + 32 * i; unit < units)
        elements[i] = Access::load_elements(row + unit_bytes * unit);
#pragma unroll
    for (int i = 0; i < passes; ++i)
      write_units(elements[i], 32 * i, lane, token);
  }

  static FLASHMLA_DEVICE void read(const Params& /*p*/, const CachedToken& token, std::byte* row,
                                   int lane) {
    uint4 loaded[passes];  // of the latent part: eight codes and a scale
#pragma unroll
    for (int i = 0; i < passes; ++i)
      loaded[i] = load_unit(token, lane + 32 * i);
#pragma unroll
    for (int i = 0; i < passes; ++i) {
      const int unit = lane + 32 * i;
      if (unit < latent_units)
        loaded[i] = ops::dequantise({loaded[i].x, loaded[i].y}, __uint_as_float(loaded[i].z));
      if (unit < units)
        Access::store_elements(row + unit_bytes * unit, loaded[i]);
    }
  }

  static FLASHMLA_DEVICE void clear(const Params& /*p*/, std::byte* row, int lane) {
#pragma unroll
    for (int i = 0; i < passes; ++i)
      if (const int unit = lane + 32 * i; unit < units)
        Access::store_elements(row + unit_bytes * unit, {});
  }

 private:
  static constexpr int unit_bytes = 16;  // of bf16; half as many codes
  static constexpr int units = Layout::qk_dim / 8;
  static constexpr int latent_units = Layout::latent_elements / 8;
  static constexpr int tile_units = Layout::tile_elements / 8;
  static constexpr int passes = (units + 31) / 32;
  static_assert(32 % tile_units == 0 && latent_units % tile_units == 0);

  static FLASHMLA_DEVICE std::byte* rotary_of(const CachedToken& token, int unit) {
    return token.row + Layout::rotary_offset + unit_bytes * (unit - latent_units);
  }

  // The largest magnitude of a tile. All lanes call this together.
  static FLASHMLA_DEVICE std::uint32_t largest_of_tile(const uint4& elements) {
    std::uint32_t largest = ops::largest_magnitude(elements);
#pragma unroll
    for (int step = tile_units / 2; step > 0; step /= 2)
      largest = max(largest, __shfl_xor_sync(0xffffffffu, largest, step));
    return largest;
  }

  // Lane l writes unit `first` + l. All lanes call this together.
  static FLASHMLA_DEVICE void write_units(const uint4& elements, int first, int lane,
                                          const CachedToken& token) {
    const int unit = first + lane;
    const std::uint32_t largest = first < latent_units ? largest_of_tile(elements) : 0;
    if (unit < latent_units) {
      const std::uint32_t scale = ops::scale_byte(largest);
      Access::store_bytes(token.row + 8 * unit,
                          ops::quantise(elements, __uint_as_float(ops::reciprocal_bits(scale))));
      if (unit % tile_units == 0)
        Scales::store(token.scales, unit / tile_units, scale);
    } else if (unit < units) {
      Access::store_bytes(rotary_of(token, unit), {elements.x, elements.y});
      Access::store_bytes(rotary_of(token, unit) + 8, {elements.z, elements.w});
      if (unit == latent_units)
        Scales::store_padding(token.scales);
    }
  }

  // Eight rotary elements; or eight codes and their scale.
  static FLASHMLA_DEVICE uint4 load_unit(const CachedToken& token, int unit) {
    if (unit < latent_units) {
      const uint2 codes = Access::load_bytes(token.row + 8 * unit);
      return {codes.x, codes.y, __float_as_uint(Scales::load(token.scales, unit / tile_units)), 0};
    }
    if (unit >= units)
      return {};
    const uint2 low = Access::load_bytes(rotary_of(token, unit));
    const uint2 high = Access::load_bytes(rotary_of(token, unit) + 8);
    return {low.x, low.y, high.x, high.y};
  }
};

template <bool wide>
using V32Token = Fp8Token<V32Layout, Fp32Scales<Access<wide>>, Access<wide>>;
template <bool wide>
using V4Token = Fp8Token<V4Layout, E8m0Scales<Access<wide>>, Access<wide>>;

}  // namespace flashmla::sm90::cache
