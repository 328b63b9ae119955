#include "core/switches.h"

#include <charconv>
#include <cstdlib>
#include <string_view>

#include "core/check.h"

namespace flashmla::switches {

namespace {

std::optional<std::string> read(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0')
    return std::nullopt;
  return value;
}

}  // namespace

std::optional<std::string> backend() {
  return read("FLASHMLA_BACKEND");
}

std::optional<int> num_threads() {
  const auto value = read("FLASHMLA_NUM_THREADS");
  if (!value)
    return std::nullopt;
  int threads = 0;
  const auto [end, error] = std::from_chars(value->data(), value->data() + value->size(), threads);
  if (error != std::errc{} || end != value->data() + value->size() || threads < 1 || threads > 4096)
    reject("FLASHMLA_NUM_THREADS", *value, "a number from 1 to 4096");
  return threads;
}

std::optional<std::string> cpu_isa() {
  return read("FLASHMLA_CPU_ISA");
}

}  // namespace flashmla::switches
