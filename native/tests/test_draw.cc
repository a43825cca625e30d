// Draws compared with a loop in double precision.

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "check.h"
#include "kernels/kernels.h"
#include "mixture.h"
#include "size.h"

namespace samplewise {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr double kLast = 1.0 - 0x1p-24;  // the largest uniform

// The cumulative distribution of softmax(logits / temperature), without what min_p cuts off.
std::vector<double> Cdf(const std::vector<float>& logits, double temperature, double min_p = 0.0) {
  const float largest = *std::max_element(logits.begin(), logits.end());
  const auto factor = static_cast<float>(1.0 / temperature);
  const auto least = static_cast<float>(std::log(min_p));
  std::vector<double> cdf;
  double sum = 0.0;
  for (const float logit : logits) {
    const bool is_cut = (logit - largest) * factor <= least;  // as narrow as the kernel's
    const double gap = static_cast<double>(logit) - static_cast<double>(largest);
    cdf.push_back(sum += is_cut ? 0.0 : std::exp(gap / temperature));
  }
  for (double& value : cdf) value /= sum;
  return cdf;
}

void CheckDraw(const Kernels& k, const std::vector<float>& logits, double temperature,
               double uniform, const std::vector<double>& cdf, const std::vector<double>& at_one,
               double min_p = 0.0) {
  double log_prob = 1.0;
  double rest = -1.0;
  const int q = static_cast<int>(logits.size());
  const int code = k.draw(logits.data(), q, temperature, uniform, &log_prob, &rest, min_p);
  CHECK(code >= 0 && code < q, "%s: code %d of %d", k.name, code, q);
  if (code < 0 || code >= q) return;
  const auto at = static_cast<size_t>(code);
  const double below = at == 0 ? 0.0 : cdf[at - 1];
  CHECK(cdf[at] > below, "%s: code %d of %d has no probability", k.name, code, q);
  // Within 1e-6 of an edge the neighbouring code is correct too.
  CHECK(uniform >= below - 1e-6 && uniform < cdf[at] + 1e-6,
        "%s q %d T %g u %.9g: code %d is %.9g to %.9g", k.name, q, temperature, uniform, code,
        below, cdf[at]);
  // The residual gives the uniform number back.
  const double share = cdf[at] - below;
  CHECK(rest >= 0.0 && rest < 1.0, "%s q %d: rest %g", k.name, q, rest);
  CHECK(std::abs(below + rest * share - uniform) <= 1e-6,
        "%s q %d T %g u %.9g: rest %.9g of code %d", k.name, q, temperature, uniform, rest, code);
  const double expected = std::log(at_one[at] - (at == 0 ? 0.0 : at_one[at - 1]));
  if (at_one[at] - (at == 0 ? 0.0 : at_one[at - 1]) >
      1e-9) {  // otherwise the CDF's difference is not exact enough
    CHECK(std::abs(log_prob - expected) <= 1e-6, "%s q %d: ln p %g, not %g", k.name, q, log_prob,
          expected);
  }
  CHECK(k.log_prob(logits.data(), q, code) == log_prob || (temperature == 1.0 && min_p == 0.0),
        "%s: log_prob", k.name);
  CHECK(std::abs(k.log_prob(logits.data(), q, code) - log_prob) <= 1e-12, "%s: log_prob", k.name);
}

void TestRandom(const Kernels& k) {
  std::mt19937 generator(11);
  std::uniform_real_distribution<double> uniform;
  for (const int q : {2, 3, 16, 17, 63, 64, 65, 255, 256, 1000, 65536}) {
    for (const float spread : {0.0f, 0.1f, 2.0f, 20.0f, 300.0f}) {
      const std::vector<float> logits =
          Normal(static_cast<size_t>(q), 5u + static_cast<unsigned>(q), spread);
      const std::vector<double> at_one = Cdf(logits, 1.0);
      for (const double temperature : {1.0, 0.9, 0.3, 2.5}) {
        const std::vector<double> cdf = Cdf(logits, temperature);
        for (const double u : {0.0, kLast, 0.5}) CheckDraw(k, logits, temperature, u, cdf, at_one);
        for (int i = 0; i < (q > 1000 ? 20 : 200); ++i)
          CheckDraw(k, logits, temperature, uniform(generator), cdf, at_one);
        // Just inside the edges of the codes' intervals.
        for (size_t i = 1; i < cdf.size(); i += 1 + cdf.size() / 50) {
          for (const double d : {-2e-6, 2e-6}) {
            const double u = std::clamp(cdf[i] + d, 0.0, kLast);
            CheckDraw(k, logits, temperature, u, cdf, at_one);
          }
        }
      }
    }
  }
}

void TestMinP(const Kernels& k) {
  std::mt19937 generator(13);
  std::uniform_real_distribution<double> uniform;
  for (const int q : {2, 17, 256, 1000}) {
    const std::vector<float> logits = Normal(static_cast<size_t>(q), 3u, 2.0f);
    const std::vector<double> at_one = Cdf(logits, 1.0);
    for (const double temperature : {1.0, 0.7, 2.0}) {
      for (const double min_p : {1e-6, 0.01, 0.3, 0.999999}) {
        const std::vector<double> cdf = Cdf(logits, temperature, min_p);
        for (const double u : {0.0, kLast}) {
          CheckDraw(k, logits, temperature, u, cdf, at_one, min_p);
        }
        for (int i = 0; i < 200; ++i) {
          CheckDraw(k, logits, temperature, uniform(generator), cdf, at_one, min_p);
        }
      }
    }
  }
}

// Codes of probability 0 between and around the others are never drawn.
void TestImpossible(const Kernels& k) {
  for (const float impossible : {-kInf, -1e30f, -200.0f}) {
    for (const int q : {2, 5, 40, 256, 1000}) {
      for (const int only : {0, q / 2, q - 1}) {
        std::vector<float> logits(static_cast<size_t>(q), impossible);
        logits[static_cast<size_t>(only)] = 3.0f;
        double log_prob, rest;
        for (const double u : {0.0, 1e-300, 0.3, kLast, std::nextafter(1.0, 0.0)}) {
          for (const double t : {0.0, 1e-40, 1e-3, 1.0, 1.5}) {
            const int code = k.draw(logits.data(), q, t, u, &log_prob, &rest, 0.0);
            CHECK(code == only, "%s: code %d, not %d, T %g u %g", k.name, code, only, t, u);
            CHECK(log_prob == 0.0, "%s: ln p %g", k.name, log_prob);
          }
        }
      }
    }
  }
}

// At an edge the next code is drawn. The largest uniform never draws a code of probability 0.
void TestEdges(const Kernels& k) {
  double log_prob, rest;
  for (const int q : {2, 4, 64, 256, 1024}) {
    const std::vector<float> logits(static_cast<size_t>(q), 1.5f);
    for (int code = 0; code < q; ++code) {
      CHECK(k.draw(logits.data(), q, 1.0, static_cast<double>(code) / q, &log_prob, &rest, 0.0) ==
                code,
            "%s: edge %d of %d", k.name, code, q);
    }
  }
  for (unsigned seed = 0; seed < 300; ++seed) {
    std::vector<float> logits = Normal(200, seed, 3.0f);
    std::fill(logits.begin() + 150, logits.end(), -kInf);
    const int code =
        k.draw(logits.data(), 200, 0.9, std::nextafter(1.0, 0.0), &log_prob, &rest, 0.0);
    CHECK(code < 150, "%s: code %d has no probability", k.name, code);
  }
}

void TestTemperatureZero(const Kernels& k) {
  const std::vector<float> logits = Normal(256, 6);
  const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
  double log_prob, rest;
  for (const double t : {0.0, 1e-320, 1e-30, 1e-9}) {
    CHECK(k.draw(logits.data(), 256, t, 0.7, &log_prob, &rest, 0.0) == best, "%s: T %g", k.name, t);
    CHECK(std::abs(log_prob - k.log_prob(logits.data(), 256, static_cast<int>(best))) < 1e-12,
          "ln p");
  }
  // At an infinite temperature every code is equally likely.
  CHECK(k.draw(logits.data(), 256, static_cast<double>(kInf), 0.5 + 1e-9, &log_prob, &rest, 0.0) ==
            128,
        "%s: hot", k.name);
}

void TestNan(const Kernels& k) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), kInf}) {
    for (const size_t at : {size_t{0}, size_t{100}, size_t{299}}) {
      std::vector<float> logits = Normal(300, 8);
      logits[at] = bad;
      double log_prob = 0.0, rest = -1.0;
      const int code = k.draw(logits.data(), 300, 1.0, 0.5, &log_prob, &rest, 0.0);
      CHECK(code >= 0 && code < 300, "%s: code %d", k.name, code);
      CHECK(std::isnan(log_prob), "%s: ln p %g", k.name, log_prob);
      CHECK(rest >= 0.0 && rest < 1.0, "%s: rest %g", k.name, rest);
    }
  }
}

// Frequencies of many draws: chi squared over 256 codes, 200,000 draws.
void TestFrequencies(const Kernels& k) {
  constexpr int kDraws = 200000;
  const std::vector<float> logits = Normal(256, 9, 1.5f);
  const std::vector<double> cdf = Cdf(logits, 0.9);
  std::vector<int> counts(256, 0);
  std::mt19937_64 generator(10);
  std::uniform_real_distribution<double> uniform;
  double log_prob, rest;
  for (int i = 0; i < kDraws; ++i) {
    ++counts[static_cast<size_t>(
        k.draw(logits.data(), 256, 0.9, uniform(generator), &log_prob, &rest, 0.0))];
  }
  double chi2 = 0.0;
  for (size_t i = 0; i < 256; ++i) {
    const double expected = kDraws * (cdf[i] - (i == 0 ? 0.0 : cdf[i - 1]));
    chi2 += (counts[i] - expected) * (counts[i] - expected) / expected;
  }
  CHECK(chi2 > 150.0 && chi2 < 380.0, "%s: chi squared %g", k.name,
        chi2);  // 255 expected, deviation 23
}

// The amplitude of a single Gaussian is where its cumulative distribution is the random number.
void TestGaussian() {
  constexpr int kLevels = 1 << 16;
  constexpr double kMean = 0.4;
  constexpr double kHalfTail = 0x1p-25;  // the ends of [0, 1) are that far inwards
  std::vector<float> values;
  for (int code = 0; code < kLevels; ++code) {
    values.push_back(static_cast<float>(code - kLevels / 2) / (kLevels / 16));  // -8 to 8
  }
  const double half_step = 8.0 / kLevels;
  GaussianMixture mixture(1, values);
  // The deviation: 1, as ln(1 + e^x) = 7.
  const float parameters[] = {0.3F, static_cast<float>(kMean),
                              static_cast<float>(std::log(std::expm1(7.0)) - 7.0)};
  const float uniform = 0.9F;
  const double zero = 0.0;
  Chunk likeliest;
  likeliest.samples = 1;
  likeliest.uniforms = &uniform;
  likeliest.temperature = &zero;
  const int middle = mixture.Draw(likeliest, 0, parameters).code;
  CHECK(std::abs(values[Size(middle)] - kMean) <= half_step, "T 0: code %d", middle);
  for (const double temperature : {0.25, 1.0, 1.5}) {
    for (const double u : {0.0, 1e-6, 1e-3, 0.1, 0.499, 0.5, 0.77, 0.9999, kLast}) {
      const auto number = static_cast<float>(u);
      Chunk chunk;
      chunk.samples = 1;
      chunk.uniforms = &number;
      chunk.temperature = &temperature;
      const Drawn drawn = mixture.Draw(chunk, 0, parameters);
      const double value = values[Size(drawn.code)];
      const auto cdf = [&](double x) {
        return 0.5 * std::erfc((kMean - x) / std::sqrt(2 * temperature));
      };
      const double wanted = std::clamp(static_cast<double>(number), kHalfTail, 1 - kHalfTail);
      CHECK(cdf(value - 1.01 * half_step) <= wanted && wanted <= cdf(value + 1.01 * half_step),
            "T %g, u %.9g: code %d", temperature, u, drawn.code);
      const double density =
          -0.5 * (value - kMean) * (value - kMean) - std::log(std::sqrt(2 * std::numbers::pi));
      CHECK(std::abs(drawn.log_prob - density) < 1e-6, "ln p %g, not %g", drawn.log_prob, density);
    }
  }
}

}  // namespace
}  // namespace samplewise

int main() {
  samplewise::TestGaussian();
  for (const samplewise::Isa isa : samplewise::AvailableIsas()) {
    const samplewise::Kernels& k = samplewise::KernelsFor(isa);
    samplewise::TestRandom(k);
    samplewise::TestMinP(k);
    samplewise::TestImpossible(k);
    samplewise::TestEdges(k);
    samplewise::TestTemperatureZero(k);
    samplewise::TestNan(k);
    samplewise::TestFrequencies(k);
  }
  return Report("draw");
}
