// Takes any bytes as a trace. They are read, or they are refused with one printable line.
#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>

#include "tests/fuzz/demand.h"
#include "tools/command.h"
#include "tools/replay/trace.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace flashmla::tools;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const Trace trace = parse_trace(text, "trace.csv");
    FLASHMLA_DEMAND(!trace.requests.empty());
    FLASHMLA_DEMAND(trace.out_of_order < trace.requests.size());
    double last = 0;
    for (const Request& request : trace.requests) {
      FLASHMLA_DEMAND(std::isfinite(request.arrival) && request.arrival >= last);
      FLASHMLA_DEMAND(request.context >= 0 && request.generated >= 0);
      FLASHMLA_DEMAND(std::int64_t{request.context} + request.generated <= 2147483647);
      last = request.arrival;
    }
  } catch (const BadInput& error) {
    const std::string_view message = error.what();
    FLASHMLA_DEMAND(message.starts_with("trace.csv: "));
    FLASHMLA_DEMAND(std::ranges::none_of(message, [](char c) { return c >= 0 && c < ' '; }));
  }
  return 0;
}
