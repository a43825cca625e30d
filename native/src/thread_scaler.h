// The number of threads that work, adapted to the machine.
#pragma once

#include "samplewise/engine.h"

namespace samplewise {

// Decides for each block of samples whether all threads work or one alone. If another process takes
// a core, a team of threads is far slower than one thread; and a small model is faster on one.
class ThreadScaler {
 public:
  ThreadScaler(int threads, Pace pace);

  // Call at the start of a chunk: blocks begin small again.
  void Begin();
  // Threads that run the next block.
  int active() const { return is_single_ ? 1 : threads_; }
  // Samples of the next block: about 5 ms, fewer while the speed is not known. With a fixed pace
  // the number is fixed too, so that a test does not depend on the speed of the machine.
  int samples() const;
  // Records how long the block took.
  void Record(int samples, double seconds);

 private:
  // A mean over the last blocks, in which a block counts by its length.
  class Cost {
   public:
    void Add(int samples, double seconds);
    double PerSample() const { return samples_ > 0.0 ? seconds_ / samples_ : 0.0; }  // 0: not known

   private:
    double samples_ = 0.0;
    double seconds_ = 0.0;
  };

  void Switch(bool is_single);

  const int threads_;
  const Pace pace_;
  bool is_single_;
  Cost single_cost_;        // of one thread
  Cost team_cost_;          // of all threads
  bool is_waking_ = false;  // whether the next block waits for threads that have slept for long
  double in_mode_ = 0.0;    // seconds since the last switch
  double awake_ = 0.0;      // the same without the block that woke the threads
  double single_for_;       // seconds of one thread before the team is tried
  double backoff_;          // the same after the next trial that fails
  int last_samples_ = 0;
};

}  // namespace samplewise
