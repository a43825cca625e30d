#include "mixture.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "size.h"

namespace samplewise {
namespace {

// The ends of [0, 1) are infinitely far out: half a step of single precision inwards.
constexpr double kTail = 0x1p-25;
constexpr double kUniformShare = 1e-6;  // it bounds the cost of a sample

// ln of the logistic function.
double LogSigmoid(double x) { return std::min(x, 0.0) - std::log1p(std::exp(-std::abs(x))); }

// ln of the sum of exp(terms).
double LogSum(std::span<const double> terms) {
  const double top = *std::max_element(terms.begin(), terms.end());
  if (!std::isfinite(top)) return top;
  double sum = 0.0;
  for (const double term : terms) sum += std::exp(term - top);
  return top + std::log(sum);
}

double LogSum(std::span<const float> terms, std::vector<double>& scratch) {
  std::copy(terms.begin(), terms.end(), scratch.begin());
  return LogSum(scratch);
}

struct Choice {
  size_t component;
  double within;  // where the random number lies within the share of the component
};

// Chooses a component by a random number. weights: (components,), scratch.
Choice Choose(const Chunk& chunk, size_t index, double temperature, std::span<const float> logits,
              std::vector<double>& weights) {
  const double top = *std::max_element(logits.begin(), logits.end());
  for (size_t k = 0; k < weights.size(); ++k) {  // at temperature 0 the likeliest alone
    const double gap = static_cast<double>(logits[k]) - top;
    weights[k] = gap == 0.0 ? 1.0 : std::exp(gap / temperature);
  }
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  const double target = static_cast<double>(chunk.uniforms[index]) * total;
  size_t chosen = 0;
  double edge = weights[0];
  while (chosen + 1 < weights.size() && !(target < edge)) edge += weights[++chosen];
  const double within = (target - (edge - weights[chosen])) / weights[chosen];
  return {chosen, std::clamp(within, kTail, 1 - kTail)};
}

double TemperatureAt(const Chunk& chunk, size_t index) {
  return chunk.temperature == nullptr ? 1.0 : chunk.temperature[index];
}

// The inverse of the error function: Winitzki's approximation (2008), then Newton's method.
double InverseErf(double y) {
  constexpr double kA = 0.147;
  constexpr int kSteps = 4;  // the error squares in each, from 2e-3
  const double log = std::log1p(-y * y);
  const double half = 2 / (std::numbers::pi * kA) + log / 2;
  double x = std::copysign(std::sqrt(std::sqrt(half * half - log / kA) - half), y);
  for (int step = 0; step < kSteps; ++step) {
    // Of the complement: near 1 the error function itself has lost the digits that matter.
    const double miss = x > 0 ? (1 - y) - std::erfc(x) : std::erfc(-x) - (1 + y);
    x -= miss / (2 * std::numbers::inv_sqrtpi * std::exp(-x * x));
  }
  return x;
}

// The log deviation that a parameter stands for: above a floor, in units of the data's own
// deviation.
double LogDeviation(float parameter) {
  constexpr double kFloor = -7.0;
  const double above = static_cast<double>(parameter) - kFloor;
  return kFloor + std::max(above, 0.0) + std::log1p(std::exp(-std::abs(above)));
}

}  // namespace

LogisticMixture::LogisticMixture(int components, int q_levels)
    : components_(Size(components)), q_levels_(q_levels), weights_(Size(components)) {}

Drawn LogisticMixture::Draw(const Chunk& chunk, size_t index, const float* parameters) {
  const double temperature = TemperatureAt(chunk, index);
  auto [chosen, within] = Choose(chunk, index, temperature, {parameters, components_}, weights_);
  // The density of a logistic is p (1 - p) / scale, and p (1 - p) = 1/4 in the middle.
  const double tail = (1 - std::sqrt(1 - chunk.min_p)) / 2;
  within = tail + (1 - 2 * tail) * within;
  const double scale = std::exp(static_cast<double>(parameters[2 * components_ + chosen]));
  const double offset = temperature * scale * std::log(within / (1 - within));
  const double place = static_cast<double>(parameters[components_ + chosen]) + offset;
  Drawn drawn;
  if (!std::isnan(place)) {
    drawn.code = static_cast<int>(std::clamp(std::nearbyint(place), 0.0, q_levels_ - 1.0));
  }
  drawn.log_prob = LogProb(parameters, drawn.code);
  return drawn;
}

Drawn LogisticMixture::Score(const Chunk& chunk, const float* parameters, int32_t code) {
  return {code, chunk.log_probs == nullptr ? 0.0 : LogProb(parameters, code)};
}

// The sum of weight times s(above) - s(below) = s(above) s(-below) (1 - e^(below - above)), s the
// logistic function.
double LogisticMixture::LogProb(const float* parameters, int32_t code) {
  const double log_total = LogSum({parameters, components_}, weights_);
  for (size_t k = 0; k < components_; ++k) {
    const double width = std::exp(-static_cast<double>(parameters[2 * components_ + k]));
    const double distance = code - static_cast<double>(parameters[components_ + k]);
    const bool has_below = code > 0;
    const bool has_above = code < q_levels_ - 1;
    weights_[k] = static_cast<double>(parameters[k]) - log_total;
    if (has_above) weights_[k] += LogSigmoid((distance + 0.5) * width);
    if (has_below) weights_[k] += LogSigmoid((0.5 - distance) * width);
    if (has_above && has_below) weights_[k] += std::log(-std::expm1(-width));
  }
  const double mixed = LogSum(weights_);
  return std::log((1 - kUniformShare) * std::exp(mixed) + kUniformShare / q_levels_);
}

GaussianMixture::GaussianMixture(int components, std::span<const float> values)
    : components_(Size(components)), values_(values), weights_(Size(components)) {}

Drawn GaussianMixture::Draw(const Chunk& chunk, size_t index, const float* parameters) {
  const double temperature = TemperatureAt(chunk, index);
  const auto [chosen, within] =
      Choose(chunk, index, temperature, {parameters, components_}, weights_);
  const double normal = std::numbers::sqrt2 * InverseErf(2 * within - 1);
  const double deviation = std::exp(LogDeviation(parameters[2 * components_ + chosen]));
  const double value = static_cast<double>(parameters[components_ + chosen]) +
                       std::sqrt(temperature) * deviation * normal;
  const double first = values_.front();
  const double last = values_.back();
  const double place = (value - first) * static_cast<double>(values_.size() - 1) / (last - first);
  Drawn drawn;
  if (!std::isnan(place)) {
    const auto top = static_cast<double>(values_.size() - 1);
    drawn.code = static_cast<int>(std::clamp(std::nearbyint(place), 0.0, top));
  }
  drawn.log_prob = LogDensity(parameters, drawn.code);
  return drawn;
}

Drawn GaussianMixture::Score(const Chunk& chunk, const float* parameters, int32_t code) {
  return {code, chunk.log_probs == nullptr ? 0.0 : LogDensity(parameters, code)};
}

double GaussianMixture::LogDensity(const float* parameters, int32_t code) {
  const double log_total = LogSum({parameters, components_}, weights_);
  const double value = values_[Size(code)];
  for (size_t k = 0; k < components_; ++k) {
    const double log_deviation = LogDeviation(parameters[2 * components_ + k]);
    const double distance =
        (value - static_cast<double>(parameters[components_ + k])) * std::exp(-log_deviation);
    weights_[k] = static_cast<double>(parameters[k]) - log_total - log_deviation -
                  0.5 * (distance * distance + std::log(2 * std::numbers::pi));
  }
  return LogSum(weights_);
}

}  // namespace samplewise
