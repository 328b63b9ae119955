// Which machine a measurement was made on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace flashmla::tools {

struct Machine {
  std::string processor;  // "Intel(R) Xeon(R) Processor"; "unknown" where the system does not say
  std::string system;     // "Linux 6.1.0 x86_64"
  int threads = 0;        // that the CPU backend uses
  std::size_t cache_bytes = 0;   // of the last-level cache; 0 where the system does not say
  std::size_t memory_bytes = 0;  // physical
};

Machine this_machine();

// Throws BadInput naming the options when so many bytes exceed the physical memory: on most systems
// an allocation that large succeeds, and its first use ends the process.
void demand_memory(std::string_view options, double bytes);

// "2026-01-31T12:34:56Z", now.
std::string utc_time();

}  // namespace flashmla::tools
