#include "flashmla/tensor_view.h"

#include <algorithm>
#include <limits>
#include <span>

#include "core/check.h"
#include "core/text.h"

namespace flashmla {

namespace {

void check_rank(std::size_t rank) {
  if (rank == 0 || rank > static_cast<std::size_t>(max_rank))
    reject("shape", text("rank ", rank), text("a rank from 1 to ", max_rank));
}

}  // namespace

TensorView::TensorView(void* data_, DType dtype_, std::initializer_list<std::int64_t> shape_,
                       Device device_)
    : data(data_), dtype(dtype_), device(device_) {
  check_rank(shape_.size());
  rank = static_cast<std::int32_t>(shape_.size());
  std::copy(shape_.begin(), shape_.end(), shape.begin());
  std::int64_t stride = 1;
  for (int d = rank - 1; d >= 0; --d) {
    strides[d] = stride;
    // Strides saturate as element_count() does.
    if (__builtin_mul_overflow(stride, std::max<std::int64_t>(shape[d], 1), &stride))
      stride = std::numeric_limits<std::int64_t>::max();
  }
}

TensorView::TensorView(void* data_, DType dtype_, std::initializer_list<std::int64_t> shape_,
                       std::initializer_list<std::int64_t> strides_, Device device_)
    : TensorView(data_, dtype_, shape_, device_) {
  if (strides_.size() != shape_.size())
    reject("strides", text(strides_.size(), " strides"), text("one for each dimension of ", rank));
  std::copy(strides_.begin(), strides_.end(), strides.begin());
}

std::int64_t TensorView::element_count() const {
  // The count saturates, so that an impossible shape does not overflow before it is refused.
  std::int64_t count = 1;
  for (int d = 0; d < std::min(rank, max_rank); ++d)
    if (__builtin_mul_overflow(count, shape[d], &count))
      return std::numeric_limits<std::int64_t>::max();
  return count;
}

std::string describe(const Device& device) {
  if (device.type != DeviceType::cpu && device.type != DeviceType::cuda)
    return text("device type ", static_cast<int>(device.type), ":", device.index);
  return text(device.type == DeviceType::cpu ? "cpu" : "cuda", ":", device.index);
}

std::string describe(const TensorView& tensor) {
  if (!tensor.given())
    return "no tensor";
  if (tensor.rank < 0 || tensor.rank > max_rank)
    return text("a tensor of rank ", tensor.rank);
  const std::span sizes(tensor.shape.data(), static_cast<std::size_t>(tensor.rank));
  return text(name_of(tensor.dtype), list_text(sizes), " on ", describe(tensor.device));
}

}  // namespace flashmla
