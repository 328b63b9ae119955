// The errors of the C API. No exception leaves a C function. Each thread keeps its last error.
#pragma once

#include <exception>
#include <new>
#include <span>
#include <string_view>

#include "core/check.h"
#include "flashmla/c_api.h"
#include "flashmla/error.h"

namespace flashmla::api {

// A parameter of a C function that has another name in C++.
struct Renamed {
  std::string_view cpp;
  std::string_view c;
};

using Names = std::span<const Renamed>;

// Keeps an error as the last one of this thread, and returns its status. An argument in `names`
// gets the name that the C function has for it.
flashmla_status keep_error(const Error& error, Names names) noexcept;
flashmla_status keep_error(flashmla_status status, const char* given) noexcept;

// Runs a function of the C++ API and translates what it throws.
template <class Body>
flashmla_status guarded(Names names, Body body) noexcept {
  try {
    body();
    return FLASHMLA_OK;
  } catch (const Error& error) {
    return keep_error(error, names);
  } catch (const std::bad_alloc&) {
    return keep_error(FLASHMLA_OUT_OF_MEMORY, "there is not enough memory");
  } catch (const std::exception& error) {
    return keep_error(FLASHMLA_INTERNAL_ERROR, error.what());
  } catch (...) {
    return keep_error(FLASHMLA_INTERNAL_ERROR, "an unknown exception");
  }
}

template <class Body>
flashmla_status guarded(Body body) noexcept {
  return guarded({}, body);
}

// The object behind a pointer of the caller. Throws Error where the pointer is null.
template <class T>
T& given(const char* argument, T* pointer) {
  if (pointer == nullptr)
    reject(argument, "a null pointer", "a pointer to memory that is read or written");
  return *pointer;
}

}  // namespace flashmla::api
