// Request traces as services publish them: one record for each request.
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
  std::size_t out_of_order = 0;   // records whose arrival lies before that of the one above
};

// CSV (RFC 4180) with a header: the columns arrival_s, context_tokens and generated_tokens, or
// TIMESTAMP, ContextTokens and GeneratedTokens as the Azure traces have them ("2023-11-16
// 18:15:46.6805900", counted from the earliest), in any order; others are ignored. Or JSON lines
// with timestamp (milliseconds), input_length and output_length, as the Mooncake traces have them.
// Lines end with LF or CRLF; empty lines are skipped. `name` stands for the file in messages.
// Throws BadInput with one line that names file, line, what was given and what is wanted.
Trace parse_trace(std::string_view text, std::string_view name);

// Reads a trace from a file, or from standard input where the path is "-". Either may be compressed
// by gzip. Throws BadInput where it cannot be read.
Trace read_trace(const std::string& path);

}  // namespace flashmla::tools
