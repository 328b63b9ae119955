// flashmla::Plan for Python, with what tells a stale schedule from a current one.
#include "flashmla/plan.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "attributes.h"
#include "bindings.h"
#include "capture.h"
#include "dlpack_exchange.h"
#include "errors.h"
#include "flashmla/backends.h"
#include "flashmla/decode.h"
#include "gil.h"
#include "problem.h"
#include "read_call.h"
#include "tensor_reader.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace flashmla::python {

namespace {

// What the host sees of a lengths tensor without waiting for its device.
struct Identity {
  constexpr static std::int64_t no_version = -1;

  const void* data = nullptr;
  std::int64_t version = no_version;  // grows with each change that the framework knows of

  friend bool operator==(const Identity&, const Identity&) = default;
};

// PyTorch's inference tensors count no versions: reading the version of one raises an exception.
std::int64_t version_of(PyObject* tensor) {
  const Names& n = names();
  if (!has_attribute(tensor, n.is_inference) || nb::cast<bool>(call(tensor, n.is_inference)))
    return Identity::no_version;
  return integer(attribute(tensor, n.version));
}

bool is_contiguous(const TensorView& view) {
  std::int64_t stride = 1;
  for (std::int32_t d = view.rank - 1; d >= 0; --d) {
    const auto i = static_cast<std::size_t>(d);
    if (view.shape[i] > 1 && view.strides[i] != stride)
      return false;
    stride *= view.shape[i];
  }
  return true;
}

class PyPlan {
 public:
  PyPlan(const Problem& problem, std::optional<DType> words)
      : plan_(make_plan(problem)), words_(words) {}

  const Plan& plan() const { return plan_; }
  const Problem& problem() const { return plan_.problem(); }

  void schedule(nb::handle lengths, std::uintptr_t workspace, std::size_t bytes,
                std::uintptr_t stream) {
    const TensorView view = read_tensor(lengths, {.argument = "lengths"});
    Identity identity{view.data};
    if (view.given() && view.device.type == DeviceType::cuda)
      identity.version = version_of(lengths.ptr());
    plan_.schedule(view, {pointer(workspace), bytes}, pointer(stream));
    identity_ = identity;
    capture_ = capture_of(stream);
  }

  void attach(std::uintptr_t workspace, std::size_t bytes) {
    plan_.attach({pointer(workspace), bytes});
  }

  // Whether the schedule was made from these lengths, as far as the host can tell, and under the
  // same capture of a CUDA graph as the one that is under way, or under none. Lengths on the CPU
  // are compared number by number. `versioned`: lengths whose changes nobody counts never pass.
  bool current(nb::handle lengths, std::uintptr_t stream, bool versioned) const {
    if (!plan_.scheduled() || capture_of(stream) != capture_)
      return false;
    const TensorView view = read_tensor(lengths, {.argument = "cache_seqlens"});
    if (!view.given())
      return true;
    if (view.dtype != DType::i32 || view.device != problem().device || view.rank != 1 ||
        view.shape[0] != problem().batch || (view.shape[0] > 1 && view.strides[0] != 1))
      return false;
    if (view.device.type == DeviceType::cpu)
      return std::equal(plan_.view().lengths, plan_.view().lengths + view.shape[0],
                        static_cast<const std::int32_t*>(view.data));
    return view.data == identity_.data && same_version(lengths.ptr(), versioned);
  }

  // Gives the plan memory for runs on one stream; the caller keeps the memory alive. The plan finds
  // the current stream by the exchange functions of the type `tensors`, or else by calling
  // current_stream(device index).
  void lend(std::uintptr_t stream, std::uintptr_t workspace, std::size_t bytes, nb::handle tensors,
            nb::object current_stream) {
    lent_.push_back({pointer(stream), {pointer(workspace), bytes}});
    if (!tensors.is_none())
      stream_function_ = exchange_of(tensors.ptr()).current_stream;
    stream_object_ = std::move(current_stream);
  }

  // Runs a whole call on a GPU where nothing is left to prepare: the schedule is current, the plan
  // has memory for the stream, no graph is being captured, and lse is contiguous. Returns false
  // everywhere else, and has done nothing then.
  bool run_current(nb::handle lengths, nb::handle call) const {
    if (lent_.empty() || capture_ != 0)
      return false;
    void* const stream = current_stream();
    const auto lent = std::ranges::find(lent_, stream, &Lent::stream);
    const auto number = reinterpret_cast<std::uintptr_t>(stream);
    if (lent == lent_.end() || !current(lengths, number, false))
      return false;
    Tensors tensors = read_call(call, words_);
    if (!is_contiguous(tensors.outputs.lse))
      return false;
    flashmla::run(plan_, tensors.inputs, tensors.outputs, lent->workspace, stream);
    return true;
  }

  void run(nb::handle call, std::uintptr_t workspace, std::size_t bytes,
           std::uintptr_t stream) const {
    Tensors tensors = read_call(call, words_);
    const ReleaseGil released(problem().device);
    flashmla::run(plan_, tensors.inputs, tensors.outputs, {pointer(workspace), bytes},
                  pointer(stream));
  }

  // For measurements: a function of no argument that runs a call whose tensors have been read
  // already, so that its time is the C++ library's alone. The caller keeps the tensors alive.
  nb::object bind(nb::handle call, std::uintptr_t workspace, std::size_t bytes,
                  std::uintptr_t stream) const {
    const Tensors tensors = read_call(call, words_);
    const nb::object self = nb::find(*this);
    return nb::cpp_function([self, this, tensors, workspace, bytes, stream]() {
      flashmla::run(plan_, tensors.inputs, tensors.outputs, {pointer(workspace), bytes},
                    pointer(stream));
    });
  }

  // {name: (byte offset in the plan workspace, shape)} of the schedule's arrays.
  nb::dict arrays() const {
    const ScheduleView view = plan_.view();
    const auto* base = reinterpret_cast<const std::byte*>(view.status);
    const auto offset = [base](const auto* part) {
      return reinterpret_cast<const std::byte*>(part) - base;
    };
    const std::ptrdiff_t entries = view.lengths == nullptr ? 0 : requests();
    nb::dict parts;
    parts["work"] = nb::make_tuple(offset(view.work), nb::make_tuple(view.workers, 8));
    parts["split_offset"] = nb::make_tuple(offset(view.split_offset), nb::make_tuple(entries + 1));
    return parts;
  }

 private:
  struct Lent {
    void* stream;
    Workspace workspace;
  };

  void* current_stream() const {
    void* stream = nullptr;
    const std::int32_t index = problem().device.index;
    if (stream_function_ != nullptr && stream_function_(dlpack_cuda, index, &stream) == 0)
      return stream;
    PyErr_Clear();
    return pointer(address(stream_object_(index)));
  }

  bool same_version(PyObject* lengths, bool versioned) const {
    if (identity_.version == Identity::no_version)
      return !versioned && version_of(lengths) == Identity::no_version;
    PyObject* const version = PyObject_GetAttr(lengths, names().version);
    if (version == nullptr) {  // the tensor has become an inference tensor
      PyErr_Clear();
      return false;
    }
    return integer(nb::steal(version)) == identity_.version;
  }

  std::uint64_t capture_of(std::uintptr_t stream) const {
    return problem().device.type == DeviceType::cuda ? capture_id(pointer(stream)) : 0;
  }

  std::int64_t requests() const {
    const Problem& p = problem();
    return p.kind == AttentionKind::dense_decode ? p.batch : p.batch * p.query_tokens;
  }

  Plan plan_;
  std::optional<DType> words_;
  Identity identity_;
  std::uint64_t capture_ = 0;
  std::vector<Lent> lent_;  // one for each stream; there are few
  CurrentStream stream_function_ = nullptr;
  nb::object stream_object_;
};

Device device_of(const std::string& type, std::int32_t index) {
  return {type == "cuda" ? DeviceType::cuda : DeviceType::cpu, index};
}

PyPlan plan_of(const nb::dict& fields, const std::string& device_type, std::int32_t device_index,
               bool words) {
  const Problem problem = problem_of(fields, device_of(device_type, device_index));
  return {problem, words ? std::optional(problem.query_type) : std::nullopt};
}

// Why the backend does not serve a problem; "" where it does.
std::string refusal_of(const std::string& backend, const nb::dict& fields,
                       const std::string& device_type, std::int32_t device_index) {
  return refusal(backend, problem_of(fields, device_of(device_type, device_index)));
}

}  // namespace

void bind_plan(nb::module_& module) {
  nb::class_<PyPlan>(module, "Plan")
      .def_prop_ro("backend", [](const PyPlan& p) { return std::string(p.plan().backend()); })
      .def_prop_ro("plan_workspace_bytes",
                   [](const PyPlan& p) { return p.plan().plan_workspace_bytes(); })
      .def_prop_ro("run_workspace_bytes",
                   [](const PyPlan& p) { return p.plan().run_workspace_bytes(); })
      .def_prop_ro("scheduled", [](const PyPlan& p) { return p.plan().scheduled(); })
      .def("describe", [](const PyPlan& p) { return p.plan().describe(); })
      .def("status",
           [](const PyPlan& p, std::uintptr_t stream) { return p.plan().status(pointer(stream)); })
      .def("schedule", &PyPlan::schedule, "lengths"_a.none(), "workspace"_a, "bytes"_a, "stream"_a)
      .def("attach", &PyPlan::attach, "workspace"_a, "bytes"_a)
      .def("current", &PyPlan::current, "lengths"_a.none(), "stream"_a, "versioned"_a)
      .def("run", &PyPlan::run, "call"_a, "workspace"_a, "bytes"_a, "stream"_a)
      .def("lend", &PyPlan::lend, "stream"_a, "workspace"_a, "bytes"_a, "tensors"_a.none(),
           "current_stream"_a)
      .def("run_current", &PyPlan::run_current, "lengths"_a.none(), "call"_a)
      .def("bind", &PyPlan::bind)
      .def("arrays", &PyPlan::arrays);
  module.def("make_plan", &plan_of, "fields"_a, "device_type"_a, "device_index"_a, "words"_a);
  module.def("refusal", &refusal_of, "backend"_a, "fields"_a, "device_type"_a, "device_index"_a);
  module.def("capture_id", [](std::uintptr_t stream) { return capture_id(pointer(stream)); });
}

}  // namespace flashmla::python
