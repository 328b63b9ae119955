// What a call computes, from the fields by which the Python files describe it.
#pragma once

#include <nanobind/nanobind.h>

#include "flashmla/problem.h"

namespace flashmla::python {

// Reads a Python dictionary of the problem's fields, which are numbers, names and booleans. Raises
// TypeError or ValueError naming the field.
Problem problem_of(const nanobind::dict& fields, const Device& device);

}  // namespace flashmla::python
