#include "tensor_reader.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "attributes.h"
#include "dlpack_exchange.h"
#include "errors.h"

namespace nb = nanobind;

namespace flashmla::python {

namespace {

enum class Protocol { torch, array, cuda_array, dlpack, none };

// What a type offers.
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
    return Protocol::torch;
  if (has_attribute(object, n.cuda_array_interface))
    return Protocol::cuda_array;
  if (has_attribute(object, n.array_interface) && has_attribute(object, n.dtype))
    return Protocol::array;
  return has_attribute(object, n.dlpack) ? Protocol::dlpack : Protocol::none;
}

// Looked up once a type. The reference to the type keeps its address from being used again.
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

// PyTorch's dtypes are single objects: "torch.bfloat16".
DType torch_type(nb::handle dtype, const Reading& reading) {
  static std::vector<std::pair<PyObject*, DType>> known;
  for (const auto& [object, type] : known)
    if (object == dtype.ptr())
      return type;
  std::string name = nb::cast<std::string>(nb::str(dtype));
  name = name.substr(name.rfind('.') + 1);
  const DType type = type_named(name, reading);
  if (name != "uint16") {  // which depends on the call
    Py_INCREF(dtype.ptr());
    known.emplace_back(dtype.ptr(), type);
  }
  return type;
}

void check_rank(std::int64_t rank, const Reading& reading) {
  if (rank < 1 || rank > max_rank)
    value_error(reading.argument, std::to_string(rank) + " dimensions",
                "1 to " + std::to_string(max_rank));
}

void read_sizes(nb::handle tuple, std::array<std::int64_t, max_rank>& sizes, std::int32_t rank) {
  for (std::int32_t d = 0; d < rank; ++d)
    sizes[static_cast<std::size_t>(d)] = integer(PyTuple_GetItem(tuple.ptr(), d));
}

// Outputs have no gradient; a caller who records gradients would lose it without a word.
void refuse_gradient(PyObject* tensor, const Reading& reading) {
  if (!flag(tensor, names().requires_grad))
    return;
  static PyObject* const enabled =
      nb::object(nb::module_::import_("torch").attr("is_grad_enabled")).release().ptr();
  if (nb::cast<bool>(nb::handle(enabled)()))
    value_error(reading.argument, "a tensor that requires grad",
                "one that does not, or a call under torch.no_grad(): there is no backward pass");
}

Device torch_device(PyObject* tensor, const Reading& reading) {
  const Names& n = names();
  if (flag(tensor, n.is_cuda))
    return {DeviceType::cuda, static_cast<std::int32_t>(integer(call(tensor, n.get_device)))};
  if (flag(tensor, n.is_cpu))
    return {};
  value_error(reading.argument,
              "a tensor on " + nb::cast<std::string>(nb::str(attribute(tensor, n.device))),
              "one on cpu or cuda");
}

bool may_have_gradient(DType type) {
  return type == DType::bf16 || type == DType::fp16 || type == DType::fp32;
}

TensorView read_torch(PyObject* tensor, const Reading& reading) {
  const Names& n = names();
  TensorView view;
  view.device = torch_device(tensor, reading);
  view.dtype = torch_type(attribute(tensor, n.dtype), reading);
  const nb::object shape = attribute(tensor, n.shape);
  const Py_ssize_t rank = PyTuple_Size(shape.ptr());
  check_rank(rank, reading);
  view.rank = static_cast<std::int32_t>(rank);
  read_sizes(shape, view.shape, view.rank);
  read_sizes(call(tensor, n.stride), view.strides, view.rank);
  if (may_have_gradient(view.dtype))
    refuse_gradient(tensor, reading);
  view.data = reinterpret_cast<void*>(address(call(tensor, n.data_ptr)));
  return view;
}

std::int64_t in_elements(std::int64_t bytes, DType type, const Reading& reading) {
  const auto size = static_cast<std::int64_t>(size_of(type));
  if (bytes % size != 0)
    value_error(reading.argument, "a stride of " + std::to_string(bytes) + " bytes",
                "a multiple of the element's " + std::to_string(size));
  return bytes / size;
}

void set_contiguous(TensorView& view) {
  std::int64_t stride = 1;
  for (std::int32_t d = view.rank - 1; d >= 0; --d) {
    view.strides[static_cast<std::size_t>(d)] = stride;
    stride *= view.shape[static_cast<std::size_t>(d)];
  }
}

// __array_interface__ and __cuda_array_interface__ are the same dictionary.
TensorView read_interface(PyObject* array, PyObject* interface_name, Device device,
                          const Reading& reading) {
  const nb::dict interface = nb::borrow<nb::dict>(attribute(array, interface_name));
  const std::string typestr = nb::cast<std::string>(nb::str(interface["typestr"]));
  if (typestr.starts_with('>'))
    value_error(reading.argument, "big-endian elements", "little-endian elements");
  const std::string name = nb::cast<std::string>(
      nb::str(attribute(attribute(array, names().dtype).ptr(), names().name)));
  TensorView view;
  view.device = device;
  view.dtype = type_named(name, reading);
  const nb::object shape = interface["shape"];
  const Py_ssize_t rank = PyTuple_Size(shape.ptr());
  check_rank(rank, reading);
  view.rank = static_cast<std::int32_t>(rank);
  read_sizes(shape, view.shape, view.rank);
  const nb::object strides =
      interface.contains("strides") ? nb::object(interface["strides"]) : nb::none();
  if (strides.is_none()) {
    set_contiguous(view);
  } else {
    read_sizes(strides, view.strides, view.rank);
    for (std::int32_t d = 0; d < view.rank; ++d) {
      std::int64_t& stride = view.strides[static_cast<std::size_t>(d)];
      stride = view.shape[static_cast<std::size_t>(d)] > 1
                   ? in_elements(stride, view.dtype, reading)
                   : 1;
    }
  }
  const nb::object data = interface["data"];
  view.data = reinterpret_cast<void*>(address(PyTuple_GetItem(data.ptr(), 0)));
  if (reading.written && nb::cast<bool>(nb::handle(PyTuple_GetItem(data.ptr(), 1))))
    value_error(reading.argument, "a read-only array", "one that may be written");
  return view;
}

std::int32_t device_index(PyObject* array) {
  const nb::object device = attribute(array, names().device);  // CuPy: an object with an id
  return static_cast<std::int32_t>(integer(nb::getattr(device, "id", nb::int_(0))));
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

// Reads a DLTensor whose owner stays alive.
TensorView view_of(const nb::dlpack::dltensor& tensor, const Reading& reading) {
  int type = tensor.device.device_type;
  if (type == nb::device::cuda_host::value)  // pinned
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

// False where the framework cannot: the slower way then finds out why.
bool read_exchange(PyObject* tensor, ReadExchange read, const Reading& reading, TensorView& view) {
  nb::dlpack::dltensor fields{};
  if (read(tensor, &fields) != 0) {
    PyErr_Clear();
    return false;
  }
  view = view_of(fields, reading);
  if (may_have_gradient(view.dtype))
    refuse_gradient(tensor, reading);
  return true;
}

}  // namespace

TensorView read_tensor(nb::handle object, const Reading& reading) {
  if (object.is_none())
    return {};
  const Reader& reader = reader_of(object.ptr());
  TensorView view;
  if (reader.exchange != nullptr && read_exchange(object.ptr(), reader.exchange, reading, view))
    return view;
  switch (reader.protocol) {
    case Protocol::torch:
      return read_torch(object.ptr(), reading);
    case Protocol::array:
      return read_interface(object.ptr(), names().array_interface, {}, reading);
    case Protocol::cuda_array:
      return read_interface(object.ptr(), names().cuda_array_interface,
                            {DeviceType::cuda, device_index(object.ptr())}, reading);
    case Protocol::dlpack:
      return read_dlpack(object, reading);
    case Protocol::none:
      break;
  }
  type_error(reading.argument, "a " + type_text(object),
             "a tensor: of PyTorch, NumPy, CuPy or any library with __dlpack__");
}

TensorView require_tensor(nb::handle object, const Reading& reading) {
  if (object.is_none())
    type_error(reading.argument, "None", "a tensor");
  return read_tensor(object, reading);
}

}  // namespace flashmla::python
