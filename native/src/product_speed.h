// The speed of one product by itself: Table 4 of Kalchbrenner et al. 2018, on this machine.
#pragma once

#include <span>
#include <vector>

#include "matrix.h"

namespace samplewise {

struct ProductSpeed {
  std::vector<double> seconds;  // of one product: the mean of each run
  std::vector<float> y;         // W x, (rows,), of the last product
};

// Multiplies w by x, (cols,), repeatedly on `threads` threads. Each thread has panels of about the
// same number of bytes, packs x for itself (quantising it if the format does so), and waits for the
// others after every product, as in the step of a model. Throws std::invalid_argument if a size or
// a number is not positive.
ProductSpeed TimeProduct(const Kernels& kernels, const PackedMatrix& w, std::span<const float> x,
                         int threads, int runs, double run_seconds);

}  // namespace samplewise
