// What this machine allows, measured: the figures beside which a speed means something.

#pragma once

#include <cstddef>

#include "kernels/kernels.h"

namespace samplewise {

// Sums over the threads. A multiply-add counts as one.
struct Roofline {
  double read_gb_s;    // 1e9 bytes read per second
  double f32_gmac_s;   // from registers; also the limit of f16 weights that serve many clips
  double int8_gmac_s;  // from registers, with the instructions of the kInt8 product
  // Each vector of half-precision weights loaded from L1, converted and used once: one clip.
  double f16_gmac_s;
  double int8x16_gmac_s;  // as int8_gmac_s, of the kInt8x16 product
};

// On `threads` threads, pinned nowhere: the best of several short runs, about half a second in all.
// Each thread reads a buffer of its own of `bytes_per_thread`, so that a caller can ask for the
// size of a model's share.
Roofline MeasureRoofline(const Kernels& kernels, int threads, std::size_t bytes_per_thread);

}  // namespace samplewise
