// The measured limits of this machine, with which speeds are compared.

#pragma once

#include <cstddef>

#include "kernels/kernels.h"

namespace samplewise {

// Sums over the threads. A multiply-add counts as one.
struct Roofline {
  double read_gb_s;    // 1e9 bytes read per second, by each thread in one stream or in four
  double f32_gmac_s;   // from registers; also the limit of f16 weights that serve many clips
  double int8_gmac_s;  // from registers, with the fastest instructions for kInt8
  // Each vector of half-precision weights loaded from L1, converted and used once: one clip.
  double f16_gmac_s;
  double int8x16_gmac_s;  // as int8_gmac_s, of the kInt8x16 product
};

// Measures on `threads` threads that are not pinned to cores: the best of several short runs, about
// half a second in all. Each thread reads its own buffer of `bytes_per_thread`, which can be as
// large as its part of a model.
Roofline MeasureRoofline(const Kernels& kernels, int threads, std::size_t bytes_per_thread);

}  // namespace samplewise
