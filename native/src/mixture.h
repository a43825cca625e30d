// Mixtures, of logistic distributions over the codes and of Gaussians over real values, as in
// samplewise/heads/mixture.py. Each thread has its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "draw.h"
#include "samplewise/engine.h"

namespace samplewise {

// The parameters are, of each component, the logit of its weight, its place in codes, and the
// logarithm of its scale in codes.
class LogisticMixture {
 public:
  LogisticMixture(int components, int q_levels);

  // Draws with the temperature and min_p of the chunk. parameters: (3 * components,)
  Drawn Draw(const Chunk& chunk, size_t index, const float* parameters);
  // The same for a code that is given; log_prob is computed only if the chunk wants it.
  Drawn Score(const Chunk& chunk, const float* parameters, int32_t code);

 private:
  double LogProb(const float* parameters, int32_t code);

  size_t components_;
  int q_levels_;
  std::vector<double> weights_;  // (components,)
};

// A density: log_prob is that of the code's real value. The parameters are, of each component, the
// logit of its weight, its mean, and the logarithm of its deviation before the floor. min_p has no
// effect.
class GaussianMixture {
 public:
  // values: (q,), the real value of each code, ascending and evenly spaced.
  GaussianMixture(int components, std::span<const float> values);

  Drawn Draw(const Chunk& chunk, size_t index, const float* parameters);
  Drawn Score(const Chunk& chunk, const float* parameters, int32_t code);

 private:
  double LogDensity(const float* parameters, int32_t code);

  size_t components_;
  std::span<const float> values_;
  std::vector<double> weights_;  // (components,)
};

}  // namespace samplewise
