#include "api/c_error.h"

#include <algorithm>
#include <cstring>

namespace flashmla::api {

namespace {

// Of fixed size, so that keeping an error cannot fail; longer texts are cut.
struct Text {
  char bytes[2048] = "";

  void set(const char* text) noexcept {
    const std::size_t length = std::min(std::strlen(text), sizeof bytes - 1);
    std::memcpy(bytes, text, length);
    bytes[length] = '\0';
  }
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

flashmla_status keep_error(const Error& error) noexcept {
  last_error.text.set(error.what());
  last_error.argument.set(error.argument().c_str());
  last_error.given.set(error.given().c_str());
  last_error.wanted.set(error.wanted().c_str());
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
