#include <nanobind/stl/string.h>

#include <string>

#include "attributes.h"
#include "element_types.h"
#include "errors.h"
#include "protocols.h"

namespace nb = nanobind;

namespace flashmla::python {

namespace {

// An object of the module torch, which is never released.
PyObject* of_torch(const char* name) {
  return nb::object(nb::module_::import_("torch").attr(name)).release().ptr();
}

// The outputs have no gradient: a caller who records gradients would lose it without a word.
void refuse_gradient(PyObject* tensor, const Reading& reading) {
  if (!flag(tensor, names().requires_grad))
    return;
  static PyObject* const enabled = of_torch("is_grad_enabled");
  if (nb::cast<bool>(nb::handle(enabled)()))
    value_error(reading.argument, "a tensor that requires grad",
                "one that does not, or a call under torch.no_grad(): there is no backward pass");
}

// Refuses a tensor whose numbers in memory are not all that it stands for.
void check_numbers(PyObject* tensor, const TensorView& view, const Reading& reading) {
  if (!is_floating(view.dtype))
    return;
  refuse_gradient(tensor, reading);
  if (view.dtype != DType::bf16 && flag(call(tensor, names().is_neg)))
    value_error(reading.argument, "a tensor whose negation PyTorch has put off",
                "one with its numbers in memory: tensor.resolve_neg()");
}

void check_layout(PyObject* tensor, const Reading& reading) {
  static PyObject* const strided = of_torch("strided");
  const nb::object layout = attribute(tensor, names().layout);
  if (layout.ptr() != strided)
    value_error(reading.argument,
                "a tensor of the layout " + nb::cast<std::string>(nb::str(layout)),
                "one of the layout torch.strided");
}

Device device_of(PyObject* tensor, const Reading& reading) {
  const Names& n = names();
  if (flag(tensor, n.is_cuda))
    return {DeviceType::cuda, static_cast<std::int32_t>(integer(call(tensor, n.get_device)))};
  if (flag(tensor, n.is_cpu))
    return {};
  value_error(reading.argument,
              "a tensor on " + nb::cast<std::string>(nb::str(attribute(tensor, n.device))),
              "one on cpu or cuda");
}

TensorView read_attributes(PyObject* tensor, const Reading& reading) {
  const Names& n = names();
  TensorView view;
  view.device = device_of(tensor, reading);
  check_layout(tensor, reading);
  view.dtype = torch_type(attribute(tensor, n.dtype), reading);
  const nb::object shape = attribute(tensor, n.shape);
  const Py_ssize_t rank = PyTuple_Size(shape.ptr());
  check_rank(rank, reading);
  view.rank = static_cast<std::int32_t>(rank);
  read_sizes(shape, view.shape, view.rank);
  read_sizes(call(tensor, n.stride), view.strides, view.rank);
  view.data = reinterpret_cast<void*>(address(call(tensor, n.data_ptr)));
  return view;
}

}  // namespace

TensorView read_torch(PyObject* tensor, ReadExchange read, const Reading& reading) {
  nb::dlpack::dltensor fields{};
  TensorView view;
  if (read != nullptr && read(tensor, &fields) == 0) {
    view = view_of(fields, reading);
  } else {
    // The exchange function has failed. The attributes tell why, or what it does not know.
    PyErr_Clear();
    view = read_attributes(tensor, reading);
  }
  check_numbers(tensor, view, reading);
  return view;
}

}  // namespace flashmla::python
