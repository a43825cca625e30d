// The clock of measurements.
#pragma once

#include <chrono>

namespace samplewise {

inline double Seconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

}  // namespace samplewise
