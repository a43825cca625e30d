// Products compared with a loop in double precision over the kernels' weights and activations.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "check.h"
#include "kernels/rows.h"
#include "matrix.h"
#include "size.h"

namespace samplewise {
namespace {

constexpr Format kFormats[] = {Format::kF32, Format::kF16, Format::kInt8, Format::kInt8x16};

struct Case {
  const char* what;
  int rows, cols;
  std::vector<float> weights;
  std::vector<std::vector<float>> x;
  Blocks blocks = Blocks::kAuto;
};

// A product in double precision, and the scale of the rounding errors of each row: |w| |x|.
struct Expected {
  double value, magnitude;
};
std::vector<Expected> ExpectedRows(const std::vector<float>& weights,
                                   const std::vector<double>& norms, const std::vector<float>& x) {
  double x2 = 0.0;
  for (const float value : x) x2 += static_cast<double>(value) * value;
  std::vector<Expected> rows;
  for (const double norm : norms) {
    const float* w = weights.data() + rows.size() * x.size();
    double sum = 0.0;
    for (size_t c = 0; c < x.size(); ++c) sum += static_cast<double>(w[c]) * x[c];
    rows.push_back({sum, norm * std::sqrt(x2)});
  }
  return rows;
}

std::vector<double> RowNorms(const std::vector<float>& weights, size_t rows) {
  std::vector<double> norms(rows);
  for (size_t i = 0; i < weights.size(); ++i) {
    norms[i / (weights.size() / rows)] += static_cast<double>(weights[i]) * weights[i];
  }
  for (double& norm : norms) norm = std::sqrt(norm);
  return norms;
}

// One vector as the kernels see it, and what its product is compared with.
struct Reference {
  std::vector<float> seen;
  std::vector<Expected> rows;
};

void CheckValues(const Case& c, const Kernels& k, const PackedMatrix& w, const PackedInput& x,
                 const std::vector<float>& weights, const std::vector<double>& norms,
                 const std::vector<float>& y, int vector, Reference& reference) {
  std::vector<float> seen(Size(c.cols));
  x.Get(0, seen.data());
  if (seen != reference.seen) reference = {seen, ExpectedRows(weights, norms, seen)};
  for (int r = 0; r < w.padded_rows(); ++r) {
    const float got = y[Size(r)];
    if (r >= c.rows) {
      CHECK(got == 0.0f, "%s %s %s: padded row %d is %g", c.what, k.name, Name(w.format()), r,
            static_cast<double>(got));
      continue;
    }
    const Expected& expected = reference.rows[Size(r)];
    const double tolerance = 1e-5 * expected.magnitude + 1e-37;
    CHECK(std::abs(got - expected.value) <= tolerance,
          "%s %s %s %dx%d row %d vector %d: %g, not %g", c.what, k.name, Name(w.format()), c.rows,
          c.cols, r, vector, static_cast<double>(got), expected.value);
  }
}

// The value of an integer format, with its order of multiplications.
void CheckIntegers(const Case& c, const Kernels& k, Format format, const PackedInput& x,
                   const std::vector<float>& y) {
  const std::vector<int> integers = x.Quantized(0);
  for (int r = 0; r < c.rows; r += 1 + c.rows / 7) {
    const StoredRow stored = StoreRow(c.weights.data() + Size(r * c.cols), c.cols, format);
    std::int64_t sum = 0;
    for (size_t col = 0; col < integers.size(); ++col) {
      sum += static_cast<std::int8_t>(stored.bytes[col]) * integers[col];
    }
    CHECK(std::abs(sum) <= std::numeric_limits<std::int32_t>::max(), "%s overflows", Name(format));
    const float expected = static_cast<float>(sum) * stored.scale * x.scale(0), got = y[Size(r)];
    CHECK(got == expected, "%s %s %s %dx%d row %d: %.9g, not %.9g", c.what, k.name, Name(format),
          c.rows, c.cols, r, static_cast<double>(got), static_cast<double>(expected));
  }
}

bool SameBits(const std::vector<float>& a, const float* b) {
  return std::memcmp(a.data(), b, a.size() * sizeof(float)) == 0;
}

// All formats and instruction sets; vectors one by one, and `batches` of them at a time.
void CheckCase(const Case& c, const std::vector<int>& batches) {
  const size_t vectors = std::min(c.x.size(), Size(*std::ranges::max_element(batches)));
  for (const Format format : kFormats) {
    const PackedMatrix w(c.weights, c.rows, c.cols, format, c.blocks);
    const std::vector<float> weights = w.Dequantized();
    const std::vector<double> norms = RowNorms(weights, Size(c.rows));
    const size_t stride = Size(w.padded_rows());
    std::vector<Reference> references(vectors);
    std::vector<std::vector<float>> of_baseline;
    for (const Isa isa : AvailableIsas()) {
      const Kernels& k = KernelsFor(isa);
      PackedInput one(c.cols, 1, format);
      std::vector<std::vector<float>> alone;  // one panel at a time, in reverse order
      for (size_t v = 0; v < vectors; ++v) {
        one.Set(k, 0, c.x[v].data());
        std::vector<float>& y = alone.emplace_back(stride, -1.0f);
        for (int p = w.panels() - 1; p >= 0; --p)
          Multiply(k, w, one, 1, y.data(), stride, p, p + 1);
        CheckValues(c, k, w, one, weights, norms, y, static_cast<int>(v), references[v]);
        if (IsInteger(format)) CheckIntegers(c, k, format, one, y);
      }
      if (of_baseline.empty()) of_baseline = alone;
      for (size_t v = 0; v < vectors && IsInteger(format); ++v) {
        CHECK(SameBits(alone[v], of_baseline[v].data()), "%s %s %s %dx%d: not the baseline's bits",
              c.what, k.name, Name(format), c.rows, c.cols);
      }
      for (const int batch : batches) {
        PackedInput x(c.cols, batch, format);
        for (int b = 0; b < batch; ++b) x.Set(k, b, c.x[Size(b) % vectors].data());
        std::vector<float> y(stride * Size(batch), -1.0f);
        Multiply(k, w, x, batch, y.data(), stride, 0, w.panels());
        for (int b = 0; b < batch; ++b) {
          CHECK(SameBits(alone[Size(b) % vectors], y.data() + Size(b) * stride),
                "%s %s %s %dx%d: vector %d of %d alone differs", c.what, k.name, Name(format),
                c.rows, c.cols, b, batch);
        }
      }
    }
  }
}

void TestSizes(bool is_short) {
  constexpr int kSizes[][2] = {{1, 1},    {31, 7},   {32, 2},     {33, 65},  {64, 64},
                               {96, 100}, {77, 259}, {256, 1024}, {3072, 8}, {40, 3072}};
  for (const auto& [rows, cols] : kSizes) {
    Case c{"random", rows, cols, Normal(Size(rows * cols), 1, 0.1f), {}};
    for (unsigned b = 0; b < 64; ++b) c.x.push_back(Normal(Size(cols), 100 + b));
    if (rows * cols < 30000) {
      CheckCase(c, {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 16, 64});
    } else if (is_short) {
      CheckCase(c, {3, 8});
    } else {
      CheckCase(c, {1, 2, 3, 4, 5, 6, 7, 8, 9});
    }
  }
}

void TestSparse() {
  constexpr int kSizes[][2] = {{33, 65}, {64, 64}, {130, 259}, {256, 512}};
  for (const auto& [rows, cols] : kSizes) {
    for (const double density : {0.0, 0.02, 0.1, 0.5, 0.7, 0.95}) {
      std::mt19937 generator(7);
      std::vector<float> weights = Normal(Size(rows * cols), 2, 0.1f);
      for (int r = 0; r < rows; r += 16) {
        for (int col = 0; col < cols; col += 4) {
          if (std::uniform_real_distribution<>()(generator) < density) continue;
          for (int i = r; i < std::min(r + 16, rows); ++i) {
            for (int j = col; j < std::min(col + 4, cols); ++j)
              weights[Size(i * cols + j)] = j % 2 == 0 ? 0.0f : -0.0f;
          }
        }
      }
      Case c{"sparse", rows, cols, weights, {}};
      for (unsigned b = 0; b < 14; ++b) c.x.push_back(Normal(Size(cols), 200 + b));
      CheckCase(c, {1, 2, 3, 5, 8, 13});

      for (const Format format : kFormats) {
        const PackedMatrix sparse(weights, rows, cols, format);
        const PackedMatrix dense(weights, rows, cols, format, Blocks::kDense);
        CHECK(sparse.sparse() == (sparse.density() < 1.0), "density %g", sparse.density());
        CHECK(!dense.sparse() && dense.density() == 1.0, "dense");
        CHECK(sparse.sparse() == (density < 0.9), "density %g", density);
        CHECK(!sparse.sparse() || std::abs(sparse.density() - density) < 0.15, "density %g, not %g",
              sparse.density(), density);
        CHECK(sparse.bytes() <= dense.bytes() * 11 / 10, "%zu", sparse.bytes());
        CHECK(sparse.Dequantized() == dense.Dequantized(), "%s: weights", Name(format));
        if (!IsInteger(format)) continue;
        const Kernels& k = BestKernels();
        PackedInput x(cols, 1, format);
        x.Set(k, 0, c.x[0].data());
        std::vector<float> a(Size(dense.padded_rows())), b(a.size());
        Multiply(k, sparse, x, 1, a.data(), a.size(), 0, sparse.panels());
        Multiply(k, dense, x, 1, b.data(), b.size(), 0, dense.panels());
        CHECK(a == b, "%s: sparse is not dense", Name(format));
      }
    }
  }
}

void TestExtremes() {
  constexpr int kRows = 48;
  for (const int cols : {4, 61, 512, 1024, 3072, 16384}) {
    const auto fill = [&](float even, float odd) {
      std::vector<float> v(Size(cols));
      for (size_t i = 0; i < v.size(); ++i) v[i] = i % 2 == 0 ? even : odd;
      return v;
    };
    std::vector<float> weights;
    for (int r = 0; r < kRows; ++r) {
      const std::vector<float> row = r % 3 == 0   ? fill(1, 1)
                                     : r % 3 == 1 ? fill(-1, -1)
                                                  : fill(1, -1);
      weights.insert(weights.end(), row.begin(), row.end());
    }
    CheckCase({"extremes",
               kRows,
               cols,
               weights,
               {fill(2, 2), fill(-2, -2), fill(2, -2), fill(-2, 2), fill(0, 0), fill(3e33f, -1e33f),
                fill(1e-39f, 1e-42f), fill(1e-25f, -1e-25f), fill(0, 2)}},
              {9});
  }
  // Weights at the ends of the formats' ranges: subnormal halves, the largest half, a row of zeros.
  std::vector<float> weights = {5.96e-8f, -6.1e-5f, 3e-5f, 1e-7f, 65504.0f, -65504.0f, 1.0f, 0.0f,
                                0.0f,     0.0f,     0.0f,  0.0f,  -1e-20f,  1e-20f,    0.0f, 0.0f};
  CheckCase({"ends", 4, 4, weights, {{1, 2, 3, 4}, {-1, 0.5, 1e-3f, 7}}}, {2});
  CheckCase({"ends", 4, 4, weights, {{1, 2, 3, 4}, {-1, 0.5, 1e-3f, 7}}, Blocks::kDense}, {2});
  CheckCase({"zero", 40, 8, std::vector<float>(320), {std::vector<float>(8, 1.0f)}}, {1});
}

}  // namespace
}  // namespace samplewise

// `test_products short`, for emulators: fewer batches of large products.
int main(int argc, char** argv) {
  samplewise::TestSizes(IsShort(argc, argv));
  samplewise::TestSparse();
  samplewise::TestExtremes();
  return Report("products");
}
