// Speed of products on one thread, compared with the roofline:
//   bench_products [isa] [rows cols] [density]
// Times are of one product, best and median of many. "of roof" compares the best time with the time
// to read as many bytes, or to do as many multiply-adds from registers, whichever is longer.

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string>

#include "check.h"
#include "matrix.h"
#include "roofline.h"

namespace samplewise {
namespace {

double Seconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

struct Times {
  double best, median;
};

template <typename Call>
Times Measure(const Call& call) {
  std::vector<double> times;
  for (const double until = Seconds() + 0.06; Seconds() < until || times.size() < 5;) {
    const double start = Seconds();
    call();
    times.push_back(Seconds() - start);
  }
  times.erase(times.begin(),
              times.begin() + static_cast<std::ptrdiff_t>(times.size() / 4));  // warming up
  std::sort(times.begin(), times.end());
  return {times.front(), times[times.size() / 2]};
}

// About `density` of the weights, in blocks of 16 x 4.
std::vector<float> Weights(int rows, int cols, double density) {
  std::vector<float> weights =
      Normal(static_cast<size_t>(rows) * static_cast<size_t>(cols), 1, 0.05f);
  std::mt19937 generator(2);
  for (int r = 0; r < rows; r += 16) {
    for (int c = 0; c < cols; c += 4) {
      if (std::uniform_real_distribution<>()(generator) < density) continue;
      for (int i = r; i < std::min(r + 16, rows); ++i) {
        for (int j = c; j < std::min(c + 4, cols); ++j) {
          weights[static_cast<size_t>(i) * static_cast<size_t>(cols) + static_cast<size_t>(j)] =
              0.0f;
        }
      }
    }
  }
  return weights;
}

void BenchSize(const Kernels& k, int rows, int cols, double density) {
  const std::vector<float> weights = Weights(rows, cols, density);
  for (const Format format : {Format::kF32, Format::kF16, Format::kInt8, Format::kInt8x16}) {
    const PackedMatrix w(weights, rows, cols, format);
    const Roofline roof = MeasureRoofline(k, 1, w.bytes());
    const bool integer = format == Format::kInt8 || format == Format::kInt8x16;
    const double many = format == Format::kInt8      ? roof.int8_gmac_s
                        : format == Format::kInt8x16 ? roof.int8x16_gmac_s
                                                     : roof.f32_gmac_s;
    for (const int batch : {1, 2, 4, 6, 8, 12, 16, 64}) {
      const double peak = format == Format::kF16 && batch == 1 ? roof.f16_gmac_s : many;
      PackedInput x(cols, batch, format);
      for (int b = 0; b < batch; ++b) x.Set(k, b, weights.data() + b * cols);
      const size_t stride = static_cast<size_t>(w.padded_rows());
      std::vector<float> y(stride * static_cast<size_t>(batch));
      const Times t = Measure([&] { Multiply(k, w, x, batch, y.data(), stride, 0, w.panels()); });
      const double gb = static_cast<double>(w.bytes()) * 1e-9;
      const double gmac = static_cast<double>(rows) * cols * w.density() * batch * 1e-9;
      const double bound = std::max(gb / roof.read_gb_s, gmac / peak);
      std::printf(
          "%-8s %5dx%-5d %-7s batch %2d: %8.2f us (median %8.2f) %6.1f GB/s of %5.1f, %6.1f GMAC/s "
          "of %5.1f, %3.0f%% of roof\n",
          k.name, rows, cols, Name(format), batch, t.best * 1e6, t.median * 1e6, gb / t.best,
          roof.read_gb_s, gmac / t.best, peak, 100.0 * bound / t.best);
    }
    PackedInput x(cols, 1, format);
    const Times set = Measure([&] {
      for (int i = 0; i < 10; ++i) x.Set(k, 0, weights.data());
    });
    std::printf("%-8s set %s of %d: %.3f us%s\n", k.name, Name(format), cols, set.best * 1e5,
                integer ? " (quantises)" : "");
  }
}

void BenchElementwise(const Kernels& k) {
  constexpr int kN = 1024;
  std::vector<std::vector<float>> v;
  for (unsigned i = 0; i < 8; ++i) v.push_back(Normal(kN, i));
  const auto report = [&](const char* name, int n, Times t) {
    std::printf("%-8s %-12s of %5d: %7.3f us, %5.2f ns each\n", k.name, name, n, t.best * 1e5,
                t.best * 1e8 / n);
  };
  const auto ten = [](const auto& call) {
    return Measure([&] {
      for (int i = 0; i < 10; ++i) call();
    });
  };
  report("gru_after", kN, ten([&] {
           k.gru_after(kN, v[0].data(), v[1].data(), v[2].data(), v[3].data(), v[4].data(),
                       v[5].data(), v[6].data(), v[7].data());
         }));
  report("accumulate 8", 128,
         ten([&] { k.accumulate(128, 8, v[0].data(), v[1].data(), v[2].data()); }));
  double log_prob, rest, u = 0.0;
  for (const int q : {256, 1024}) {
    for (const double temperature : {1.0, 0.9}) {
      report(temperature == 1.0 ? "draw" : "draw at 0.9", q, ten([&] {
               u = u < 0.9 ? u + 0.0917 : 0.001;
               k.draw(v[0].data(), q, temperature, u, &log_prob, &rest, 0.0);
             }));
    }
  }
}

}  // namespace
}  // namespace samplewise

int main(int argc, char** argv) {
  using namespace samplewise;
  const double density = argc > 4 ? std::atof(argv[4]) : 1.0;
  for (const Isa isa : AvailableIsas()) {
    if (argc > 1 && std::string(argv[1]) != Name(isa)) continue;
    const Kernels& k = KernelsFor(isa);
    BenchElementwise(k);
    if (argc > 3) {
      BenchSize(k, std::atoi(argv[2]), std::atoi(argv[3]), density);
      continue;
    }
    for (const int rows : {256, 1024, 3072}) BenchSize(k, rows, 1024, density);
  }
  return 0;
}
