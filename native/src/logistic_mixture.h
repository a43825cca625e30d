// A mixture of logistic distributions over the codes, as in samplewise/heads/mixture.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "draw.h"
#include "samplewise/engine.h"

namespace samplewise {

// Draws and scores codes. Each thread has its own.
class LogisticMixture {
 public:
  LogisticMixture(int components, int q_levels);

  // Draws with the temperature and min_p of the chunk. parameters: (3 * components,), the logits of
  // the weights, places in codes, logarithms of scales in codes.
  Drawn Draw(const Chunk& chunk, size_t index, const float* parameters);
  // The same for a code that is given; log_prob is computed only if the chunk wants it.
  Drawn Score(const Chunk& chunk, const float* parameters, int32_t code);

 private:
  double LogProb(const float* parameters, int32_t code);

  size_t components_;
  int q_levels_;
  std::vector<double> weights_;  // (components,)
};

}  // namespace samplewise
