#include "linear_predictor.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <stdexcept>
#include <string>

#include "size.h"
#include "thread_team.h"

namespace samplewise {
namespace {

// The same numbers as in samplewise/nn/linear_predictor.py.
constexpr int kRecentErrors = 16;
constexpr int kLongErrors = 128;
constexpr float kLeastSize = 0.4F;
constexpr float kLargestScaledError = 6.0F;
constexpr double kSilencePower = 1e-5;
constexpr double kFlatSilencePower = 1e-9;
constexpr int kFall = 64;
constexpr int kOtherFeatures = 4;
constexpr int kMaxOrder = 1024;
constexpr int kFewCodes = 256;  // sizes that the MLP sees are relative to those of as many

std::vector<double> AsymmetricWindow(int length) {
  std::vector<double> window(Size(length));
  const int rise = length - kFall;
  for (int i = 0; i < length; ++i) {
    const double step = i < rise ? i / (rise - 1.0) : (i - rise) / (kFall - 1.0);
    const double angle = step * std::numbers::pi / 2;
    const double root = i < rise ? std::sin(angle) : std::cos(angle);
    window[Size(i)] = static_cast<float>(root * root);
  }
  return window;
}

}  // namespace

PackedLinearPredictor::PackedLinearPredictor(const LinearPredictorSpec& spec, int dim,
                                             const Floats& values)
    : order(spec.order),
      hop(spec.hop),
      errors(spec.errors),
      noise(spec.noise),
      burg(spec.burg),
      tilt(spec.tilt),
      log_unit(static_cast<float>(std::log(static_cast<double>(values.size()) / kFewCodes))) {
  const auto q_levels = static_cast<int>(values.size());
  if (spec.companded) this->values = values;
  largest = static_cast<float>(spec.largest_error * q_levels);
  for (int i = 1; i <= taps(); ++i) damping.push_back(std::pow(1 - spec.damping, i));
  CheckRange("lp_order", order, 1, kMaxOrder);
  CheckRange("lp_hop", hop, 1, kMaxFrame);
  CheckRange("lp_window", spec.window, kFall + 2, kMaxFrame);
  CheckRange("lp_errors", errors, 1, kLongErrors);
  CheckRange("amplitudes", static_cast<int64_t>(spec.amplitudes.size()), q_levels, q_levels);
  if (!(noise > 0.0)) throw std::invalid_argument("lp_noise must be above 0");
  if (!std::is_sorted(spec.amplitudes.begin(), spec.amplitudes.end())) {
    throw std::invalid_argument("amplitudes must ascend");
  }
  window = burg ? std::vector<double>(Size(spec.window), 1.0) : AsymmetricWindow(spec.window);
  if (burg) CheckRange("lp_window", spec.window, taps() + 1, kMaxFrame);
  if (!burg && !tilt.empty()) throw std::invalid_argument("lp_tilt needs Burg's method");
  amplitudes = spec.amplitudes;
  const std::span<const float> rows = Checked(spec.features, "sample.features", dim, features());
  const int padded = CeilPanels(dim) * kPanelRows;
  weights.resize(Size(features()) * Size(padded));
  for (size_t row = 0; row < Size(dim); ++row) {
    for (size_t j = 0; j < Size(features()); ++j) {
      weights[j * Size(padded) + row] = rows[row * Size(features()) + j];
    }
  }
}

int PackedLinearPredictor::lookback() const {
  return order == 0 ? 0 : std::max(static_cast<int>(window.size()), taps());
}

int PackedLinearPredictor::features() const { return errors + kOtherFeatures; }

StateArray PackedLinearPredictor::InitialState(int batch) const {
  const size_t width = Size(taps()) + kLongErrors;
  return {Floats(width * Size(batch)), width};
}

LinearPredictor::LinearPredictor(const PackedLinearPredictor& weights, const Kernels& kernels,
                                 int max_batch)
    : weights_(weights), kernels_(kernels) {
  if (weights.order == 0) return;
  filters_.resize(Size(max_batch) * Size(weights.taps()));
  errors_.resize(Size(max_batch) * 2 * kLongErrors);
  places_.resize(Size(max_batch));
  lags_.resize(RoundUpLags(weights.order + 1));
  windowed_.resize(weights.window.size() + lags_.size());
  forward_.resize(weights.window.size());
  backward_.resize(weights.window.size());
  solution_.resize(Size(weights.taps()));
  previous_.resize(Size(weights.order));
}

void LinearPredictor::Load(const State& state, const StateArray& array) {
  const size_t order = Size(weights_.taps());
  for (size_t clip = 0; clip < Size(state.batch); ++clip) {
    const float* from = &array.values[clip * array.width];
    std::copy_n(from, order, &filters_[clip * order]);
    float* ring = &errors_[clip * 2 * kLongErrors];
    for (int i = 0; i < kLongErrors; ++i) {
      const auto place = Size(static_cast<int>((state.clock + i) % kLongErrors));
      ring[place] = ring[place + kLongErrors] = from[order + Size(i)];
    }
  }
}

void LinearPredictor::Store(Range clips, int64_t clock, StateArray& array) const {
  const size_t order = Size(weights_.taps());
  for (int clip = clips.first; clip < clips.last; ++clip) {
    float* to = &array.values[Size(clip) * array.width];
    std::copy_n(&filters_[Size(clip) * order], order, to);
    std::copy_n(LastErrors(clock, clip, kLongErrors), kLongErrors, to + order);
  }
}

PredictedPlace LinearPredictor::Predict(const History& history, int clip, float* features) {
  const int order = weights_.taps();
  if (history.clock() % weights_.hop == 0) UpdateFilter(history, clip);
  const int32_t* past = history.Last(clip, order);
  const float* filter = &filters_[Size(clip) * Size(order)];
  float amplitude = 0.0F;
  for (int i = 0; i < order; ++i) {
    amplitude += weights_.amplitudes[Size(past[order - 1 - i])] * filter[i];
  }
  const float place = places_[Size(clip)] = Place(amplitude);
  const float* errors = LastErrors(history.clock(), clip, kLongErrors);
  const float largest = weights_.largest;
  float older = 0.0F;
  float recent = 0.0F;
  for (int i = 0; i < kLongErrors; ++i) {
    const float size = std::min(std::abs(errors[i]), largest);
    (i < kLongErrors - kRecentErrors ? older : recent) += size;
  }
  const float mean_long = (older + recent) / kLongErrors;
  const float mean_recent = recent / kRecentErrors;
  const float size = (mean_recent + mean_long) / 2 + kLeastSize;
  for (int i = 0; i < weights_.errors; ++i) {
    const float scaled = errors[kLongErrors - weights_.errors + i] / size;
    features[i] = std::clamp(scaled, -kLargestScaledError, kLargestScaledError);
  }
  const float half = static_cast<float>(weights_.amplitudes.size()) / 2;
  float* others = features + weights_.errors;
  others[0] = weights_.values.empty()
                  ? (place - half) / half * 2
                  : weights_.values[Size(static_cast<int>(std::nearbyint(place)))];
  others[1] = std::log(size) - weights_.log_unit;
  others[2] = std::log(mean_recent + kLeastSize) - weights_.log_unit;
  others[3] = std::log(mean_long + kLeastSize) - weights_.log_unit;
  return {place, size};
}

void LinearPredictor::Observe(const History& history, int clip, int32_t code) {
  const auto place = Size(static_cast<int>(history.clock() % kLongErrors));
  float* ring = &errors_[Size(clip) * 2 * kLongErrors];
  ring[place] = ring[place + kLongErrors] = static_cast<float>(code) - places_[Size(clip)];
}

void LinearPredictor::UpdateFilter(const History& history, int clip) {
  const int samples = static_cast<int>(weights_.window.size());
  const int32_t* past = history.Last(clip, samples);
  for (int i = 0; i < samples; ++i) {
    const float amplitude = weights_.amplitudes[Size(past[i])];
    windowed_[Size(samples - 1 - i)] = static_cast<double>(amplitude) * weights_.window[Size(i)];
  }
  std::fill(solution_.begin(), solution_.end(), 0.0);
  weights_.burg ? Burg() : Levinson();
  float* filter = &filters_[Size(clip) * Size(weights_.taps())];
  for (size_t i = 0; i < solution_.size(); ++i) {
    filter[i] = static_cast<float>(solution_[i] * weights_.damping[i]);
  }
}

// The autocorrelation method: Levinson's recursion on the windowed samples.
void LinearPredictor::Levinson() {
  const auto samples = static_cast<int>(weights_.window.size());
  kernels_.autocorrelate(samples, static_cast<int>(lags_.size()), windowed_.data(), lags_.data());
  lags_[0] = lags_[0] * (1 + weights_.noise) + kSilencePower;
  samplewise::Levinson(lags_.data(), weights_.order, solution_.data(), previous_.data());
}

// Burg's method, of the samples that the fixed predictor leaves. The latest sample comes first
// here: a lattice is the same in both directions.
void LinearPredictor::Burg() {
  const size_t start = weights_.tilt.size();
  const size_t count = weights_.window.size() - start;
  double power = 0.0;
  for (size_t i = 0; i < count; ++i) {
    double error = windowed_[i];
    for (size_t j = 0; j < start; ++j) error -= weights_.tilt[j] * windowed_[i + j + 1];
    forward_[i] = backward_[i] = error;
    power += error * error;
  }
  const auto samples = static_cast<int>(count);
  kernels_.burg(samples, weights_.order, weights_.noise * power / samples, kFlatSilencePower,
                forward_.data(), backward_.data(), lags_.data(), previous_.data());
  // 1 - (sum of filter) = (1 - tilt) (1 - weights), polynomials in the delay.
  for (size_t i = 0; i < Size(weights_.order); ++i) {
    solution_[i] += lags_[i];
    for (size_t j = 0; j < start; ++j) solution_[i + j + 1] -= lags_[i] * weights_.tilt[j];
  }
  for (size_t j = 0; j < start; ++j) solution_[j] += weights_.tilt[j];
}

float LinearPredictor::Place(float amplitude) const {
  const Floats& table = weights_.amplitudes;
  const auto above = std::upper_bound(table.begin(), table.end(), amplitude) - table.begin();
  const auto below =
      Size(std::clamp(static_cast<int>(above) - 1, 0, static_cast<int>(table.size()) - 2));
  const float share = (amplitude - table[below]) / (table[below + 1] - table[below]);
  return static_cast<float>(below) + std::clamp(share, 0.0F, 1.0F);
}

const float* LinearPredictor::LastErrors(int64_t clock, int clip, int count) const {
  const auto place = Size(static_cast<int>((clock + kLongErrors - count) % kLongErrors));
  return &errors_[Size(clip) * 2 * kLongErrors + place];
}

void BurgFilters(const Kernels& kernels, const float* windows, int count, int samples, int order,
                 double noise, float* weights, int threads) {
  CheckRange("order", order, 1, samples - 1);
  const double macs = 3.0 * count * samples * order;
  DivideRows(count, threads, macs, [&](int first, int last) {
    std::vector<double> forward(Size(samples)), backward(Size(samples));
    std::vector<double> filter(Size(order)), scratch(Size(order));
    for (int window = first; window < last; ++window) {
      const float* from = windows + Size(window) * Size(samples);
      double power = 0.0;
      for (size_t i = 0; i < Size(samples); ++i) {  // the latest first
        const double value = from[Size(samples) - 1 - i];
        forward[i] = backward[i] = value;
        power += value * value;
      }
      kernels.burg(samples, order, noise * power / samples, kFlatSilencePower, forward.data(),
                   backward.data(), filter.data(), scratch.data());
      std::copy(filter.begin(), filter.end(), weights + Size(window) * Size(order));
    }
  });
}

void AutocorrelationFilters(const Kernels& kernels, const float* windows, const float* fade,
                            int count, int samples, int order, double noise, float* weights,
                            int threads) {
  CheckRange("order", order, 1, samples - 1);
  const double macs = 1.0 * count * samples * order;
  DivideRows(count, threads, macs, [&](int first, int last) {
    std::vector<double> lags(RoundUpLags(order + 1));
    std::vector<double> faded(Size(samples) + lags.size());
    std::vector<double> filter(Size(order)), scratch(Size(order));
    for (int window = first; window < last; ++window) {
      const float* from = windows + Size(window) * Size(samples);
      for (size_t i = 0; i < Size(samples); ++i) faded[i] = from[i] * fade[i];
      kernels.autocorrelate(samples, static_cast<int>(lags.size()), faded.data(), lags.data());
      lags[0] = lags[0] * (1 + noise) + kSilencePower;
      Levinson(lags.data(), order, filter.data(), scratch.data());
      std::copy(filter.begin(), filter.end(), weights + Size(window) * Size(order));
    }
  });
}

double Levinson(const double* lags, int order, double* weights, double* scratch) {
  double power = lags[0];
  for (int n = 0; n < order; ++n) {
    double error = lags[n + 1];
    for (int i = 0; i < n; ++i) error -= weights[i] * lags[n - i];
    const double reflection = error / power;
    std::copy_n(weights, n, scratch);
    for (int i = 0; i < n; ++i) weights[i] -= reflection * scratch[n - 1 - i];
    weights[n] = reflection;
    power *= 1 - reflection * reflection;
  }
  return power;
}

void Synthesize(const double* weights, int parts, int hold, int order, double* sound) {
  constexpr int kSums = 8;  // so that the latencies of additions overlap
  std::vector<double> filter(Size(order));
  for (int part = 0; part < parts; ++part) {
    const double* own = weights + Size(part) * Size(order);
    std::reverse_copy(own, own + order, filter.begin());
    for (int t = 0; t < hold; ++t, ++sound) {
      double sums[kSums] = {};
      int i = 0;
      for (; i + kSums <= order; i += kSums) {
        for (int j = 0; j < kSums; ++j) sums[j] += filter[Size(i + j)] * sound[i + j];
      }
      for (; i < order; ++i) sums[0] += filter[Size(i)] * sound[i];
      for (const double sum : sums) sound[order] += sum;
    }
  }
}

}  // namespace samplewise
