#include "product_speed.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "partition.h"
#include "seconds.h"
#include "thread_team.h"

namespace samplewise {
namespace {

constexpr int kWarmUp = 64;  // products before the clock starts, and to choose the length of runs

}  // namespace

ProductSpeed TimeProduct(const Kernels& kernels, const PackedMatrix& w, std::span<const float> x,
                         int threads, int runs, double run_seconds) {
  if (x.size() != static_cast<size_t>(w.cols()) || w.cols() == 0) {
    throw std::invalid_argument("x has " + std::to_string(x.size()) + " numbers, not " +
                                std::to_string(w.cols()) + ", the columns of the matrix");
  }
  if (threads < 1 || threads > kMaxThreads || runs < 1 || !(run_seconds > 0.0)) {
    throw std::invalid_argument("threads = " + std::to_string(threads) + " must be 1 to " +
                                std::to_string(kMaxThreads) + ", runs = " + std::to_string(runs) +
                                " and run_seconds = " + std::to_string(run_seconds) + " positive");
  }
  const Partition panels = Partition::Balanced(PanelCosts(w), threads);
  std::vector<PackedInput> inputs;
  for (int i = 0; i < threads; ++i) inputs.emplace_back(w.cols(), 1, w.format());
  ProductSpeed speed;
  speed.y.resize(static_cast<size_t>(w.padded_rows()));
  ThreadTeam team(threads);
  const auto multiply = [&](int times) {
    const double start = Seconds();
    team.Run(threads, [&](int thread) {
      const auto own = static_cast<size_t>(thread);
      const Range mine = panels.Of(thread, threads);
      for (int i = 0; i < times; ++i) {
        inputs[own].Set(kernels, 0, x.data());
        Multiply(kernels, w, inputs[own], 1, speed.y.data(), speed.y.size(), mine.first, mine.last);
        if (threads > 1) team.Barrier();
      }
    });
    return (Seconds() - start) / times;
  };
  multiply(kWarmUp);
  const double each = multiply(kWarmUp);
  const int times = static_cast<int>(std::clamp(run_seconds / each, 1.0, 1e8));
  for (int run = 0; run < runs; ++run) speed.seconds.push_back(multiply(times));
  speed.y.resize(static_cast<size_t>(w.rows()));
  return speed;
}

}  // namespace samplewise
