#include "tools/sparse_options.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <limits>

#include "flashmla/backends.h"
#include "support/random.h"
#include "tools/command.h"
#include "tools/option_values.h"

namespace flashmla::tools {

namespace {

constexpr std::int64_t most = std::numeric_limits<std::int32_t>::max();

void demand(const char* option, std::int64_t value, std::int64_t least, std::int64_t largest) {
  if (value < least || value > largest)
    throw BadInput(fmt::format("{}: given {}, wanted {} … {}", option, value, least, largest));
}

void refuse(const char* option, bool given) {
  if (given)
    throw BadInput(fmt::format("{}: given in sparse attention, wanted in dense alone", option));
}

std::int64_t pages_of(std::int64_t slots, std::int64_t page_size) {
  return std::max<std::int64_t>(1, (slots + page_size - 1) / page_size);
}

}  // namespace

void add_sparse_options(CLI::App& app, SparseOptions& o) {
  add_integer_option(app, "--topk", o.topk, 1, most,
                     "Sparse: entries of a query token's index list");
  add_integer_option(app, "--extra-topk", o.extra_topk, 0, most,
                     "Sparse decoding: entries into an extra cache");
  add_integer_option(app, "--extra-page-size", o.extra_page_size, 1, most,
                     "Tokens in a page of the extra cache");
}

AttentionKind kind_named(const std::string& name) {
  if (name == "dense")
    return AttentionKind::dense_decode;
  if (name == "sparse")
    return AttentionKind::sparse_decode;
  if (name == "prefill")
    return AttentionKind::sparse_prefill;
  throw BadInput(fmt::format("given {}, wanted dense, sparse or prefill", shown(name)));
}

support::SparseCase sparse_case_of(AttentionKind kind, const DenseOptions& dense,
                                   const SparseOptions& sparse) {
  refuse("--causal", dense.causal);
  refuse("--varlen", dense.varlen);
  refuse("--lengths", !dense.lengths.empty());
  refuse("--lengths-file", !dense.lengths_file.empty());
  if (dense.kv_heads > 1)
    throw BadInput(
        fmt::format("--kv-heads: given {}, wanted 1 in sparse attention", dense.kv_heads));
  const bool prefill = kind == AttentionKind::sparse_prefill;
  if (prefill && dense.batch != 1)
    throw BadInput(fmt::format("--batch: given {}, wanted 1 in sparse prefill", dense.batch));
  demand("--tokens", dense.tokens, 1, most / std::max<std::int64_t>(1, dense.batch));
  support::SparseCase made;
  made.seed = dense.seed ? *dense.seed : support::fresh_seed();
  made.kind = kind;
  made.format = format_named(dense.format);
  made.batch = dense.batch;
  made.query_tokens = dense.query_tokens;
  made.query_heads = dense.query_heads;
  made.qk_dim = is_plain(made.format) ? dense.qk_dim : format_qk_dim(made.format);
  made.page_size = prefill ? 1 : dense.page_size;
  made.num_pages = pages_of(dense.batch * dense.tokens, made.page_size);
  made.topk = sparse.topk;
  if (sparse.extra_topk > 0) {
    made.extra_topk = sparse.extra_topk;
    made.extra_page_size = sparse.extra_page_size;
    made.extra_pages = pages_of(dense.batch * dense.tokens, made.extra_page_size);
  }
  made.sink = dense.sink;
  made.softmax_scale = dense.softmax_scale;
  made.batch_invariant = dense.batch_invariant;
  made.max_workers = dense.max_workers;
  if (dense.threads > 0)
    set_cpu_threads(dense.threads);
  return made;
}

}  // namespace flashmla::tools
