// The C API. Each function converts its arguments, calls the C++ function and translates errors.
#include "flashmla/c_api.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "api/c_convert.h"
#include "api/c_error.h"
#include "flashmla/flashmla.h"

struct flashmla_plan {
  flashmla::Plan plan;
};

using flashmla::api::format_of;
using flashmla::api::given;
using flashmla::api::guarded;
using flashmla::api::tensor_of;
using flashmla::api::write_text;

namespace {

using flashmla::api::Renamed;

// Parameters that have other names in C++.
constexpr Renamed cache_names[] = {{"format", "kv_format"}};
constexpr Renamed problem_names[] = {{"device", "device_index"}};
constexpr Renamed workspace_names[] = {{"plan_workspace", "workspace"},
                                       {"run_workspace", "workspace"}};

const flashmla::Plan& plan_of(const flashmla_plan* plan) {
  return given("plan", plan).plan;
}

// The C++ API says "parts[2].lse" where this API has part_lses[2].
std::string part_name(const std::string& argument) {
  const std::size_t dot = argument.find("].");
  if (dot == std::string::npos || !argument.starts_with("parts["))
    return argument;
  const std::string list = argument.ends_with(".out") ? "part_outs[" : "part_lses[";
  return list + argument.substr(6, dot - 5);
}

flashmla::BackendDescription backend_at(std::int32_t index) {
  std::vector<flashmla::BackendDescription> backends = flashmla::list_backends();
  flashmla::check_range("backend", index, 0, static_cast<std::int32_t>(backends.size()) - 1);
  return std::move(backends[static_cast<std::size_t>(index)]);
}

}  // namespace

extern "C" {

const char* flashmla_version() {
  return flashmla::version().data();
}

flashmla_status flashmla_tensor_init(flashmla_tensor* tensor, size_t struct_size, void* data,
                                     int32_t dtype, int32_t rank, const int64_t* shape) {
  return guarded([&] {
    flashmla::check_range("rank", rank, 1, flashmla::max_rank);
    if (flashmla::size_of(static_cast<flashmla::DType>(dtype)) == 0)
      flashmla::reject("dtype", flashmla::text(dtype), "a flashmla_dtype");
    flashmla_tensor made{};
    made.data = data;
    made.dtype = dtype;
    made.rank = rank;
    std::int64_t stride = 1;
    for (std::int32_t d = rank - 1; d >= 0; --d) {
      made.shape[d] = (&given("shape", shape))[d];
      made.strides[d] = stride;
      if (made.shape[d] < 0)
        flashmla::reject("shape", flashmla::text(made.shape[d]), "sizes of at least 0");
      if (made.shape[d] > 1 && __builtin_mul_overflow(stride, made.shape[d], &stride))
        flashmla::reject("shape", "more than 2^63 elements", "at most 2^63 elements");
    }
    flashmla::api::check_struct_size("struct_size", struct_size, sizeof made);
    flashmla::api::write_struct("tensor", tensor, struct_size, made);
  });
}

flashmla_status flashmla_problem_init(flashmla_problem* problem, size_t struct_size) {
  return guarded([&] {
    flashmla::api::check_struct_size("struct_size", struct_size, sizeof *problem);
    flashmla::api::write_struct("problem", problem, struct_size,
                                flashmla::api::problem_of(flashmla::Problem{}));
  });
}

flashmla_status flashmla_problem_describe(const flashmla_problem* problem, char* text,
                                          size_t capacity, size_t* length) {
  return guarded([&] {
    write_text(flashmla::describe(flashmla::api::problem_of(problem)), text, capacity, length);
  });
}

flashmla_status flashmla_token_bytes(int32_t kv_format, int64_t qk_dim, int64_t* bytes) {
  return guarded(cache_names, [&] {
    flashmla::check_range<std::int64_t>("qk_dim", qk_dim, 0, 1 << 20);
    given("bytes", bytes) = flashmla::token_bytes(format_of(kv_format), qk_dim);
  });
}

flashmla_status flashmla_plan_create(const flashmla_problem* problem, flashmla_plan** plan) {
  return guarded(problem_names, [&] {
    flashmla_plan*& target = given("plan", plan);
    auto made = std::make_unique<flashmla_plan>(
        flashmla_plan{flashmla::make_plan(flashmla::api::problem_of(problem))});
    target = made.release();
  });
}

void flashmla_plan_destroy(flashmla_plan* plan) {
  delete plan;
}

flashmla_status flashmla_plan_problem(const flashmla_plan* plan, flashmla_problem* problem) {
  return guarded([&] {
    const flashmla::Problem& planned = plan_of(plan).problem();
    flashmla::api::write_struct("problem", problem, given("problem", problem).struct_size,
                                flashmla::api::problem_of(planned));
  });
}

flashmla_status flashmla_plan_backend(const flashmla_plan* plan, char* text, size_t capacity,
                                      size_t* length) {
  return guarded([&] { write_text(plan_of(plan).backend(), text, capacity, length); });
}

flashmla_status flashmla_plan_workspace_bytes(const flashmla_plan* plan, size_t* plan_workspace,
                                              size_t* run_workspace) {
  return guarded([&] {
    const flashmla::Plan& known = plan_of(plan);
    std::size_t& plan_bytes = given("plan_workspace", plan_workspace);
    given("run_workspace", run_workspace) = known.run_workspace_bytes();
    plan_bytes = known.plan_workspace_bytes();
  });
}

flashmla_status flashmla_plan_schedule(flashmla_plan* plan, const flashmla_tensor* lengths,
                                       void* workspace, size_t workspace_bytes, void* stream) {
  return guarded(workspace_names, [&] {
    given("plan", plan)
        .plan.schedule(tensor_of("lengths", lengths), {workspace, workspace_bytes}, stream);
  });
}

flashmla_status flashmla_plan_attach(flashmla_plan* plan, void* workspace, size_t workspace_bytes) {
  return guarded(workspace_names,
                 [&] { given("plan", plan).plan.attach({workspace, workspace_bytes}); });
}

flashmla_status flashmla_plan_view(const flashmla_plan* plan, flashmla_schedule_view* view) {
  return guarded([&] {
    const flashmla::ScheduleView seen = plan_of(plan).view();
    flashmla::api::write_struct("view", view, given("view", view).struct_size,
                                {.struct_size = 0,
                                 .workers = seen.workers,
                                 .block_tokens = seen.block_tokens,
                                 .work = reinterpret_cast<const flashmla_work_row*>(seen.work),
                                 .split_offset = seen.split_offset,
                                 .lengths = seen.lengths,
                                 .status = seen.status});
  });
}

flashmla_status flashmla_plan_scheduled(const flashmla_plan* plan, int32_t* scheduled) {
  return guarded([&] { given("scheduled", scheduled) = plan_of(plan).scheduled() ? 1 : 0; });
}

flashmla_status flashmla_plan_status(const flashmla_plan* plan, void* stream, int32_t* status) {
  return guarded([&] { given("status", status) = plan_of(plan).status(stream); });
}

flashmla_status flashmla_plan_describe(const flashmla_plan* plan, char* text, size_t capacity,
                                       size_t* length) {
  return guarded([&] { write_text(plan_of(plan).describe(), text, capacity, length); });
}

flashmla_status flashmla_run(const flashmla_plan* plan, const flashmla_inputs* inputs,
                             const flashmla_outputs* outputs, void* workspace,
                             size_t workspace_bytes, void* stream) {
  return guarded(workspace_names, [&] {
    const flashmla::Plan& planned = plan_of(plan);
    const flashmla::Inputs in = flashmla::api::inputs_of(inputs);
    const flashmla::Outputs out = flashmla::api::outputs_of(outputs);
    flashmla::run(planned, in, out, {workspace, workspace_bytes}, stream);
  });
}

flashmla_status flashmla_append(const flashmla_tensor* cache, int32_t kv_format,
                                const flashmla_tensor* rows, const flashmla_tensor* slots,
                                void* stream) {
  return guarded(cache_names, [&] {
    flashmla::append(tensor_of("cache", cache), format_of(kv_format), tensor_of("rows", rows),
                     tensor_of("slots", slots), stream);
  });
}

flashmla_status flashmla_gather(const flashmla_tensor* cache, int32_t kv_format,
                                const flashmla_tensor* slots, const flashmla_tensor* rows,
                                void* stream) {
  return guarded(cache_names, [&] {
    flashmla::gather(tensor_of("cache", cache), format_of(kv_format), tensor_of("slots", slots),
                     tensor_of("rows", rows), stream);
  });
}

flashmla_status flashmla_quantise(const flashmla_tensor* plain, const flashmla_tensor* cache,
                                  int32_t kv_format, void* stream) {
  return guarded(cache_names, [&] {
    flashmla::quantise(tensor_of("plain", plain), tensor_of("cache", cache), format_of(kv_format),
                       stream);
  });
}

flashmla_status flashmla_dequantise(const flashmla_tensor* cache, int32_t kv_format,
                                    const flashmla_tensor* plain, void* stream) {
  return guarded(cache_names, [&] {
    flashmla::dequantise(tensor_of("cache", cache), format_of(kv_format), tensor_of("plain", plain),
                         stream);
  });
}

flashmla_status flashmla_merge(const flashmla_tensor* const* part_outs,
                               const flashmla_tensor* const* part_lses, size_t parts,
                               const flashmla_tensor* attn_sink, const flashmla_outputs* outputs,
                               void* stream) {
  return guarded([&] {
    const flashmla::Outputs merged = flashmla::api::outputs_of(outputs);
    std::vector<flashmla::PartialResult> results;
    for (std::size_t i = 0; i < parts; ++i) {
      const std::string at = flashmla::text("[", i, "]");
      results.push_back(
          {tensor_of(("part_outs" + at).c_str(), (&given("part_outs", part_outs))[i]),
           tensor_of(("part_lses" + at).c_str(), (&given("part_lses", part_lses))[i])});
    }
    const flashmla::TensorView sink = tensor_of("attn_sink", attn_sink);
    try {
      flashmla::merge(results, sink, merged, stream);
    } catch (const flashmla::Error& error) {
      throw flashmla::Error(error.code(), part_name(error.argument()), error.given(),
                            error.wanted());
    }
  });
}

flashmla_status flashmla_backend_count(int32_t* count) {
  return guarded(
      [&] { given("count", count) = static_cast<std::int32_t>(flashmla::list_backends().size()); });
}

flashmla_status flashmla_backend_name(int32_t backend, char* text, size_t capacity,
                                      size_t* length) {
  return guarded([&] { write_text(backend_at(backend).name, text, capacity, length); });
}

flashmla_status flashmla_backend_unavailable(int32_t backend, char* text, size_t capacity,
                                             size_t* length) {
  return guarded([&] { write_text(backend_at(backend).unavailable, text, capacity, length); });
}

flashmla_status flashmla_backend_device_count(int32_t backend, int32_t* count) {
  return guarded([&] {
    given("count", count) = static_cast<std::int32_t>(backend_at(backend).devices.size());
  });
}

flashmla_status flashmla_backend_device(int32_t backend, int32_t device, char* text,
                                        size_t capacity, size_t* length) {
  return guarded([&] {
    const std::vector<std::string> devices = backend_at(backend).devices;
    flashmla::check_range("device", device, 0, static_cast<std::int32_t>(devices.size()) - 1);
    write_text(devices[static_cast<std::size_t>(device)], text, capacity, length);
  });
}

flashmla_status flashmla_refusal(const char* backend, const flashmla_problem* problem, char* text,
                                 size_t capacity, size_t* length) {
  return guarded(problem_names, [&] {
    const flashmla::Problem described = flashmla::api::problem_of(problem);
    write_text(flashmla::refusal(&given("backend", backend), described), text, capacity, length);
  });
}

flashmla_status flashmla_set_cpu_threads(int32_t threads) {
  return guarded([&] { flashmla::set_cpu_threads(threads); });
}

flashmla_status flashmla_cpu_threads(int32_t* threads) {
  return guarded([&] { given("threads", threads) = flashmla::cpu_threads(); });
}

flashmla_status flashmla_set_log_callback(flashmla_log_callback callback, void* user) {
  return guarded([&] {
    if (callback == nullptr)
      return flashmla::set_log_callback({});
    flashmla::set_log_callback([callback, user](std::string_view message) {
      callback(message.data(), message.size(), user);
    });
  });
}

}  // extern "C"
