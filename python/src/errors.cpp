#include "errors.h"

#include <nanobind/nanobind.h>

namespace nb = nanobind;

namespace flashmla::python {

namespace {

PyObject* type_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_argument:
      return PyExc_ValueError;
    case ErrorCode::unsupported:
      return PyExc_NotImplementedError;
    case ErrorCode::device_failure:
      return PyExc_RuntimeError;
  }
  return PyExc_RuntimeError;
}

void set_error(PyObject* type, const std::string& argument, const std::string& given,
               const std::string& wanted) {
  const std::string text = argument + ": given " + given + ", wanted " + wanted;
  try {
    nb::object error = nb::handle(type)(text.c_str());
    error.attr("argument") = argument.c_str();
    error.attr("given") = given.c_str();
    error.attr("wanted") = wanted.c_str();
    PyErr_SetObject(type, error.ptr());
  } catch (nb::python_error& failure) {
    failure.restore();
  }
}

void translate(const std::exception_ptr& pointer, void* /*payload*/) {
  try {
    std::rethrow_exception(pointer);
  } catch (const Error& error) {
    set_error(type_of(error.code()), error.argument(), error.given(), error.wanted());
  }
}

}  // namespace

void raise(PyObject* type, const std::string& argument, const std::string& given,
           const std::string& wanted) {
  set_error(type, argument, given, wanted);
  throw nb::python_error();
}

void translate_errors() {
  nb::register_exception_translator(translate, nullptr);
}

}  // namespace flashmla::python
