// The speed of one product by itself: Table 4 of Kalchbrenner et al. 2018, on this machine.
#pragma once

#include <span>
#include <vector>

#include "matrix.h"

namespace samplewise {

struct ProductSpeed {
  std::vector<double> seconds;  // of one product: the mean of each run
  std::vector<float> y;         // W x, (rows,): what the last product gave
};

// Multiplies w by x, (cols,), again and again on `threads` threads. Each has panels of about as
// many bytes as the others, makes its own operand of x (quantising it if the format asks for that),
// and waits for the others after every product, as the step of a model does. Throws
// std::invalid_argument if a size or a number is not positive.
ProductSpeed TimeProduct(const Kernels& kernels, const PackedMatrix& w, std::span<const float> x,
                         int threads, int runs, double run_seconds);

}  // namespace samplewise
