// Backward-adaptive linear prediction, as in samplewise/nn/linear_predictor.py.
#pragma once

#include <cstdint>
#include <vector>

#include "history.h"
#include "kernels/kernels.h"
#include "packing.h"
#include "samplewise/engine.h"

namespace samplewise {

struct PackedLinearPredictor {
  PackedLinearPredictor() = default;
  // values: (q,), the real value of each code.
  PackedLinearPredictor(const LinearPredictorSpec& spec, int dim, const Floats& values);

  int taps() const { return order + static_cast<int>(tilt.size()); }  // of the whole filter
  int lookback() const;                      // codes of the past that a step needs
  int features() const;                      // inputs that the MLP gets
  StateArray InitialState(int batch) const;  // filter, then errors: (1, batch, width)

  int order = 0;  // 0: there is none
  int hop = 0;
  int errors = 0;
  double noise = 0.0;
  bool burg = false;
  std::vector<double> damping;  // (taps,): factors of the weights
  float largest = 0.0F;         // error that counts, in codes
  std::vector<double> tilt;
  float log_unit = 0.0F;       // of the sizes that the MLP sees
  Floats values;               // (q,): what the MLP sees of the prediction; empty: its place
  std::vector<double> window;  // (samples,)
  Floats amplitudes;           // (q,)
  Floats weights;              // (features, padded dim)
};

// A prediction of a sample, in codes.
struct PredictedPlace {
  float place = 0.0F;
  float size = 0.0F;  // of the errors so far
};

// Predicts the samples of each clip; each thread has its own.
class LinearPredictor {
 public:
  LinearPredictor(const PackedLinearPredictor& weights, const Kernels& kernels, int max_batch);

  void Load(const State& state, const StateArray& array);
  void Store(Range clips, int64_t clock, StateArray& array) const;
  // Predicts the next sample of a clip; once a sample. features: (features,)
  PredictedPlace Predict(const History& history, int clip, float* features);
  // Takes in the code of the sample that was predicted, before it is added to the history.
  void Observe(const History& history, int clip, int32_t code);

 private:
  void UpdateFilter(const History& history, int clip);
  void Levinson();  // from lags_
  void Burg();      // from windowed_
  float Place(float amplitude) const;
  const float* LastErrors(int64_t clock, int clip, int count) const;  // oldest first

  const PackedLinearPredictor& weights_;
  const Kernels& kernels_;
  std::vector<float> filters_;    // (batch, taps), the latest sample's weight first
  std::vector<float> errors_;     // (batch, 2 * kLongErrors): a ring, twice
  std::vector<float> places_;     // (batch,): the prediction that is not yet observed
  std::vector<double> windowed_;  // (window + lags,): the latest sample first, then zeros
  std::vector<double> forward_;   // (window,): errors of Burg's method
  std::vector<double> backward_;  // (window,)
  std::vector<double> lags_;
  std::vector<double> solution_;
  std::vector<double> previous_;
};

// Filters of many windows by Burg's method, for training; a window's does not depend on the others.
// windows: (count, samples), weights: (count, order), the latest sample's first; noise as a share
// of the power. Throws std::invalid_argument unless 0 < order < samples.
void BurgFilters(const Kernels& kernels, const float* windows, int count, int samples, int order,
                 double noise, float* weights, int threads);
// The same by the autocorrelation method. fade: (samples,), multiplies each window.
void AutocorrelationFilters(const Kernels& kernels, const float* windows, const float* fade,
                            int count, int samples, int order, double noise, float* weights,
                            int threads);

// Levinson's recursion. lags: (order + 1,), the first one positive; weights: (order,), the latest
// sample's first, out; scratch: (order,). Returns the power of what the filter leaves.
double Levinson(const double* lags, int order, double* weights, double* scratch);

// The sound with this excitation: each sample is the prediction from the `order` samples before it
// plus its part of the excitation. weights: (parts, order), the latest sample's first; sound:
// (order
// + parts * hold,), its first `order` samples the past, then the excitation; out: the sound.
void Synthesize(const double* weights, int parts, int hold, int order, double* sound);

}  // namespace samplewise
