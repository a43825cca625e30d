// Gates and sums compared with libm in double precision.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "check.h"
#include "kernels/half.h"
#include "kernels/kernels.h"

namespace samplewise {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

double S(double x) { return 1.0 / (1.0 + std::exp(-x)); }

// A dense grid, with the ends of all ranges.
std::vector<float> Grid() {
  std::vector<float> grid = {0.0f,   -0.0f, 1e-45f, -1e-45f, 1e-39f, -1e-39f,  1e-30f,
                             88.0f,  -88.f, 89.0f,  -89.0f,  104.0f, -104.0f,  3e38f,
                             -3e38f, kInf,  -kInf,  9.0f,    -9.0f,  8.99999f, 9.00001f};
  for (int i = -200000; i <= 200000; ++i) grid.push_back(static_cast<float>(i) * 5e-4f);
  for (float x = 1e-8f; x < 1.0f; x *= 1.01f) grid.insert(grid.end(), {x, -x});
  return grid;
}

void TestPrediction(const Kernels& k) {
  constexpr int kSamples = 101, kLags = 2 * kLagGroup;
  std::vector<double> z(kSamples + kLags);
  const std::vector<float> noise = Normal(kSamples, 3);
  std::copy(noise.begin(), noise.end(), z.begin());
  std::vector<double> lags(kLags);
  k.autocorrelate(kSamples, kLags, z.data(), lags.data());
  for (size_t lag = 0; lag < kLags; ++lag) {
    double expected = 0.0;
    for (size_t i = 0; i + lag < kSamples; ++i) expected += z[i] * z[i + lag];
    CHECK(std::abs(lags[lag] - expected) < 1e-12 * kSamples, "lag %zu: %g", lag, lags[lag]);
  }
  std::vector<float> codes(256), out(256);
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<float>(i);
  const std::vector<float> logits = Normal(256, 5);
  for (const float half : {0.005f, 0.3f, 10.0f}) {
    k.add_logistic(256, codes.data(), 77.3f, half, logits.data(), out.data());
    for (size_t i = 0; i < codes.size(); ++i) {
      const double x =
          (static_cast<double>(codes[i]) - static_cast<double>(77.3f)) * static_cast<double>(half);
      const double expected = static_cast<double>(logits[i]) -
                              2 * (std::abs(x) + std::log1p(std::exp(-2 * std::abs(x))));
      CHECK(std::abs(static_cast<double>(out[i]) - expected) <
                1e-6 * std::max(1.0, std::abs(expected)),
            "code %zu, half %g: %g", i, static_cast<double>(half), static_cast<double>(out[i]));
    }
  }
}

// s(x) and tanh(x) by themselves: with h = 1 and a candidate of 0, an update gives s(z); with z =
// s(-inf) = 0, the candidate.
void TestNonlinearities(const Kernels& k) {
  const std::vector<float> x = Grid();
  const int n = static_cast<int>(x.size());
  const std::vector<float> zero(x.size(), 0.0f), shut(x.size(), -kInf);
  std::vector<float> sigmoid(x.size(), 1.0f), tanh(x.size(), 0.0f);
  k.gru_before_update(n, x.data(), zero.data(), zero.data(), zero.data(), sigmoid.data());
  k.gru_before_update(n, shut.data(), zero.data(), x.data(), zero.data(), tanh.data());
  double worst_sigmoid = 0.0, worst_tanh = 0.0, relative_tanh = 0.0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double s = S(x[i]), t = std::tanh(static_cast<double>(x[i]));
    CHECK(sigmoid[i] >= 0.0f && sigmoid[i] <= 1.0f, "%s: s(%g)", k.name, static_cast<double>(x[i]));
    CHECK(std::abs(tanh[i]) <= 1.0f, "%s: tanh(%.9g) = %.9g", k.name, static_cast<double>(x[i]),
          static_cast<double>(tanh[i]));
    worst_sigmoid = std::max(worst_sigmoid, std::abs(sigmoid[i] - s));
    worst_tanh = std::max(worst_tanh, std::abs(tanh[i] - t));
    if (std::abs(x[i]) > 1e-30f)
      relative_tanh = std::max(relative_tanh, std::abs(tanh[i] / t - 1.0));
  }
  std::printf("%s: s within %.2g, tanh within %.2g, relative %.2g\n", k.name, worst_sigmoid,
              worst_tanh, relative_tanh);
  CHECK(worst_sigmoid <= 2e-7, "%s: %g", k.name, worst_sigmoid);
  CHECK(worst_tanh <= 4e-7, "%s: %g", k.name, worst_tanh);
  CHECK(relative_tanh <= 5e-7, "%s: %g", k.name, relative_tanh);
}

struct Inputs {
  explicit Inputs(size_t n) {
    for (unsigned i = 0; i < 10; ++i) v.push_back(Normal(n, 40 + i, 2.0f));
  }
  const float* operator[](size_t i) const { return v[i].data(); }
  std::vector<std::vector<float>> v;
};

// Each function: its output for n elements, from element `at` of the inputs on.
using Run = std::vector<float> (*)(const Kernels&, const Inputs&, int at, int n);

std::vector<float> From(const float* values, int n) {
  return std::vector<float>(values, values + n);
}

std::vector<float> RunGruAfter(const Kernels& k, const Inputs& v, int a, int n) {
  std::vector<float> h = From(v[7] + a, n);
  k.gru_after(n, v[0] + a, v[1] + a, v[2] + a, v[3] + a, v[4] + a, v[5] + a, v[6] + a, h.data());
  return h;
}
// Blocks of 32 units whose gates lie next to each other give the same bits as separate gates.
void TestGruNumbers(const Kernels& k) {
  constexpr int kBlocks = 3, kUnits = 32, kGates = 3 * kUnits;
  const float numbers[] = {0.25f, -0.7f, 1.0f};
  for (const int count : {0, 2, 3}) {
    const std::vector<float> bias = Normal(kBlocks * kGates, 1);
    const std::vector<float> columns = Normal(static_cast<size_t>(kBlocks * count * kGates), 2);
    const std::vector<float> u = Normal(kBlocks * kGates, 3);
    const std::vector<float> bn = Normal(kBlocks * kUnits, 4);
    const std::vector<float> before = Normal(kBlocks * kUnits, 5);
    std::vector<float> h(before.size());
    k.gru_real_inputs(kBlocks, count, bias.data(), columns.data(), numbers, u.data(), bn.data(),
                      before.data(), h.data());
    for (int block = 0; block < kBlocks; ++block) {
      std::vector<float> x = From(bias.data() + block * kGates, kGates);
      k.accumulate(kGates, count, columns.data() + block * count * kGates, numbers, x.data());
      const float* own = u.data() + block * kGates;
      std::vector<float> expected = From(before.data() + block * kUnits, kUnits);
      k.gru_after(kUnits, x.data(), x.data() + kUnits, x.data() + 2 * kUnits, own, own + kUnits,
                  own + 2 * kUnits, bn.data() + block * kUnits, expected.data());
      CHECK(std::equal(expected.begin(), expected.end(), h.begin() + block * kUnits),
            "%s: %d numbers, block %d", k.name, count, block);
    }
  }
}

std::vector<float> RunReset(const Kernels& k, const Inputs& v, int a, int n) {
  std::vector<float> rh(static_cast<size_t>(n));
  k.gru_before_reset(n, v[0] + a, v[3] + a, v[7] + a, rh.data());
  return rh;
}
std::vector<float> RunUpdate(const Kernels& k, const Inputs& v, int a, int n) {
  std::vector<float> h = From(v[7] + a, n);
  k.gru_before_update(n, v[1] + a, v[4] + a, v[2] + a, v[5] + a, h.data());
  return h;
}
std::vector<float> RunLstm(const Kernels& k, const Inputs& v, int a, int n) {
  const float* x[4] = {v[0] + a, v[1] + a, v[2] + a, v[3] + a};
  const float* u[4] = {v[4] + a, v[5] + a, v[6] + a, v[7] + a};
  std::vector<float> c = From(v[8] + a, n), h(static_cast<size_t>(n));
  k.lstm(n, x, u, c.data(), h.data());
  h.insert(h.end(), c.begin(), c.end());
  return h;
}
std::vector<float> RunGated(const Kernels& k, const Inputs& v, int a, int n) {
  std::vector<float> z(static_cast<size_t>(n));
  k.gated(n, v[0] + a, v[1] + a, v[2] + a, v[3] + a, z.data());
  return z;
}
std::vector<float> RunAdd(const Kernels& k, const Inputs& v, int a, int n) {
  std::vector<float> out = From(v[0] + a, n);  // in place
  k.add(n, out.data(), v[1] + a, out.data());
  return out;
}
std::vector<float> RunRelu(const Kernels& k, const Inputs& v, int a, int n) {
  std::vector<float> out = From(v[1] + a, n);  // in place
  k.relu(n, v[0] + a, out.data(), out.data());
  return out;
}

std::vector<double> ExpectedOf(Run run, const Inputs& v, size_t i) {
  const auto at = [&](size_t j) { return static_cast<double>(v[j][i]); };
  const double r = S(at(0) + at(3)), z = S(at(1) + at(4)), h = at(7);
  if (run == RunGruAfter) {
    const double candidate = std::tanh(at(2) + r * (at(5) + at(6)));
    return {candidate + z * (h - candidate)};
  }
  if (run == RunReset) return {r * h};
  if (run == RunUpdate) {
    const double candidate = std::tanh(at(2) + at(5));
    return {candidate + z * (h - candidate)};
  }
  if (run == RunLstm) {
    const double c = S(at(1) + at(5)) * at(8) + S(at(0) + at(4)) * std::tanh(at(2) + at(6));
    return {S(at(3) + at(7)) * std::tanh(c), c};
  }
  if (run == RunGated) return {std::tanh(at(0) + at(2)) * S(at(1) + at(3))};
  if (run == RunAdd) return {at(0) + at(1)};
  return {std::max(0.0, at(0) + at(1))};
}

void TestGates(const Kernels& k) {
  constexpr int kAll = 1000;
  const Inputs v(kAll);
  for (const Run run : {RunGruAfter, RunReset, RunUpdate, RunLstm, RunGated, RunAdd, RunRelu}) {
    const std::vector<float> all = run(k, v, 0, kAll);
    for (int i = 0; i < kAll; ++i) {
      const std::vector<double> expected = ExpectedOf(run, v, static_cast<size_t>(i));
      for (size_t j = 0; j < expected.size(); ++j) {
        const float got = all[j * kAll + static_cast<size_t>(i)];
        CHECK(std::abs(got - expected[j]) <= 3e-6, "%s: %g, not %g", k.name,
              static_cast<double>(got), expected[j]);
      }
    }
    // The bits do not depend on the number of elements or where they begin.
    for (int n = 0; n <= 70; ++n) {
      for (const int at : {0, 1, 3, 17}) {
        const std::vector<float> some = run(k, v, at, n);
        for (size_t j = 0; j < some.size() / static_cast<size_t>(std::max(n, 1)); ++j) {
          const bool same =
              std::memcmp(some.data() + j * static_cast<size_t>(n), all.data() + j * kAll + at,
                          static_cast<size_t>(n) * sizeof(float)) == 0;
          CHECK(same, "%s: %d elements from %d", k.name, n, at);
        }
      }
    }
  }
}

void TestAccumulate(const Kernels& k) {
  for (const int n : {0, 1, 5, 16, 63, 64, 65, 96, 200}) {
    for (const int inputs : {0, 1, 2, 8, 64}) {
      const size_t size = static_cast<size_t>(n);
      const std::vector<float> table = Normal(size * static_cast<size_t>(inputs), 3);
      const std::vector<float> v = Normal(static_cast<size_t>(inputs), 4);
      const std::vector<float> before = Normal(size, 5);
      std::vector<float> out = before;
      k.accumulate(n, inputs, table.data(), v.data(), out.data());
      for (size_t i = 0; i < size; ++i) {
        double expected = before[i];
        float alone = before[i];
        std::vector<float> column;
        for (size_t j = 0; j < v.size(); ++j) {
          expected += static_cast<double>(table[j * size + i]) * v[j];
          column.push_back(table[j * size + i]);
        }
        CHECK(std::abs(out[i] - expected) <= 2e-5, "%s %d %d: %g, not %g", k.name, n, inputs,
              static_cast<double>(out[i]), expected);
        k.accumulate(1, inputs, column.data(), v.data(), &alone);
        CHECK(alone == out[i], "%s: element %zu of %d alone differs", k.name, i, n);
      }
    }
  }
}

void TestNanStays(const Kernels& k) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), zero = 0.0f, one = 1.0f;
  for (int which = 0; which < 8; ++which) {
    const float* p[8] = {&zero, &zero, &zero, &zero, &zero, &one, &zero, &zero};
    p[which] = &nan;
    float h = *p[7];
    k.gru_after(1, p[0], p[1], p[2], p[3], p[4], p[5], p[6], &h);
    CHECK(std::isnan(h) || (which == 0 || which == 3) == false, "%s: gru input %d", k.name, which);
    CHECK(std::isnan(h), "%s: gru input %d gives %g", k.name, which, static_cast<double>(h));
  }
  float out = 0.0f;
  k.relu(1, &nan, &zero, &out);
  CHECK(std::isnan(out), "%s: relu", k.name);
}

// Every half-precision code is compared with arithmetic. test_products tests the kernels'
// conversion.
void TestHalf() {
  for (unsigned code = 0; code < 0x10000u; ++code) {
    const auto half = static_cast<std::uint16_t>(code);
    const int exponent = static_cast<int>(code >> 10 & 31);
    const double fraction = (code & 0x3ff) / 1024.0;
    double expected =
        exponent == 0 ? std::ldexp(fraction, -14) : std::ldexp(1.0 + fraction, exponent - 15);
    if (exponent == 31) expected = fraction == 0.0 ? static_cast<double>(kInf) : std::nan("");
    if (code & 0x8000u) expected = -expected;
    const float got = FloatFromHalf(half);
    CHECK(std::isnan(expected) ? std::isnan(got) : got == expected, "half %#x", code);
    if (!std::isnan(expected)) CHECK(HalfFromFloat(got) == half, "half %#x there and back", code);
  }
  // Ties round to even; a value just above a tie rounds up.
  for (unsigned code = 0; code < 0x7bffu; ++code) {
    const double low = FloatFromHalf(static_cast<std::uint16_t>(code));
    const double high = FloatFromHalf(static_cast<std::uint16_t>(code + 1));
    const auto middle = static_cast<float>((low + high) / 2.0);
    CHECK(HalfFromFloat(middle) == code + (code & 1), "tie above %#x", code);
    CHECK(HalfFromFloat(std::nextafter(middle, kInf)) == code + 1, "above the tie above %#x", code);
    CHECK(HalfFromFloat(std::nextafter(middle, 0.0f)) == code, "below the tie above %#x", code);
  }
}

}  // namespace
}  // namespace samplewise

int main() {
  for (const samplewise::Isa isa : samplewise::AvailableIsas()) {
    const samplewise::Kernels& k = samplewise::KernelsFor(isa);
    samplewise::TestPrediction(k);
    samplewise::TestNonlinearities(k);
    samplewise::TestGates(k);
    samplewise::TestAccumulate(k);
    samplewise::TestGruNumbers(k);
    samplewise::TestNanStays(k);
  }
  samplewise::TestHalf();
  return Report("elementwise");
}
