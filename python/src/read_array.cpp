#include <nanobind/stl/string.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "attributes.h"
#include "element_types.h"
#include "errors.h"
#include "protocols.h"

namespace nb = nanobind;

namespace flashmla::python {

namespace {

std::int64_t in_elements(std::int64_t bytes, DType type, const Reading& reading) {
  const auto size = static_cast<std::int64_t>(size_of(type));
  if (bytes % size != 0)
    value_error(reading.argument, "a stride of " + std::to_string(bytes) + " bytes",
                "a multiple of the element's " + std::to_string(size));
  return bytes / size;
}

std::int32_t device_index(PyObject* array) {
  const nb::object device = attribute(array, names().device);  // of CuPy, an object with an id
  return static_cast<std::int32_t>(integer(nb::getattr(device, "id", nb::int_(0))));
}

void read_shape(const nb::dict& interface, TensorView& view, const Reading& reading) {
  const nb::object shape = interface["shape"];
  const auto rank = static_cast<std::int64_t>(nb::len(shape));
  check_rank(rank, reading);
  view.rank = static_cast<std::int32_t>(rank);
  read_sizes(shape, view.shape, view.rank);
  const nb::object strides =
      interface.contains("strides") ? nb::object(interface["strides"]) : nb::none();
  if (strides.is_none())
    return set_contiguous(view);
  read_sizes(strides, view.strides, view.rank);
  for (std::int32_t d = 0; d < view.rank; ++d) {
    std::int64_t& stride = view.strides[static_cast<std::size_t>(d)];
    stride =
        view.shape[static_cast<std::size_t>(d)] > 1 ? in_elements(stride, view.dtype, reading) : 1;
  }
}

// __array_interface__ and __cuda_array_interface__ are dictionaries with the same keys.
TensorView read_interface(PyObject* array, PyObject* interface_name, Device device,
                          const Reading& reading) {
  const nb::object given = attribute(array, interface_name);
  if (!nb::isinstance<nb::dict>(given))
    type_error(reading.argument, "an array whose interface is a " + type_text(given), "a tensor");
  const nb::dict interface = nb::borrow<nb::dict>(given);
  if (interface.contains("mask") && !interface["mask"].is_none())
    value_error(reading.argument, "an array with a mask", "one without: it would be ignored");
  const std::string typestr = nb::cast<std::string>(nb::str(interface["typestr"]));
  if (typestr.starts_with('>'))
    value_error(reading.argument, "big-endian elements", "little-endian elements");
  TensorView view;
  view.device = device;
  view.dtype = array_type(attribute(array, names().dtype), reading);
  read_shape(interface, view, reading);
  const nb::object data = interface["data"];
  if (!nb::isinstance<nb::tuple>(data) || nb::len(data) != 2)
    type_error(reading.argument, "an array whose address is a " + type_text(data), "a tensor");
  view.data = reinterpret_cast<void*>(address(PyTuple_GetItem(data.ptr(), 0)));
  if (reading.written && flag(nb::borrow(PyTuple_GetItem(data.ptr(), 1))))
    value_error(reading.argument, "a read-only array", "one that may be written");
  return view;
}

}  // namespace

TensorView read_array(PyObject* array, const Reading& reading) {
  return read_interface(array, names().array_interface, {}, reading);
}

TensorView read_cuda_array(PyObject* array, const Reading& reading) {
  return read_interface(array, names().cuda_array_interface,
                        {DeviceType::cuda, device_index(array)}, reading);
}

}  // namespace flashmla::python
