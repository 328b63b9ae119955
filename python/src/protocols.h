// The ways in which Python's libraries show a tensor. Each function reads one; tensor_reader.h
// chooses among them. They raise TypeError and ValueError that name reading.argument, or whatever
// the library raises itself.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>

#include "dlpack_exchange.h"
#include "tensor_reader.h"

namespace flashmla::python {

// PyTorch's tensors, by the type's exchange function where there is one, else by attributes.
TensorView read_torch(PyObject* tensor, ReadExchange read, const Reading& reading);

// __array_interface__ of a tensor on the CPU.
TensorView read_array(PyObject* array, const Reading& reading);

// __cuda_array_interface__.
TensorView read_cuda_array(PyObject* array, const Reading& reading);

// __dlpack__.
TensorView read_dlpack(nanobind::handle object, const Reading& reading);

// The fields of a DLTensor whose owner stays alive.
TensorView view_of(const nanobind::dlpack::dltensor& tensor, const Reading& reading);

void check_rank(std::int64_t rank, const Reading& reading);

// The first view.rank numbers of a tuple or list.
void read_sizes(nanobind::handle sequence, std::array<std::int64_t, max_rank>& sizes,
                std::int32_t rank);

// Strides of a row-major tensor of view.shape.
void set_contiguous(TensorView& view);

}  // namespace flashmla::python
