#include "element_types.h"

#include <nanobind/stl/string.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "attributes.h"
#include "errors.h"

namespace nb = nanobind;

namespace flashmla::python {

namespace {

struct NamedType {
  std::string_view name;
  DType type;
};

constexpr std::array named_types{
    NamedType{"bfloat16", DType::bf16}, NamedType{"float16", DType::fp16},
    NamedType{"float32", DType::fp32},  NamedType{"float8_e4m3fn", DType::e4m3},
    NamedType{"uint8", DType::u8},      NamedType{"int8", DType::i8},
    NamedType{"int32", DType::i32},     NamedType{"int64", DType::i64},
};

// What the dtypes of earlier tensors stand for. Most libraries have one object for each dtype, so
// that its name is made and compared once.
class KnownTypes {
 public:
  template <class Name>
  DType of(nb::handle dtype, const Reading& reading, const Name& name_of) {
    for (const auto& [object, type] : known_)
      if (object == dtype.ptr())
        return type;
    const std::string name = name_of();
    const DType type = type_named(name, reading);
    constexpr std::size_t most = 64;
    if (name != "uint16" && known_.size() < most) {  // what uint16 is depends on the call
      Py_INCREF(dtype.ptr());
      known_.emplace_back(dtype.ptr(), type);
    }
    return type;
  }

 private:
  std::vector<std::pair<PyObject*, DType>> known_;
};

}  // namespace

DType type_named(std::string_view name, const Reading& reading) {
  for (const NamedType& known : named_types)
    if (known.name == name)
      return known.type;
  if (name == "uint16") {
    if (reading.words)
      return *reading.words;
    value_error(reading.argument, "dtype uint16",
                "bfloat16 or float16; flash_mla.plan(dtype=\"bf16\") takes uint16 as bf16");
  }
  value_error(reading.argument, "dtype " + std::string(name),
              "bfloat16, float16, float32, float8_e4m3fn, uint8, int8, int32 or int64");
}

DType torch_type(nb::handle dtype, const Reading& reading) {
  static KnownTypes known;
  return known.of(dtype, reading, [&] {
    const std::string name = nb::cast<std::string>(nb::str(dtype));  // "torch.bfloat16"
    return name.substr(name.rfind('.') + 1);
  });
}

DType array_type(nb::handle dtype, const Reading& reading) {
  static KnownTypes known;
  return known.of(dtype, reading, [&] {
    return nb::cast<std::string>(nb::str(attribute(dtype.ptr(), names().name)));
  });
}

DType dlpack_type(const nb::dlpack::dtype& type, const Reading& reading) {
  constexpr std::uint8_t bfloat = 4;
  constexpr std::uint8_t e4m3fn = 10;
  const std::string bits = std::to_string(type.bits);
  if (type.lanes == 1 && type.code == bfloat && type.bits == 16)
    return DType::bf16;
  if (type.lanes == 1 && type.code == e4m3fn && type.bits == 8)
    return DType::e4m3;
  if (type.code == static_cast<std::uint8_t>(nb::dlpack::dtype_code::Float))
    return type_named("float" + bits, reading);
  if (type.code == static_cast<std::uint8_t>(nb::dlpack::dtype_code::Int))
    return type_named("int" + bits, reading);
  if (type.code == static_cast<std::uint8_t>(nb::dlpack::dtype_code::UInt))
    return type_named("uint" + bits, reading);
  return type_named("of DLPack code " + std::to_string(type.code), reading);
}

bool is_floating(DType type) {
  return type == DType::bf16 || type == DType::fp16 || type == DType::fp32;
}

}  // namespace flashmla::python
