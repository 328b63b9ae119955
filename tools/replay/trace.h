// Request traces: CSV files with a header line and one line for each request of a service.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace flashmla::tools {

struct Request {
  double arrival = 0;          // seconds; ≥ 0 and finite
  std::int32_t context = 0;    // prompt tokens
  std::int32_t generated = 0;  // tokens to generate; context + generated ≤ 2³¹ − 1
};

struct Trace {
  std::vector<Request> requests;  // by arrival; equal arrivals in the order of the file
  std::size_t out_of_order = 0;   // lines whose arrival lies before that of the line above
};

// Columns arrival_s, context_tokens and generated_tokens in any order; others are ignored. Lines
// end with LF or CRLF; empty lines are skipped. `name` stands for the file in messages. Throws
// BadInput with one line that names file, line, what was given and what is wanted.
Trace parse_trace(std::string_view text, std::string_view name);

// The same from a file. Throws BadInput where it cannot be read.
Trace read_trace(const std::string& path);

}  // namespace flashmla::tools
