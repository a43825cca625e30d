#include "thread_scaler.h"

#include <algorithm>
#include <cmath>

namespace samplewise {
namespace {

constexpr int kFirstSamples = 8;
constexpr int kFixedSamples = 32;
// Seconds:
constexpr double kBlock = 0.005;
constexpr double kTrial = 0.004;
constexpr double kMemory = 0.015;  // after which a block counts for a third
constexpr double kMinBackoff = 0.1;
constexpr double kMaxBackoff = 1.6;
constexpr double kRecheck = 1.0;
constexpr double kMaxTrialShare = 0.05;  // of the time that goes to trials that fail
constexpr double kMargin = 0.95;         // of one thread's cost, which the team must stay below

}  // namespace

ThreadScaler::ThreadScaler(int threads, Pace pace)
    : threads_(threads),
      pace_(pace),
      is_single_(pace == Pace::kAdaptive),
      single_for_(kBlock),
      backoff_(kMinBackoff),
      last_samples_(kFirstSamples) {}

void ThreadScaler::Begin() { last_samples_ = kFirstSamples; }

int ThreadScaler::samples() const {
  if (pace_ != Pace::kAdaptive) return kFixedSamples;
  const double cost = (is_single_ ? single_cost_ : team_cost_).PerSample();
  if (cost <= 0.0) return 1;
  return static_cast<int>(std::clamp(kBlock / cost, 1.0, 2.0 * last_samples_ + 1.0));
}

void ThreadScaler::Record(int samples, double seconds) {
  last_samples_ = samples;
  if (pace_ != Pace::kAdaptive) {
    is_single_ = pace_ == Pace::kAlternate && !is_single_;
    return;
  }
  in_mode_ += seconds;
  if (is_waking_) {  // a thread may take a millisecond to wake, which says nothing about its speed
    is_waking_ = false;
    return;
  }
  awake_ += seconds;
  (is_single_ ? single_cost_ : team_cost_).Add(samples, seconds);
  if (threads_ == 1) return;
  if (is_single_) {
    if (in_mode_ >= single_for_) Switch(false);
  } else if (awake_ >= kTrial && team_cost_.PerSample() > kMargin * single_cost_.PerSample()) {
    backoff_ = std::min(2.0 * backoff_, kMaxBackoff);
    // One sample of a team that lost a core can take longer than the longest backoff.
    single_for_ = std::max(backoff_, in_mode_ / kMaxTrialShare);
    Switch(true);
  } else if (in_mode_ >= kRecheck) {
    // The team has been faster for a while. The speed of one thread changes: measure it again.
    backoff_ = kMinBackoff;
    single_for_ = kBlock;
    Switch(true);
  }
}

void ThreadScaler::Switch(bool is_single) {
  is_single_ = is_single;
  is_waking_ = !is_single;
  in_mode_ = 0.0;
  awake_ = 0.0;
  last_samples_ = kFirstSamples;
  if (!is_single) team_cost_ = {};  // a new trial, not an average with the last one
}

void ThreadScaler::Cost::Add(int samples, double seconds) {
  const double keep = std::exp(-seconds / kMemory);
  samples_ = keep * samples_ + samples;
  seconds_ = keep * seconds_ + seconds;
}

}  // namespace samplewise
