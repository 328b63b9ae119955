// The border of the C API: no exception crosses it, and what was wrong is kept for the thread.
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

// The error as the C function's caller knows its argument.
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
    return keep_error(FLASHMLA_OUT_OF_MEMORY, "a size that memory does not suffice for");
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

// What a caller's pointer points to.
template <class T>
T& given(const char* argument, T* pointer) {
  if (pointer == nullptr)
    reject(argument, "a null pointer", "one to what is to be read or written");
  return *pointer;
}

}  // namespace flashmla::api
