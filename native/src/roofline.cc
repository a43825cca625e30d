#include "roofline.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <vector>

#include "kernels/buffer.h"
#include "seconds.h"
#include "thread_team.h"

namespace samplewise {
namespace {

constexpr int kRuns = 5;
constexpr double kRunSeconds = 0.02;

// Units of work per second of one run: `work` returns how many it did.
double Rate(const std::function<double()>& work) {
  const double start = Seconds();
  double done = 0.0;
  double elapsed = 0.0;
  do {
    done += work();
    elapsed = Seconds() - start;
  } while (elapsed < kRunSeconds);
  return done / elapsed;
}

// The best of several runs, each the sum over threads that work at the same time. make() returns
// the work of one thread.
double BestRate(int threads, const std::function<std::function<double()>()>& make) {
  ThreadTeam team(threads);
  std::vector<std::function<double()>> works;
  for (int i = 0; i < threads; ++i) works.push_back(make());
  std::vector<std::vector<double>> rates(kRuns, std::vector<double>(works.size()));
  team.Run(threads, [&](int thread) {
    const auto own = static_cast<size_t>(thread);
    works[own]();
    for (auto& of_run : rates) {
      team.Barrier();
      of_run[own] = Rate(works[own]);
    }
  });
  double best = 0.0;
  for (const auto& of_run : rates) {
    double sum = 0.0;
    for (const double rate : of_run) sum += rate;
    best = std::max(best, sum);
  }
  return best;
}

}  // namespace

Roofline MeasureRoofline(const Kernels& kernels, int threads, std::size_t bytes_per_thread) {
  constexpr int kStreams = 4;
  constexpr std::size_t kRound = 512 * kStreams;  // that Kernels::read asks for
  constexpr int kRounds = 4096;
  constexpr double kGiga = 1e9;
  threads = std::max(threads, 1);
  const std::size_t bytes = std::max(bytes_per_thread / kRound, std::size_t{1}) * kRound;
  const auto repeat = [&](double (*peak)(int)) {
    return [=] { return std::function<double()>([=] { return peak(kRounds); }); };
  };
  Roofline roofline{};
  for (const int streams : {1, kStreams}) {
    const auto read = [&] {
      auto data = std::make_shared<Buffer>(bytes);
      return std::function<double()>([&kernels, data, bytes, streams] {
        kernels.read(data->as<std::uint8_t>(), bytes, streams);
        return static_cast<double>(bytes);
      });
    };
    roofline.read_gb_s = std::max(roofline.read_gb_s, BestRate(threads, read) / kGiga);
  }
  roofline.f32_gmac_s = BestRate(threads, repeat(kernels.peak_f32)) / kGiga;
  roofline.int8_gmac_s = BestRate(threads, repeat(kernels.peak_int8)) / kGiga;
  roofline.f16_gmac_s = BestRate(threads, repeat(kernels.peak_f16)) / kGiga;
  roofline.int8x16_gmac_s = BestRate(threads, repeat(kernels.peak_int8x16)) / kGiga;
  return roofline;
}

}  // namespace samplewise
