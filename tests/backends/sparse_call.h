// A sparse case on a backend, in single calls, for tests that do something between the calls.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "flashmla/decode.h"
#include "support/guarded_tensor.h"
#include "support/memory.h"
#include "support/random.h"
#include "support/sparse_generate.h"

namespace flashmla::backends {

// A small case without options. Its pages begin where every backend takes them.
inline support::SparseCase sparse_case(KvFormat format, std::int64_t query_heads) {
  support::SparseCase c;
  c.seed = support::fresh_seed();
  c.format = format;
  c.qk_dim = is_plain(format) ? 576 : format_qk_dim(format);
  c.batch = 3;
  c.query_tokens = 2;
  c.query_heads = query_heads;
  c.num_pages = 9;
  c.topk = 150;
  c.invalid_share = 0.2;
  c.poisoned_share = 0.3;
  c.aligned = true;
  return c;
}

inline constexpr KvFormat sparse_formats[] = {KvFormat::bf16, KvFormat::v32, KvFormat::v4};

struct SparseCall {
  support::SparseTensors tensors;
  Plan plan;
  support::GuardedBuffer plan_workspace;
  support::GuardedBuffer run_workspace;

  SparseCall(const support::SparseCase& c, support::Memory& memory)
      : tensors(c, memory),
        plan(make_plan(support::problem_of(c, memory.device()))),
        plan_workspace(memory, plan.plan_workspace_bytes()),
        run_workspace(memory, plan.run_workspace_bytes()),
        memory_(&memory) {
    plan_workspace.upload();
    run_workspace.upload();
  }

  void schedule(void* stream = nullptr) {
    plan.schedule({}, {plan_workspace.data(), plan_workspace.bytes()}, stream);
  }

  void run(void* stream = nullptr) { run_with(tensors.inputs(), stream); }

  void run_with(const Inputs& inputs, void* stream = nullptr) {
    flashmla::run(plan, inputs, tensors.outputs(), {run_workspace.data(), run_workspace.bytes()},
                  stream);
  }

  void poison_outputs() {
    tensors.out.buffer.upload();
    tensors.lse.buffer.upload();
  }

  // The contents of out and lse, after all work has ended.
  std::vector<std::byte> results() const {
    memory_->wait();
    std::vector<std::byte> bytes = tensors.out.buffer.download();
    const std::vector<std::byte> lse = tensors.lse.buffer.download();
    bytes.insert(bytes.end(), lse.begin(), lse.end());
    return bytes;
  }

  bool guards_unchanged() const {
    return tensors.out.buffer.guards_unchanged() && tensors.lse.buffer.guards_unchanged() &&
           plan_workspace.guards_unchanged() && run_workspace.guards_unchanged();
  }

 private:
  support::Memory* memory_;
};

}  // namespace flashmla::backends
