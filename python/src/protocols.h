// The protocols by which Python's libraries show a tensor. Each function read_… reads one of them;
// tensor_reader.h chooses among them. The functions raise TypeError and ValueError that name
// reading.argument, and pass on whatever a library raises.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>

#include "dlpack_exchange.h"
#include "tensor_reader.h"

namespace flashmla::python {

// Reads a tensor of PyTorch by its type's exchange function, or by attributes where there is none.
TensorView read_torch(PyObject* tensor, ReadExchange read, const Reading& reading);

// Reads __array_interface__, of a tensor on the CPU.
TensorView read_array(PyObject* array, const Reading& reading);

// Reads __cuda_array_interface__.
TensorView read_cuda_array(PyObject* array, const Reading& reading);

// Reads __dlpack__.
TensorView read_dlpack(nanobind::handle object, const Reading& reading);

// The view of a DLTensor, whose owner stays alive.
TensorView view_of(const nanobind::dlpack::dltensor& tensor, const Reading& reading);

void check_rank(std::int64_t rank, const Reading& reading);

// Reads the first `rank` numbers of a tuple or list.
void read_sizes(nanobind::handle sequence, std::array<std::int64_t, max_rank>& sizes,
                std::int32_t rank);

// Sets the strides of a row-major tensor of view.shape.
void set_contiguous(TensorView& view);

}  // namespace flashmla::python
