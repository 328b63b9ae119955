#include "support/random.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "support/multiversion.h"
#include "support/normal_number.h"

namespace flashmla::support {

namespace {

FLASHMLA_SUPPORT_MULTIVERSION
void fill_chunk(float* out, std::uint32_t count, std::uint32_t low, std::uint32_t high) {
  for (std::uint32_t i = 0; i < count; ++i)
    out[i] = normal_number(i, low, high);
}

}  // namespace

void fill_normal(std::span<float> out, std::uint64_t key) {
  for (std::size_t first = 0; first < out.size(); first += normal_chunk) {
    const std::uint64_t chunk_key = normal_chunk_key(key, first / normal_chunk);
    fill_chunk(out.data() + first,
               static_cast<std::uint32_t>(std::min(normal_chunk, out.size() - first)),
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
