// A persistent team of threads that meets at spin barriers within a job and sleeps between jobs.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace samplewise {

// How far one thread has come, for others that follow it within a job.
class Progress {
 public:
  void Reset() { step_.store(0, std::memory_order_relaxed); }  // before a barrier
  void Reach(int64_t step) { step_.store(step, std::memory_order_release); }
  void Await(int64_t step) const;  // until the step is reached

 private:
  alignas(64) std::atomic<int64_t> step_{0};
};

class Team {
 public:
  explicit Team(int threads);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }
  int active() const { return active_; }  // within a job

  // Runs job(thread) on the first `active` threads at once, the caller's being thread 0, and
  // returns when all have ended. `job` must not throw.
  void Run(int active, const std::function<void(int)>& job);

  // Waits until every active thread is here. Only within a job, by all of its threads.
  void Barrier() { Await(Arrive()); }
  // A barrier in two parts, between which a thread does what concerns nobody else.
  unsigned Arrive();
  void Await(unsigned generation);  // what Arrive has given

 private:
  void Stop();
  void Work(int thread);

  // Each on a cache line of its own: spinning on one must not disturb the others.
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<unsigned> generation_{0};
  alignas(64) std::atomic<unsigned> job_{0};
  alignas(64) std::atomic<int> running_{0};
  int active_ = 1;
  const std::function<void(int)>* work_ = nullptr;
  bool stop_ = false;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::thread> workers_;
};

}  // namespace samplewise
