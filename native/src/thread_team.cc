#include "thread_team.h"

#include <algorithm>

#include <stdexcept>
#include <string>
#include <system_error>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

namespace samplewise {
namespace {

// Spins before a thread yields its core: about 50 us.
constexpr int kSpins = 1000;

void Pause() {
#if defined(__x86_64__) || defined(__i386__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Spins, then yields: if a core was taken away, the thread that is awaited may need this core.
template <class Condition>
void SpinUntil(const Condition& done) {
  for (int spin = 0; !done(); ++spin) {
    if (spin < kSpins) {
      Pause();
    } else {
      std::this_thread::yield();
    }
  }
}

}  // namespace

void Progress::Await(int64_t step) const {
  SpinUntil([&] { return step_.load(std::memory_order_acquire) >= step; });
}

ThreadTeam::ThreadTeam(int threads) {
  if (threads < 1 || threads > kMaxThreads) {
    throw std::invalid_argument("threads = " + std::to_string(threads) + " must lie in [1, " +
                                std::to_string(kMaxThreads) + "]");
  }
  try {
    for (int thread = 1; thread < threads; ++thread) {
      workers_.emplace_back([this, thread] { Work(thread); });
    }
  } catch (const std::system_error& error) {
    const std::string started = std::to_string(workers_.size() + 1);
    Stop();
    throw std::invalid_argument("threads = " + std::to_string(threads) + ", but no more than " +
                                started + " can be started here (" + error.what() + ")");
  }
}

ThreadTeam::~ThreadTeam() { Stop(); }

void ThreadTeam::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    job_.fetch_add(1, std::memory_order_release);
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadTeam::Run(int active, const std::function<void(int)>& job) {
  if (active <= 1) {
    active_ = 1;
    job(0);
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    active_ = active;
    work_ = &job;
    running_.store(threads() - 1, std::memory_order_relaxed);
    job_.fetch_add(1, std::memory_order_release);
  }
  wake_.notify_all();
  job(0);
  SpinUntil([this] { return running_.load(std::memory_order_acquire) == 0; });
}

unsigned ThreadTeam::Arrive() {
  if (active_ <= 1) return 0;
  const unsigned generation = generation_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) == active_ - 1) {
    arrived_.store(0, std::memory_order_relaxed);
    generation_.store(generation + 1, std::memory_order_release);
  }
  return generation;
}

void ThreadTeam::Await(unsigned generation) {
  if (active_ <= 1) return;
  SpinUntil([&] { return generation_.load(std::memory_order_acquire) != generation; });
}

void ThreadTeam::Work(int thread) {
  unsigned seen = 0;
  while (true) {
    for (int spin = 0; spin < kSpins && job_.load(std::memory_order_acquire) == seen; ++spin)
      Pause();
    const std::function<void(int)>* work = nullptr;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return job_.load(std::memory_order_relaxed) != seen; });
      if (stop_) return;
      seen = job_.load(std::memory_order_relaxed);
      if (thread < active_) work = work_;
    }
    if (work != nullptr) (*work)(thread);
    running_.fetch_sub(1, std::memory_order_acq_rel);
  }
}

void DivideRows(int rows, int threads, double macs, const std::function<void(int, int)>& job) {
  constexpr double kLeastMacs = 4e6;  // of a thread: some 150 us, where it begins in 30
  const double useful = std::clamp(macs / kLeastMacs, 1.0, double{kMaxThreads});
  const int active = std::max(1, std::min({threads, rows, static_cast<int>(useful)}));
  if (active == 1) {
    job(0, rows);
    return;
  }
  ThreadTeam team(active);
  team.Run(active, [&](int thread) {
    const auto bound = [&](int i) { return static_cast<int>(int64_t{rows} * i / active); };
    job(bound(thread), bound(thread + 1));
  });
}

}  // namespace samplewise
