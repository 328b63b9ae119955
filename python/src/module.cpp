// flash_mla._core: the C++ API for Python, without defaults and without allocation. Users call the
// package's Python files, which choose frameworks and allocate.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <string>

#include "bindings.h"
#include "errors.h"
#include "flashmla/backends.h"
#include "log.h"
#include "tensor_reader.h"

namespace nb = nanobind;

namespace flashmla::python {

DType dtype_named(const std::string& name, const char* argument) {
  for (const DType type : {DType::bf16, DType::fp16})
    if (name_of(type) == name)
      return type;
  value_error(argument, name, "bf16 or fp16");
}

KvFormat format_named(const std::string& name, const char* argument) {
  for (const KvFormat format : {KvFormat::bf16, KvFormat::fp16, KvFormat::v32, KvFormat::v4})
    if (name_of(format) == name)
      return format;
  value_error(argument, name, "bf16, fp16, v32 or v4");
}

void set_lse_form(Outputs& outputs, bool base_two, bool empty_minus) {
  outputs.lse_base = base_two ? LseBase::two : LseBase::natural;
  outputs.empty_lse = empty_minus ? EmptyLse::minus_infinity : EmptyLse::plus_infinity;
}

namespace {

// ("cpu" or "cuda", index, dtype, shape, address) of a tensor of any framework.
nb::tuple inspect(nb::handle tensor, const std::string& argument) {
  const TensorView view =
      require_tensor(tensor, {.argument = argument.c_str(), .words = DType::bf16});
  nb::list shape;
  for (std::int32_t d = 0; d < view.rank; ++d)
    shape.append(view.shape[static_cast<std::size_t>(d)]);
  return nb::make_tuple(view.device.type == DeviceType::cuda ? "cuda" : "cpu", view.device.index,
                        name_of(view.dtype), nb::tuple(shape),
                        reinterpret_cast<std::uintptr_t>(view.data));
}

// [(name, why it cannot be used or "", [device, ...]), ...]
nb::list backends() {
  nb::list all;
  for (const BackendDescription& backend : list_backends())
    all.append(nb::make_tuple(backend.name, backend.unavailable, backend.devices));
  return all;
}

}  // namespace

}  // namespace flashmla::python

// NOLINTNEXTLINE(performance-unnecessary-value-param): the macro's own signature.
NB_MODULE(_core, module) {
  namespace python = flashmla::python;
  // Threads keep plans that outlive the interpreter. nanobind would print a warning of each, and
  // the library prints nothing.
  nanobind::set_leak_warnings(false);
  python::translate_errors();
  python::bind_plan(module);
  python::bind_cache(module);
  python::bind_log(module);
  module.def("inspect", &python::inspect, nanobind::arg("tensor").none(),
             nanobind::arg("argument"));
  module.def("backends", &python::backends);
  module.def("library_version", &flashmla::version);
  module.def("set_cpu_threads", &flashmla::set_cpu_threads);
  module.def("cpu_threads", &flashmla::cpu_threads);
}
