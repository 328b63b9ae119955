#include <nanobind/stl/string.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "attributes.h"
#include "element_types.h"
#include "errors.h"
#include "protocols.h"

namespace nb = nanobind;

namespace flashmla::python {

TensorView view_of(const nb::dlpack::dltensor& tensor, const Reading& reading) {
  int type = tensor.device.device_type;
  if (type == nb::device::cuda_host::value)  // pinned memory of the host
    type = nb::device::cpu::value;
  if (type != nb::device::cpu::value && type != nb::device::cuda::value)
    value_error(reading.argument, "a tensor on DLPack device type " + std::to_string(type),
                "one on cpu or cuda");
  check_rank(tensor.ndim, reading);
  TensorView view;
  if (type == nb::device::cuda::value)
    view.device = {DeviceType::cuda, tensor.device.device_id};
  view.dtype = dlpack_type(tensor.dtype, reading);
  view.rank = tensor.ndim;
  std::copy_n(tensor.shape, view.rank, view.shape.begin());
  if (tensor.strides != nullptr)
    std::copy_n(tensor.strides, view.rank, view.strides.begin());
  else
    set_contiguous(view);
  if (tensor.data != nullptr)
    view.data = static_cast<std::byte*>(tensor.data) + tensor.byte_offset;
  return view;
}

TensorView read_dlpack(nb::handle object, const Reading& reading) {
  nb::ndarray<nb::ro> array;
  nb::ndarray<> writable;
  if (reading.written && nb::try_cast(object, writable))
    array = nb::ndarray<nb::ro>(writable);
  else if (reading.written || !nb::try_cast(object, array))
    type_error(reading.argument, "a " + type_text(object) + " that offers no DLPack tensor",
               "a tensor on the CPU or on a CUDA device");
  nb::dlpack::dltensor tensor{};
  std::array<std::int64_t, max_rank> shape{};
  std::array<std::int64_t, max_rank> strides{};
  check_rank(static_cast<std::int64_t>(array.ndim()), reading);
  for (std::size_t d = 0; d < array.ndim(); ++d) {
    shape[d] = static_cast<std::int64_t>(array.shape(d));
    strides[d] = array.stride(d);
  }
  tensor.data = const_cast<void*>(static_cast<const void*>(array.data()));
  tensor.device = {array.device_type(), array.device_id()};
  tensor.ndim = static_cast<std::int32_t>(array.ndim());
  tensor.dtype = array.dtype();
  tensor.shape = shape.data();
  tensor.strides = strides.data();
  return view_of(tensor, reading);
}

}  // namespace flashmla::python
