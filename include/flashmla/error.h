// The errors that the library throws. The library reports bad input before it starts any work. Then
// no output has been written, and all objects of the call stay usable.
#pragma once

#include <stdexcept>
#include <string>

#include "flashmla/export.h"

namespace flashmla {

enum class FLASHMLA_API ErrorCode {
  invalid_argument,  // an argument has a wrong shape, type, stride, device or value
  unsupported,       // the arguments are valid, but no backend serves this problem
  device_failure,    // a runtime or driver call failed
};

// An error says which argument is wrong, what was given and what is wanted. `what()` joins the
// three texts: "q: given shape [2, 1, 16, 512], wanted [b, s_q, h_q, 576]".
class FLASHMLA_API Error : public std::runtime_error {
 public:
  Error(ErrorCode code, std::string argument, std::string given, std::string wanted);

  ErrorCode code() const noexcept { return code_; }
  const std::string& argument() const noexcept { return argument_; }
  const std::string& given() const noexcept { return given_; }
  const std::string& wanted() const noexcept { return wanted_; }

 private:
  ErrorCode code_;
  std::string argument_;
  std::string given_;
  std::string wanted_;
};

}  // namespace flashmla
