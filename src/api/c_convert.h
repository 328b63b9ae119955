// Conversions between structs of the C API and values of the C++ API. They throw Error naming the
// argument.
#pragma once

#include <cstring>
#include <string>
#include <string_view>

#include "api/c_error.h"
#include "flashmla/c_api.h"
#include "flashmla/decode.h"

namespace flashmla::api {

inline constexpr std::size_t max_struct_bytes = 4096;

// Throws Error where no version of a struct can have this struct_size. `known` is the size in this
// version; later versions are longer.
void check_struct_size(const char* argument, std::size_t size, std::size_t known);

// The fields of a struct that this version knows. Further fields of a newer caller must be zero.
template <class Struct>
Struct read_struct(const char* argument, const Struct* pointer) {
  const std::size_t size = given(argument, pointer).struct_size;
  check_struct_size(argument, size, sizeof(Struct));
  const auto* bytes = reinterpret_cast<const unsigned char*>(pointer);
  for (std::size_t i = sizeof(Struct); i < size; ++i)
    if (bytes[i] != 0)
      reject(argument, text("a struct of ", size, " bytes that uses fields of a newer version"),
             text("zeros behind the first ", sizeof(Struct), " bytes"));
  return *pointer;
}

// Writes the struct. Further fields of a newer caller become zero.
template <class Struct>
void write_struct(const char* argument, Struct* pointer, std::size_t size, Struct value) {
  check_struct_size(argument, size, sizeof(Struct));
  given(argument, pointer);
  value.struct_size = size;
  std::memset(static_cast<void*>(pointer), 0, size);
  *pointer = value;
}

Problem problem_of(const flashmla_problem* problem);
flashmla_problem problem_of(const Problem& problem);

// A null pointer gives a view that is not given.
TensorView tensor_of(const char* argument, const flashmla_tensor* tensor);

Inputs inputs_of(const flashmla_inputs* inputs);
Outputs outputs_of(const flashmla_outputs* outputs);

KvFormat format_of(std::int32_t format);

// Writes at most capacity − 1 bytes of `value` and a final zero. *length becomes the full length.
void write_text(std::string_view value, char* text, std::size_t capacity, std::size_t* length);

}  // namespace flashmla::api
