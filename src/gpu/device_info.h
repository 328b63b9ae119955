// What the library knows of the machine's GPUs. Asked for once; needs neither a GPU nor a driver.
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
  int shared_bytes;                // that one block may have
  double memory_bytes_per_second;  // of device memory, nominal; 0: not known
};

struct Devices {
  std::vector<DeviceInfo> list;
  std::string reason;  // why the list is empty
};

const Devices& devices();

// Makes a device current, and the one before when it goes.
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
