// A persistent team of threads, with spin barriers within a job; the threads sleep between jobs.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace samplewise {

constexpr int kMaxThreads = 256;

// A counter that one thread of a job advances and others wait for.
class Progress {
 public:
  void Reset() { step_.store(0, std::memory_order_relaxed); }  // before a barrier
  void Reach(int64_t step) { step_.store(step, std::memory_order_release); }
  void Await(int64_t step) const;  // until the step is reached

 private:
  alignas(64) std::atomic<int64_t> step_{0};
};

class ThreadTeam {
 public:
  explicit ThreadTeam(int threads);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }
  int active() const { return active_; }  // within a job

  // Runs job(thread) on the first `active` threads at the same time and returns when all have
  // ended. The calling thread is thread 0. `job` must not throw.
  void Run(int active, const std::function<void(int)>& job);

  // Waits until every active thread has called it. Only within a job, by all of its threads.
  void Barrier() { Await(Arrive()); }
  // A barrier in two parts. In between, a thread may do work that no other thread depends on.
  unsigned Arrive();
  void Await(unsigned generation);  // the result of Arrive

 private:
  void Stop();
  void Work(int thread);

  // Each on its own cache line, so that spinning on one does not slow down the others.
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

// Divides `rows` rows among at most `threads` threads, the calling one included, and runs
// job(first, last) on each. `macs`: multiply-adds in all; fewer threads begin if each had too few
// to be worth it. `job` must not throw.
void DivideRows(int rows, int threads, double macs, const std::function<void(int, int)>& job);

}  // namespace samplewise
