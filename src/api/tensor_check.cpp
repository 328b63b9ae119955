#include "api/tensor_check.h"

#include <algorithm>
#include <array>
#include <limits>
#include <span>
#include <utility>

#include "core/check.h"
#include "core/text.h"

namespace flashmla::api {

namespace {

std::string shape_text(const TensorView& tensor) {
  return text("shape ", list_text(std::span(tensor.shape.data(), tensor.rank)));
}

std::string strides_text(const TensorView& tensor) {
  return text("strides ", list_text(std::span(tensor.strides.data(), tensor.rank)), " for shape ",
              list_text(std::span(tensor.shape.data(), tensor.rank)));
}

// Whether the number of elements and the largest offset are both at most 2^62, so that no later
// arithmetic overflows.
//
// NOTE: there are no divisions, because they took most of the time of all checks.
bool fits_64_bits(const TensorView& tensor) {
  constexpr std::int64_t limit = std::int64_t{1} << 62;
  std::int64_t count = 1;
  std::int64_t offset = 0;
  for (int d = 0; d < tensor.rank; ++d) {
    const std::int64_t size = std::max<std::int64_t>(tensor.shape[d], 1);
    if (__builtin_mul_overflow(count, size, &count) || count > limit)
      return false;
    std::int64_t reach = 0;
    if (__builtin_mul_overflow(size - 1, tensor.strides[d], &reach) || reach > limit - offset)
      return false;
    offset += reach;
  }
  return true;
}

}  // namespace

TensorCheck::TensorCheck(std::string argument, const TensorView& tensor)
    : argument_(std::move(argument)), tensor_(tensor), empty_(false) {
  if (!tensor.given())
    fail("no tensor", "a tensor");
  if (tensor.rank < 0 || tensor.rank > max_rank)
    fail(text("rank ", tensor.rank), text("a rank from 1 to ", max_rank));
  if (size_of(tensor.dtype) == 0)
    fail(text("dtype ", static_cast<int>(tensor.dtype)), "a known dtype");
  const DeviceType device = tensor.device.type;
  if ((device != DeviceType::cpu && device != DeviceType::cuda) || tensor.device.index < 0)
    fail(text("a tensor on ", describe(tensor.device)), "a tensor on cpu:N or cuda:N");
  const std::span sizes(tensor.shape.data(), tensor.rank);
  const std::span strides(tensor.strides.data(), tensor.rank);
  if (std::ranges::any_of(sizes, [](std::int64_t size) { return size < 0; }))
    fail(shape_text(tensor), "sizes of at least 0");
  if (std::ranges::any_of(strides, [](std::int64_t stride) { return stride < 0; }))
    fail(strides_text(tensor), "strides of at least 0");
  if (!fits_64_bits(tensor))
    fail(strides_text(tensor), "offsets below 2^62 elements");
  empty_ = tensor.element_count() == 0;
  if (empty_)
    return;
  if (tensor.data == nullptr)
    fail("a null pointer", text("memory for ", shape_text(tensor)));
  if (reinterpret_cast<std::uintptr_t>(tensor.data) % size_of(tensor.dtype) != 0)
    fail("a misaligned pointer", text("alignment to ", size_of(tensor.dtype), " bytes"));
}

const TensorCheck& TensorCheck::on(const Device& device) const {
  if (tensor_.device != device)
    fail(text("a tensor on ", describe(tensor_.device)), text("a tensor on ", describe(device)));
  return *this;
}

const TensorCheck& TensorCheck::dtype(std::initializer_list<DType> wanted) const {
  if (std::ranges::find(wanted, tensor_.dtype) != wanted.end())
    return *this;
  std::string names;
  for (const DType type : wanted)
    names += text(names.empty() ? "" : " or ", name_of(type));
  fail(text("dtype ", name_of(tensor_.dtype)), "dtype " + names);
}

const TensorCheck& TensorCheck::shape(std::initializer_list<Dimension> wanted) const {
  bool same = static_cast<std::size_t>(tensor_.rank) == wanted.size();
  int d = 0;
  for (const Dimension& dimension : wanted) {
    same = same && (dimension.size == any_size || tensor_.shape[d] == dimension.size);
    ++d;
  }
  if (same)
    return *this;
  std::string shape;
  for (const Dimension& dimension : wanted) {
    shape += text(shape.empty() ? "[" : ", ", dimension.name);
    if (dimension.size != any_size)
      shape += text(" = ", dimension.size);
  }
  fail(shape_text(tensor_), "shape " + shape + "]");
}

const TensorCheck& TensorCheck::last_dimension_contiguous() const {
  const int last = tensor_.rank - 1;
  if (!empty_ && tensor_.shape[last] > 1 && tensor_.strides[last] != 1)
    fail(strides_text(tensor_), "a contiguous last dimension (stride 1)");
  return *this;
}

const TensorCheck& TensorCheck::contiguous() const {
  std::int64_t stride = 1;
  for (int d = tensor_.rank - 1; d >= 0; --d) {
    if (!empty_ && tensor_.shape[d] > 1 && tensor_.strides[d] != stride)
      fail(strides_text(tensor_), "a contiguous tensor");
    stride *= std::max<std::int64_t>(tensor_.shape[d], 1);
  }
  return *this;
}

const TensorCheck& TensorCheck::writable() const {
  std::array<std::pair<std::int64_t, std::int64_t>, max_rank> dimensions;  // stride, size
  std::size_t count = 0;
  for (int d = 0; d < tensor_.rank; ++d) {
    if (tensor_.shape[d] <= 1)
      continue;
    const std::pair dimension(tensor_.strides[d], tensor_.shape[d]);
    // An insertion sort by stride. NOTE: not std::sort, for which g++ 12 warns of out-of-bounds
    // accesses on so short an array.
    std::size_t at = count++;
    for (; at > 0 && dimension < dimensions[at - 1]; --at)
      dimensions[at] = dimensions[at - 1];
    dimensions[at] = dimension;
  }
  std::int64_t extent = 1;  // elements that the dimensions up to here span
  for (const auto& [stride, size] : std::span(dimensions).first(count)) {
    if (!empty_ && stride < extent)
      fail(strides_text(tensor_), "strides that reach each element once");
    extent = stride * (size - 1) + extent;
  }
  return *this;
}

void TensorCheck::fail(std::string given, std::string wanted) const {
  reject(argument_, std::move(given), std::move(wanted));
}

}  // namespace flashmla::api
