#include "tensor_reader.h"

#include <nanobind/stl/string.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <exception>
#include <string>
#include <unordered_map>

#include "attributes.h"
#include "errors.h"
#include "protocols.h"

namespace nb = nanobind;

namespace flashmla::python {

namespace {

enum class Protocol { torch, array, cuda_array, dlpack, masked, none };

// How the tensors of a type are read.
struct Reader {
  Protocol protocol = Protocol::none;
  ReadExchange exchange = nullptr;
};

Protocol protocol_of(PyObject* object) {
  const Names& n = names();
  if (PyType_Check(object))
    return Protocol::none;
  if (has_attribute(object, n.data_ptr) && has_attribute(object, n.stride) &&
      has_attribute(object, n.is_cuda))
    return has_attribute(object, n.get_mask) ? Protocol::masked : Protocol::torch;
  if (has_attribute(object, n.cuda_array_interface))
    return Protocol::cuda_array;
  if (has_attribute(object, n.array_interface) && has_attribute(object, n.dtype))
    return has_attribute(object, n.mask) ? Protocol::masked : Protocol::array;
  return has_attribute(object, n.dlpack) ? Protocol::dlpack : Protocol::none;
}

// The reader of the object's type, which is looked up once. The reference that is kept of the type
// ensures that no other type takes its address.
const Reader& reader_of(PyObject* object) {
  static std::unordered_map<PyTypeObject*, Reader> known;
  PyTypeObject* const type = Py_TYPE(object);
  const auto found = known.find(type);
  if (found != known.end())
    return found->second;
  Reader reader{.protocol = protocol_of(object)};
  if (reader.protocol == Protocol::torch)
    reader.exchange = exchange_of(reinterpret_cast<PyObject*>(type)).read;
  Py_INCREF(reinterpret_cast<PyObject*>(type));
  return known.emplace(type, reader).first->second;
}

TensorView read_by_protocol(nb::handle object, const Reading& reading) {
  const Reader& reader = reader_of(object.ptr());
  switch (reader.protocol) {
    case Protocol::torch:
      return read_torch(object.ptr(), reader.exchange, reading);
    case Protocol::array:
      return read_array(object.ptr(), reading);
    case Protocol::cuda_array:
      return read_cuda_array(object.ptr(), reading);
    case Protocol::dlpack:
      return read_dlpack(object, reading);
    case Protocol::masked:
      value_error(reading.argument, "a " + type_text(object),
                  "a tensor without a mask, which would be ignored");
    case Protocol::none:
      break;
  }
  type_error(reading.argument, "a " + type_text(object),
             "a tensor: of PyTorch, NumPy, CuPy or any library with __dlpack__");
}

[[noreturn]] void unreadable(nb::handle object, const Reading& reading, std::string why) {
  constexpr std::size_t most = 160;
  why = why.substr(0, std::min(why.find('\n'), most));
  type_error(reading.argument, "a " + type_text(object) + " that cannot be read (" + why + ")",
             "a tensor with elements in memory");
}

}  // namespace

TensorView read_tensor(nb::handle object, const Reading& reading) {
  if (object.is_none())
    return {};
  TensorView view;
  try {
    view = read_by_protocol(object, reading);
  } catch (nb::python_error& failure) {
    // The package's own errors name the argument; a framework's errors do not.
    if (!failure.matches(PyExc_Exception) || nb::hasattr(failure.value(), "argument"))
      throw;
    unreadable(object, reading, nb::cast<std::string>(nb::str(failure.value())));
  } catch (const nb::builtin_exception& failure) {
    unreadable(object, reading, failure.what());
  }
  if (view.data == nullptr && view.element_count() != 0)
    value_error(reading.argument, "a " + type_text(object) + " without memory of its own",
                "a tensor with elements in memory");
  return view;
}

TensorView require_tensor(nb::handle object, const Reading& reading) {
  if (object.is_none())
    type_error(reading.argument, "None", "a tensor");
  return read_tensor(object, reading);
}

void check_rank(std::int64_t rank, const Reading& reading) {
  if (rank < 1 || rank > max_rank)
    value_error(reading.argument, std::to_string(rank) + " dimensions",
                "1 to " + std::to_string(max_rank));
}

void read_sizes(nb::handle sequence, std::array<std::int64_t, max_rank>& sizes, std::int32_t rank) {
  for (std::int32_t d = 0; d < rank; ++d)
    sizes[static_cast<std::size_t>(d)] =
        PyTuple_Check(sequence.ptr()) != 0
            ? integer(PyTuple_GetItem(sequence.ptr(), d))
            : integer(nb::object(sequence[static_cast<std::size_t>(d)]));
}

void set_contiguous(TensorView& view) {
  std::int64_t stride = 1;
  for (std::int32_t d = view.rank - 1; d >= 0; --d) {
    view.strides[static_cast<std::size_t>(d)] = stride;
    stride *= view.shape[static_cast<std::size_t>(d)];
  }
}

}  // namespace flashmla::python
