#include "capture.h"

#include <dlfcn.h>

namespace flashmla::python {

namespace {

// cuStreamGetCaptureInfo_v2 of the driver. CUDA 11.3 brought it, and every later driver keeps it.
using CaptureInfo = int (*)(void* stream, int* status, std::uint64_t* id, void** graph,
                            const void** dependencies, std::size_t* count);

CaptureInfo find_capture_info() {
  // The driver is not loaded here: whoever made a CUDA tensor has loaded it.
  void* const driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
  return driver == nullptr
             ? nullptr
             : reinterpret_cast<CaptureInfo>(dlsym(driver, "cuStreamGetCaptureInfo_v2"));
}

}  // namespace

std::uint64_t capture_id(void* stream) {
  static const CaptureInfo capture_info = find_capture_info();
  if (capture_info == nullptr)
    return 0;
  constexpr int active = 1;
  int status = 0;
  std::uint64_t id = 0;
  if (capture_info(stream, &status, &id, nullptr, nullptr, nullptr) != 0 || status != active)
    return 0;
  return id + 1;
}

}  // namespace flashmla::python
