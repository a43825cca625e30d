// Packing, quantising, and invalid arguments.

#include <algorithm>
#include <cmath>
#include <limits>

#include "check.h"
#include "kernels/rows.h"
#include "matrix.h"
#include "size.h"

namespace samplewise {
namespace {

constexpr Format kFormats[] = {Format::kF32, Format::kF16, Format::kInt8, Format::kInt8x16};

// Quantised values are the nearest integers within the limit, the same on every instruction set.
void TestQuantization() {
  for (const Format format : {Format::kInt8, Format::kInt8x16}) {
    for (const int cols : {1, 7, 16, 33, 100, 1024, 3072}) {
      const int limit = ActivationLimit(format, cols);
      for (const float size : {1.0f, 1e-29f, 1e-35f, 1e-39f, 1e30f}) {
        const std::vector<float> values = Normal(Size(cols), 12, size);
        std::vector<int> of_first;
        for (const Isa isa : AvailableIsas()) {
          PackedInput x(cols, 2, format);
          x.Set(KernelsFor(isa), 1, values.data());
          const std::vector<int> integers = x.Quantized(1);
          const double scale = x.scale(1);
          CHECK((scale == 0.0) == (size < 1e-30f), "%s: scale %g of %g", Name(isa), scale,
                static_cast<double>(size));
          for (size_t c = 0; c < integers.size(); ++c) {
            const double steps = scale == 0.0 ? 0.0 : values[c] / scale;
            CHECK(std::abs(integers[c] - steps) <= 0.5 + limit * 2e-7, "%s %s: %d, not %g",
                  Name(isa), Name(format), integers[c], steps);
            CHECK(std::abs(integers[c]) <= limit, "%s %s: %d", Name(isa), Name(format),
                  integers[c]);
          }
          if (of_first.empty()) of_first = integers;
          CHECK(integers == of_first, "%s %s: not the baseline's integers", Name(isa),
                Name(format));
        }
      }
    }
  }
}

// The weights of a group add up to kMaxGroupSum at most, in steps of which one row has the fewest
// that allow it: the largest weight is 127 of them or a group's sum is near the limit.
void TestGroupSums() {
  constexpr int kCols = 61;
  std::vector<std::vector<float>> rows = {Normal(kCols, 3), std::vector<float>(kCols, 1.0f),
                                          std::vector<float>(kCols, -2e38f)};
  rows.emplace_back(kCols, 0.0f)[40] = -3.0f;
  rows.emplace_back(kCols, 1e-39f);  // too small for a step
  for (const std::vector<float>& row : rows) {
    const StoredRow stored = StoreRow(row.data(), kCols, Format::kInt8);
    const auto at = [&](int col) {
      return col < kCols ? static_cast<std::int8_t>(stored.bytes[Size(col)]) : 0;
    };
    int all = 0, largest = 0, largest_sum = 0;
    for (int col = 0; col < kCols; ++col) {
      all += at(col);
      largest = std::max(largest, std::abs(at(col)));
      const double steps = stored.scale == 0.0f ? 0.0 : row[Size(col)] / double{stored.scale};
      CHECK(std::abs(at(col) - steps) <= 0.5001, "%d, not %g", at(col), steps);
      if (col % 8 != 0 && col % 8 != 2) continue;
      int sums[2] = {};
      for (const int other : {col, col + 1, col + 4, col + 5}) sums[at(other) < 0] += at(other);
      largest_sum = std::max({largest_sum, sums[0], -sums[1]});
    }
    CHECK(all == stored.sum, "sum %d, not %d", stored.sum, all);
    CHECK(largest_sum <= kMaxGroupSum, "a group of %d", largest_sum);
    CHECK(stored.scale == 0.0f || largest == 127 || largest_sum >= kMaxGroupSum - 4,
          "the largest weight is %d, the largest sum %d", largest, largest_sum);
  }
}

// A single weight that is not zero keeps its block.
void TestSingleWeights() {
  constexpr int kRows = 50, kCols = 23;
  for (const Format format : kFormats) {
    for (int at = 0; at < kRows * kCols; ++at) {
      std::vector<float> weights(Size(kRows * kCols), 0.0f);
      weights[Size(at)] = -0.75f;
      const PackedMatrix w(weights, kRows, kCols, format);
      CHECK(w.sparse() && w.Dequantized() == weights, "%s: weight %d", Name(format), at);
    }
  }
}

// Only the rows of the requested panels are written.
void TestPanels() {
  const std::vector<float> weights = Normal(Size(100 * 12), 13);
  for (const Isa isa : AvailableIsas()) {
    for (const Format format : kFormats) {
      const PackedMatrix w(weights, 100, 12, format);
      PackedInput x(12, 3, format);
      for (int b = 0; b < 3; ++b) x.Set(KernelsFor(isa), b, weights.data() + 12 * b);
      std::vector<float> y(3 * 140, -7.0f);
      Multiply(KernelsFor(isa), w, x, 3, y.data(), 140, 1, 3);
      for (int i = 0; i < 3 * 140; ++i) {
        const bool written = i % 140 >= 32 && i % 140 < 96;
        CHECK((y[Size(i)] != -7.0f) == written, "%s %s: row %d", Name(isa), Name(format), i % 140);
      }
    }
  }
}

void TestNonFinite() {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  for (const float bad : {kInf, -kInf, std::numeric_limits<float>::quiet_NaN()}) {
    std::vector<float> weights(12, 1.0f);
    weights[7] = bad;
    for (const Format f : kFormats)
      CHECK(Refused([&] { PackedMatrix(weights, 3, 4, f); }), "%g", static_cast<double>(bad));
    // An activation that is not finite makes the product not finite.
    for (const Format f : kFormats) {
      for (const Isa isa : AvailableIsas()) {
        const PackedMatrix w(std::vector<float>(40, 0.5f), 4, 10, f);
        PackedInput x(10, 1, f);
        std::vector<float> values(10, 1.0f), y(32);
        values[9] = bad;
        x.Set(KernelsFor(isa), 0, values.data());
        Multiply(KernelsFor(isa), w, x, 1, y.data(), 32, 0, 1);
        if (IsInteger(f)) {
          CHECK(std::isnan(y[0]), "%s %s: %g", Name(isa), Name(f), static_cast<double>(y[0]));
          for (const int integer : x.Quantized(0)) CHECK(integer == 0, "%d", integer);
        }
        CHECK(!std::isfinite(y[0]), "%s %s: %g", Name(isa), Name(f), static_cast<double>(y[0]));
        values[9] = 1.0f;  // and finite again after it
        x.Set(KernelsFor(isa), 0, values.data());
        Multiply(KernelsFor(isa), w, x, 1, y.data(), 32, 0, 1);
        const float error = f == Format::kInt8 ? 0.1f : 1e-4f;
        CHECK(std::abs(y[0] - 5.0f) < error, "%s %s: %g", Name(isa), Name(f),
              static_cast<double>(y[0]));
      }
    }
  }
}

void TestRefusals() {
  const std::vector<float> weights(12, 1.0f);
  CHECK(Refused([&] { PackedMatrix(weights, 3, 5, Format::kF32); }), "sizes");
  CHECK(Refused([&] { PackedMatrix(weights, 0, 0, Format::kF32); }), "empty");
  CHECK(Refused([&] { PackedMatrix(weights, -3, -4, Format::kF32); }), "negative");
  CHECK(Refused([&] { PackedMatrix(std::vector<float>(65537), 1, 65537, Format::kInt8); }), "cols");
  CHECK(Refused([&] { PackedMatrix(std::vector<float>(1, 65520.0f), 1, 1, Format::kF16); }),
        "half");
  CHECK(!Refused([&] { PackedMatrix(std::vector<float>(1, 65519.0f), 1, 1, Format::kF16); }),
        "half");
  CHECK(Refused([&] { PackedInput(0, 1, Format::kF32); }), "cols");
  CHECK(Refused([&] { PackedInput(4, 0, Format::kF32); }), "batch");

  const Kernels& k = BestKernels();
  const PackedMatrix w(weights, 3, 4, Format::kInt8);
  const PackedInput x(4, 2, Format::kInt8);
  std::vector<float> y(64);
  const auto multiply = [&](const PackedInput& input, int batch, int first, int last) {
    return Refused([&] { Multiply(k, w, input, batch, y.data(), 32, first, last); });
  };
  CHECK(!multiply(x, 2, 0, 1), "right");
  CHECK(!multiply(x, 2, 1, 0) && !multiply(x, 0, 0, 1), "nothing to do");
  CHECK(multiply(x, 3, 0, 1) && multiply(x, -1, 0, 1), "batch");
  CHECK(multiply(x, 1, 0, 2) && multiply(x, 1, -1, 1), "panels");
  CHECK(multiply(PackedInput(5, 2, Format::kInt8), 1, 0, 1), "cols");
  CHECK(multiply(PackedInput(4, 2, Format::kInt8x16), 1, 0, 1), "format");
}

void TestLimits() {
  CHECK(ActivationLimit(Format::kInt8, 65536) == kMaxByte, "int8");
  CHECK(ActivationLimit(Format::kInt8x16, 516) == 32767, "516");
  for (const int cols : {517, 1024, 3072, 65536}) {
    const int limit = ActivationLimit(Format::kInt8x16, cols);
    CHECK(static_cast<std::int64_t>(cols) * 127 * limit < (std::int64_t{1} << 31) && limit > 127,
          "%d", cols);
  }
}

void TestBytes() {
  const std::vector<float> weights(Size(70 * 12), 1.0f);
  const PackedMatrix w(weights, 70, 12, Format::kInt8);
  CHECK(w.panels() == 3 && w.padded_rows() == 96, "%d", w.panels());
  CHECK(w.panel_bytes(0) == 32 * 16 + 32 * 8, "%zu", w.panel_bytes(0));
  CHECK(w.bytes() == 3 * w.panel_bytes(0), "%zu", w.bytes());
  CHECK(PackedMatrix().bytes() == 0 && PackedMatrix().panels() == 0, "empty");
}

}  // namespace
}  // namespace samplewise

int main() {
  samplewise::TestQuantization();
  samplewise::TestGroupSums();
  samplewise::TestSingleWeights();
  samplewise::TestPanels();
  samplewise::TestNonFinite();
  samplewise::TestRefusals();
  samplewise::TestLimits();
  samplewise::TestBytes();
  return Report("matrix");
}
