#include "support/random.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "support/multiversion.h"

namespace flashmla::support {

namespace {

// Positions are numbered within chunks of this size, so that 32-bit arithmetic suffices inside one.
constexpr std::size_t chunk_size = std::size_t{1} << 20;

constexpr double sum_mean = 2.0 * 65535;
// Variance of a uniform 16-bit number is (2³² − 1) / 12; the root of four times that.
constexpr double sum_deviation = 37837.2276;

FLASHMLA_SUPPORT_MULTIVERSION
void fill_chunk(float* out, std::uint32_t count, std::uint32_t low, std::uint32_t high) {
  constexpr auto mean = static_cast<std::int32_t>(sum_mean);
  constexpr auto scale = static_cast<float>(1.0 / sum_deviation);
  for (std::uint32_t i = 0; i < count; ++i) {
    std::uint32_t x = i ^ low;
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x += high;
    x *= 0x846ca68bu;
    x ^= x >> 16;
    std::uint32_t y = x * 0x9e3779b1u;
    y ^= y >> 15;
    y *= 0xc2b2ae35u;
    y ^= y >> 16;
    const std::uint32_t sum = (x & 0xffff) + (x >> 16) + (y & 0xffff) + (y >> 16);
    out[i] = static_cast<float>(static_cast<std::int32_t>(sum) - mean) * scale;
  }
}

}  // namespace

void fill_normal(std::span<float> out, std::uint64_t key) {
  for (std::size_t first = 0; first < out.size(); first += chunk_size) {
    const std::uint64_t chunk_key = key_of(key, first / chunk_size);
    fill_chunk(out.data() + first,
               static_cast<std::uint32_t>(std::min(chunk_size, out.size() - first)),
               static_cast<std::uint32_t>(chunk_key), static_cast<std::uint32_t>(chunk_key >> 32));
  }
}

std::int64_t Random::log_between(std::int64_t low, std::int64_t high) {
  const double ratio = static_cast<double>(high + 1) / static_cast<double>(low);
  const double value = static_cast<double>(low) * std::pow(ratio, unit());
  return std::clamp(static_cast<std::int64_t>(value), low, high);
}

std::uint64_t fresh_seed() {
  std::random_device device;
  return 1 + device() % 1'000'000'000u;
}

}  // namespace flashmla::support
