// What goes wrong becomes ValueError, TypeError, NotImplementedError or RuntimeError. Each carries
// the attributes argument, given and wanted beside the text that joins them.
#pragma once

#include <Python.h>

#include <string>

#include "flashmla/error.h"

namespace flashmla::python {

// Sets a Python exception of this type and throws nanobind::python_error.
[[noreturn]] void raise(PyObject* type, const std::string& argument, const std::string& given,
                        const std::string& wanted);

[[noreturn]] inline void type_error(const std::string& argument, const std::string& given,
                                    const std::string& wanted) {
  raise(PyExc_TypeError, argument, given, wanted);
}

[[noreturn]] inline void value_error(const std::string& argument, const std::string& given,
                                     const std::string& wanted) {
  raise(PyExc_ValueError, argument, given, wanted);
}

// Calls the library under other names of arguments: `name_of` gives the one that Python's caller
// knows.
template <class Call, class NameOf>
void under_names(const NameOf& name_of, const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    throw Error(error.code(), name_of(error.argument()), error.given(), error.wanted());
  }
}

// From now on a flashmla::Error that leaves a bound function becomes one of them.
void translate_errors();

}  // namespace flashmla::python
