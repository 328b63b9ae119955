#include "tools/machine.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <fstream>

#include "flashmla/backends.h"
#include "tools/command.h"
#include "tools/figures.h"

namespace flashmla::tools {

namespace {

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name")) {
      const std::size_t start = line.find_first_not_of(" \t", line.find(':') + 1);
      return start == std::string::npos ? "unknown" : line.substr(start);
    }
  return "unknown";
}

std::string system_name() {
  utsname names{};
  if (::uname(&names) != 0)
    return "unknown";
  return fmt::format("{} {} {}", names.sysname, names.release, names.machine);
}

std::size_t positive(long value) {
  return value > 0 ? static_cast<std::size_t>(value) : 0;
}

}  // namespace

Machine this_machine() {
  return {.processor = processor_name(),
          .system = system_name(),
          .threads = cpu_threads(),
          .cache_bytes = std::max(positive(::sysconf(_SC_LEVEL2_CACHE_SIZE)),
                                  positive(::sysconf(_SC_LEVEL3_CACHE_SIZE))),
          .memory_bytes = positive(::sysconf(_SC_PHYS_PAGES)) * positive(::sysconf(_SC_PAGESIZE))};
}

void demand_memory(std::string_view options, double bytes) {
  const auto there = static_cast<double>(this_machine().memory_bytes);
  if (there > 0 && bytes > there)
    throw BadInput(fmt::format("{}: given what needs {} of memory, wanted at most the machine's {}",
                               options, bytes_text(bytes), bytes_text(there)));
}

std::string utc_time() {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
}

}  // namespace flashmla::tools
