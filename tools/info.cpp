// `flashmla info`: version, backends, devices, and why each backend refuses.
#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <memory>

#include "flashmla/backends.h"
#include "tools/command.h"
#include "tools/files.h"
#include "tools/option_values.h"

namespace flashmla::tools {

namespace {

struct UsualCall {
  const char* name;
  AttentionKind kind;
  KvFormat format;
};

constexpr UsualCall usual_calls[] = {
    {"dense decode bf16", AttentionKind::dense_decode, KvFormat::bf16},
    {"dense decode fp16", AttentionKind::dense_decode, KvFormat::fp16},
    {"sparse decode v32", AttentionKind::sparse_decode, KvFormat::v32},
    {"sparse decode v4", AttentionKind::sparse_decode, KvFormat::v4},
    {"sparse prefill bf16", AttentionKind::sparse_prefill, KvFormat::bf16},
};

// The problem of a call with the sizes of DeepSeek's models, on the device type of a backend.
Problem problem_of(const UsualCall& call, const std::string& backend) {
  Problem problem;
  problem.kind = call.kind;
  problem.device.type = backend == "cuda" ? DeviceType::cuda : DeviceType::cpu;
  problem.query_type = call.format == KvFormat::fp16 ? DType::fp16 : DType::bf16;
  problem.kv_format = call.format;
  problem.batch = 1;
  problem.query_heads = 128;
  problem.qk_dim = call.format == KvFormat::v4 ? 512 : 576;
  if (call.kind == AttentionKind::dense_decode)
    problem.max_pages = 64;
  else
    problem.topk = 2048;
  return problem;
}

// All that `info` says, with the names that JSON has. An empty reason means that the backend serves
// the call.
Json describe_backends() {
  Json list = Json::array();
  for (const BackendDescription& backend : list_backends()) {
    Json refusals;
    for (const UsualCall& call : usual_calls)
      refusals[call.name] = refusal(backend.name, problem_of(call, backend.name));
    list.push_back({{"name", backend.name},
                    {"unavailable", backend.unavailable},
                    {"devices", backend.devices},
                    {"refusals", refusals}});
  }
  return {{"version", version()}, {"backends", list}};
}

void print_text(const Json& all) {
  fmt::print("flashmla {}\n", all["version"].get<std::string>());
  for (const Json& backend : all["backends"]) {
    const auto unavailable = backend["unavailable"].get<std::string>();
    fmt::print("\nbackend {}: {}\n", backend["name"].get<std::string>(),
               unavailable.empty() ? "ready" : unavailable);
    for (const Json& device : backend["devices"])
      fmt::print("  device: {}\n", device.get<std::string>());
    for (const auto& [call, refusal] : backend["refusals"].items()) {
      const auto reason = refusal.get<std::string>();
      fmt::print("  {:<20} {}\n", call, reason.empty() ? "serves it" : "refuses: " + reason);
    }
  }
}

int info(bool json) {
  const Json all = describe_backends();
  if (json)
    write_json("-", all);
  else
    print_text(all);
  return all_right;
}

}  // namespace

Subcommand add_info(CLI::App& parent) {
  CLI::App* app =
      parent.add_subcommand("info", "Show the version, the backends in order and what they serve");
  const auto json = std::make_shared<bool>(false);
  add_switch(*app, "--json", *json, "Print JSON");
  app->footer("Example:\n  flashmla info --json");
  return {app, [json] { return info(*json); }};
}

}  // namespace flashmla::tools
