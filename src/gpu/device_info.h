// The GPUs of the machine. The list is made once. Making it needs neither a GPU nor a driver.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace flashmla::gpu {

struct DeviceInfo {
  std::string name;
  int major;  // compute capability
  int minor;
  int multiprocessors;
  int shared_bytes;                // shared memory that one thread block may have
  double memory_bytes_per_second;  // of device memory, nominal; 0: not known
};

struct Devices {
  std::vector<DeviceInfo> list;
  std::string reason;  // why the list is empty
};

const Devices& devices();

// Makes a device current. The destructor makes the earlier one current again.
class DeviceScope {
 public:
  explicit DeviceScope(std::int32_t index);
  ~DeviceScope();
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  int before_ = 0;
  bool changed_ = false;
};

}  // namespace flashmla::gpu
