// An error of the library becomes a ValueError, TypeError, NotImplementedError or RuntimeError. The
// exception has the attributes argument, given and wanted, and a text that joins the three.
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

// Runs `call`. An error of the library gets the argument's name that Python's caller knows:
// `name_of` gives it.
template <class Call, class NameOf>
void under_names(const NameOf& name_of, const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    throw Error(error.code(), name_of(error.argument()), error.given(), error.wanted());
  }
}

// Makes every flashmla::Error that leaves a bound function one of these exceptions.
void translate_errors();

}  // namespace flashmla::python
