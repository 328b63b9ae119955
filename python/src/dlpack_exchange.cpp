#include "dlpack_exchange.h"

#include <cstdint>

#include "attributes.h"

namespace flashmla::python {

namespace {

// DLPackExchangeAPI of dlpack.h. Functions that are not used here are plain pointers.
struct ExchangeTable {
  std::uint32_t major;
  std::uint32_t minor;
  ExchangeTable* previous;
  void* allocate;
  void* managed_from_object;
  void* managed_to_object;
  ReadExchange fields_from_object;
  CurrentStream current_work_stream;
};

}  // namespace

Exchange exchange_of(PyObject* type) {
  PyObject* const capsule = PyObject_GetAttr(type, names().dlpack_exchange);
  if (capsule == nullptr) {
    PyErr_Clear();
    return {};
  }
  constexpr const char* name = "dlpack_exchange_api";
  const ExchangeTable* table = nullptr;
  if (PyCapsule_IsValid(capsule, name) != 0)
    table = static_cast<const ExchangeTable*>(PyCapsule_GetPointer(capsule, name));
  // NOTE: the type keeps the capsule alive, and the capsule points to a static table.
  Py_DECREF(capsule);
  while (table != nullptr && table->major != 1)
    table = table->previous;
  if (table == nullptr)
    return {};
  return {table->fields_from_object, table->current_work_stream};
}

}  // namespace flashmla::python
