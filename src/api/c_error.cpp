#include "api/c_error.h"

#include <cstddef>

namespace flashmla::api {

namespace {

// A text of fixed capacity, so that keeping an error cannot fail. Longer texts are cut.
struct Text {
  char bytes[2048] = "";

  void set(std::string_view text) noexcept {
    length_ = 0;
    append(text);
  }
  void append(std::string_view text) noexcept {
    const std::size_t room = sizeof bytes - 1 - length_;
    length_ += text.copy(bytes + length_, room);
    bytes[length_] = '\0';
  }

 private:
  std::size_t length_ = 0;
};

struct LastError {
  Text text;
  Text argument;
  Text given;
  Text wanted;
};

thread_local LastError last_error;

flashmla_status status_of(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::invalid_argument:
      return FLASHMLA_INVALID_ARGUMENT;
    case ErrorCode::unsupported:
      return FLASHMLA_UNSUPPORTED;
    case ErrorCode::device_failure:
      return FLASHMLA_DEVICE_FAILURE;
  }
  return FLASHMLA_INTERNAL_ERROR;
}

}  // namespace

flashmla_status keep_error(const Error& error, Names names) noexcept {
  const std::string_view what = error.what();
  std::string_view argument = error.argument();
  const std::string_view behind = what.substr(argument.size());
  for (const Renamed& name : names)
    if (argument == name.cpp) {
      argument = name.c;
      break;
    }
  last_error.text.set(argument);
  last_error.text.append(behind);
  last_error.argument.set(argument);
  last_error.given.set(error.given());
  last_error.wanted.set(error.wanted());
  return status_of(error.code());
}

flashmla_status keep_error(flashmla_status status, const char* given) noexcept {
  last_error.text.set(given);
  last_error.argument.set("");
  last_error.given.set(given);
  last_error.wanted.set("");
  return status;
}

}  // namespace flashmla::api

extern "C" {

const char* flashmla_last_error() {
  return flashmla::api::last_error.text.bytes;
}

const char* flashmla_last_error_argument() {
  return flashmla::api::last_error.argument.bytes;
}

const char* flashmla_last_error_given() {
  return flashmla::api::last_error.given.bytes;
}

const char* flashmla_last_error_wanted() {
  return flashmla::api::last_error.wanted.bytes;
}

}  // extern "C"
