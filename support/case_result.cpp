#include "support/case_result.h"

#include <cstddef>
#include <iterator>
#include <sstream>

namespace flashmla::support {

Cut CaseResult::cut_of(std::int64_t request) const {
  if (request >= std::ssize(partials) || partials[request] == 0)
    return Cut::none;
  return partials[request] == 2 ? Cut::in_two : Cut::in_more;
}

std::string text_of(const RowIndex& row) {
  std::ostringstream text;
  text << "request " << row.request << ", query token " << row.query_token << ", head " << row.head;
  return std::move(text).str();
}

void add_faults(const Errors& errors, std::vector<std::string>& faults) {
  const auto add = [&](const char* group, const GroupError& error) {
    if (error.failures == 0)
      return;
    std::ostringstream text;
    text << group << ": " << error.failures << " of " << error.count
         << " beyond the bound, the worst " << error.worst << " times";
    faults.push_back(std::move(text).str());
  };
  add("out_row", errors.out_row);
  add("lse", errors.lse);
  add("max_logit", errors.max_logit);
  add("out_tensor", errors.out_tensor);
  add("lse_tensor", errors.lse_tensor);
  add("element", errors.element);
}

}  // namespace flashmla::support
