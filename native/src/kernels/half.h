// Half precision in scalar arithmetic, for packing and tests; the kernels have their own.
#pragma once

#include <bit>
#include <cstdint>

namespace samplewise {

// To nearest, ties to even; overflow gives infinity.
inline std::uint16_t HalfFromFloat(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = bits >> 16 & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  std::uint32_t half;
  if (magnitude >= 0x7f800000u) {  // infinity, NaN
    half = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
  } else if (magnitude < 0x38800000u) {
    // Below the smallest normal half: adding 0.5 leaves the multiple of 2^-24, rounded, in the low
    // bits.
    half = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u;
  } else {
    const std::uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
    half = rounded >= 0x47800000u ? 0x7c00u : (rounded - 0x38000000u) >> 13;
  }
  return static_cast<std::uint16_t>(sign | half);
}

inline float FloatFromHalf(std::uint16_t half) {
  const std::uint32_t sign = (half & 0x8000u) << 16;
  const std::uint32_t rest = half & 0x7fffu;
  if (rest < 0x400u) {  // zero and subnormal: a multiple of 2^-24
    const float magnitude = static_cast<float>(rest) * 0x1p-24f;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
  }
  const std::uint32_t exponent = rest >= 0x7c00u ? 0x70000000u : 0x38000000u;
  return std::bit_cast<float>((rest << 13) + exponent + sign);
}

}  // namespace samplewise
