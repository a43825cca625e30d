#include "logistic_mixture.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "size.h"

namespace samplewise {
namespace {

// The ends of [0, 1) are infinitely far out: half a step of single precision inwards.
constexpr double kTail = 0x1p-25;
constexpr double kUniformShare = 1e-6;  // it bounds the cost of a sample

// ln of the logistic function.
double LogSigmoid(double x) { return std::min(x, 0.0) - std::log1p(std::exp(-std::abs(x))); }

}  // namespace

LogisticMixture::LogisticMixture(int components, int q_levels)
    : components_(Size(components)), q_levels_(q_levels), weights_(Size(components)) {}

Drawn LogisticMixture::Draw(const Chunk& chunk, size_t index, const float* parameters) {
  const double temperature = chunk.temperature == nullptr ? 1.0 : chunk.temperature[index];
  const double top = *std::max_element(parameters, parameters + components_);
  for (size_t k = 0; k < components_; ++k) {
    weights_[k] = std::exp((static_cast<double>(parameters[k]) - top) / temperature);
  }
  const double total = std::accumulate(weights_.begin(), weights_.end(), 0.0);
  const double target = static_cast<double>(chunk.uniforms[index]) * total;
  size_t chosen = 0;
  double edge = weights_[0];
  while (chosen + 1 < components_ && !(target < edge)) edge += weights_[++chosen];
  double within = (target - (edge - weights_[chosen])) / weights_[chosen];
  within = std::clamp(within, kTail, 1 - kTail);
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
  const auto log_sum = [&](const auto& term) {
    double top = term(0);
    for (size_t k = 1; k < components_; ++k) top = std::max(top, term(k));
    if (!std::isfinite(top)) return top;
    double sum = 0.0;
    for (size_t k = 0; k < components_; ++k) sum += std::exp(term(k) - top);
    return top + std::log(sum);
  };
  const auto log_weight = [&](size_t k) { return static_cast<double>(parameters[k]); };
  const double log_total = log_sum(log_weight);
  for (size_t k = 0; k < components_; ++k) {
    const double width = std::exp(-static_cast<double>(parameters[2 * components_ + k]));
    const double distance = code - static_cast<double>(parameters[components_ + k]);
    const bool has_below = code > 0;
    const bool has_above = code < q_levels_ - 1;
    weights_[k] = log_weight(k) - log_total;
    if (has_above) weights_[k] += LogSigmoid((distance + 0.5) * width);
    if (has_below) weights_[k] += LogSigmoid((0.5 - distance) * width);
    if (has_above && has_below) weights_[k] += std::log(-std::expm1(-width));
  }
  const double mixed = log_sum([&](size_t k) { return weights_[k]; });
  return std::log((1 - kUniformShare) * std::exp(mixed) + kUniformShare / q_levels_);
}

}  // namespace samplewise
