// Measures how long a device works.
#pragma once

#include <chrono>

namespace flashmla::support {

class Stopwatch {
 public:
  virtual ~Stopwatch() = default;

  // Called before and after each piece of work. On a GPU they put marks into the default stream and
  // wait for nothing.
  virtual void start() = 0;
  virtual void stop() = 0;

  // The seconds of all pieces since the last call of seconds(). Waits for the device.
  virtual double seconds() = 0;
};

class HostStopwatch : public Stopwatch {
 public:
  void start() override { started_ = Clock::now(); }
  void stop() override {
    seconds_ += std::chrono::duration<double>(Clock::now() - started_).count();
  }
  double seconds() override {
    const double seconds = seconds_;
    seconds_ = 0;
    return seconds;
  }

 private:
  using Clock = std::chrono::steady_clock;

  Clock::time_point started_;
  double seconds_ = 0;
};

}  // namespace flashmla::support
