#include "flashmla/error.h"

#include <utility>

namespace flashmla {

Error::Error(ErrorCode code, std::string argument, std::string given, std::string wanted)
    : std::runtime_error(argument + ": given " + given + ", wanted " + wanted),
      code_(code),
      argument_(std::move(argument)),
      given_(std::move(given)),
      wanted_(std::move(wanted)) {}

}  // namespace flashmla
