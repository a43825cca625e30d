#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <stdexcept>
#include <string>

#include "program.h"
#include "samplewise/engine.h"

namespace samplewise {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// Decides, block by block, whether all threads work or one alone: a core that is taken away makes
// a team far slower than one thread, and a small model is faster on one.
class Governor {
 public:
  Governor(int threads, Pace pace)
      : threads_(threads), pace_(pace), alone_(pace == Pace::kAdaptive) {}

  int active() const { return alone_ ? 1 : threads_; }

  // Samples of the next block: kBlock seconds, fewer while little is known; at a fixed pace always
  // as many, so that a test sees the same on a busy machine.
  int samples() const {
    if (pace_ != Pace::kAdaptive) return kFixed;
    const double cost = alone_ ? one_ : all_;
    if (cost <= 0.0) return 1;
    return static_cast<int>(std::clamp(kBlock / cost, 1.0, 2.0 * last_ + 1.0));
  }

  void Note(int samples, double seconds) {
    last_ = samples;
    if (pace_ != Pace::kAdaptive) {
      alone_ = pace_ == Pace::kAlternate && !alone_;
      return;
    }
    const double cost = seconds / samples;
    double& known = alone_ ? one_ : all_;
    known = known <= 0.0 ? cost : 0.7 * known + 0.3 * cost;
    in_mode_ += seconds;
    if (threads_ == 1) return;
    if (alone_) {
      if (in_mode_ >= stay_) Switch(false);
    } else if (in_mode_ >= kTrial && all_ > kMargin * one_) {
      patience_ = std::min(2.0 * patience_, kMaxPatience);
      // One sample of a team whose core is overrun can take longer than all our patience.
      stay_ = std::max(patience_, in_mode_ / kTrialShare);
      Switch(true);
    } else if (in_mode_ >= kRecheck) {
      // The team has proved itself for a while. One thread's speed drifts: measure it again.
      patience_ = kMinPatience;
      stay_ = kBlock;
      Switch(true);
    }
  }

  // At the start of a call: blocks grow from a few samples again.
  void Begin() { last_ = 8; }

 private:
  static constexpr int kFixed = 32;
  static constexpr double kBlock = 0.005;
  static constexpr double kTrial = 0.004;
  static constexpr double kTrialShare = 0.05;  // of the time, at most, goes to trials that fail
  static constexpr double kMargin = 0.95;
  static constexpr double kMinPatience = 0.1;
  static constexpr double kMaxPatience = 1.6;
  static constexpr double kRecheck = 1.0;

  void Switch(bool alone) {
    alone_ = alone;
    in_mode_ = 0.0;
    last_ = 8;
    if (!alone) all_ = 0.0;  // a new trial, not an average with the last
  }

  int threads_;
  Pace pace_;
  bool alone_;
  double one_ = 0.0;  // seconds per sample of one thread, of all; 0: unknown
  double all_ = 0.0;
  double in_mode_ = 0.0;
  double stay_ = kBlock;  // how long one thread goes on alone before the team is tried
  double patience_ = kMinPatience;
  int last_ = 8;
};

}  // namespace

struct Engine::Implementation {
  Implementation(const Model& model, int max_batch, int threads, Pace pace)
      : model(model.packed()),
        max_batch(max_batch),
        team(threads),
        shared(model.packed(), max_batch, threads),
        governor(threads, pace) {
    for (int thread = 0; thread < threads; ++thread) {
      programs.push_back(std::make_unique<Program>(shared, team, max_batch, thread));
    }
  }

  void Check(const State& state, const Chunk& chunk) const;
  void CheckConditioning(const State& state, const Chunk& chunk) const;
  void Load(const State& state);
  void Store(State& state) const;

  const PackedModel& model;
  const int max_batch;
  Team team;
  Workspace shared;
  Governor governor;
  std::vector<std::unique_ptr<Program>> programs;
  std::mutex mutex;
  std::atomic<double> used = 1.0;
};

Engine::Engine(const Model& model, int max_batch, int threads, Pace pace) {
  if (max_batch < 1) {
    throw std::invalid_argument("max_batch = " + std::to_string(max_batch) + " must be >= 1");
  }
  const PackedModel& packed = model.packed();
  int useful = std::max(packed.blocks, packed.output.panels());
  if (!packed.stack.layers.empty()) useful = std::max(useful, max_batch);
  implementation_ =
      std::make_unique<Implementation>(model, max_batch, std::min(threads, useful), pace);
}

Engine::~Engine() = default;

int Engine::threads() const { return implementation_->team.threads(); }

int Engine::q_levels() const { return implementation_->model.q_levels; }

int Engine::logits() const { return implementation_->model.logits(); }

int Engine::condition_width() const { return implementation_->model.wavernn.condition.cols(); }

double Engine::threads_used() const { return implementation_->used; }

int Engine::Run(State& state, const Chunk& chunk, const std::function<bool()>& cancelled) {
  Implementation& all = *implementation_;
  const std::lock_guard lock(all.mutex);
  all.Check(state, chunk);
  all.Load(state);
  all.governor.Begin();
  int done = 0;
  double weighted = 0.0;
  while (done < chunk.samples && !(cancelled && cancelled())) {
    const int end = done + std::min(chunk.samples - done, all.governor.samples());
    const int active = all.governor.active();
    const Clock::time_point begin = Clock::now();
    all.team.Run(active, [&](int thread) {
      all.programs[static_cast<size_t>(thread)]->Run(state, chunk, done, end, active);
    });
    all.governor.Note(end - done, SecondsSince(begin));
    weighted += static_cast<double>(active) * (end - done);
    done = end;
  }
  all.used = done > 0 ? weighted / done : 1.0;
  all.Store(state);
  return done;
}

void Engine::Implementation::Check(const State& state, const Chunk& chunk) const {
  if (state.batch > max_batch) {
    throw std::invalid_argument("batch = " + std::to_string(state.batch) +
                                " exceeds max_batch = " + std::to_string(max_batch));
  }
  if (state.identity != model.identity) {
    throw std::invalid_argument("the state belongs to another model");
  }
  if (!(chunk.min_p >= 0.0 && chunk.min_p < 1.0)) {
    throw std::invalid_argument("min_p = " + std::to_string(chunk.min_p) + " must lie in [0, 1)");
  }
  if (chunk.samples < 0) throw std::invalid_argument("samples must not be negative");
  if (chunk.draws() && (chunk.uniforms == nullptr || chunk.codes == nullptr)) {
    throw std::invalid_argument("drawing needs uniforms and a place for codes");
  }
  CheckConditioning(state, chunk);
  const size_t count = static_cast<size_t>(state.batch) * static_cast<size_t>(chunk.samples);
  for (size_t i = 0; chunk.forced != nullptr && i < count; ++i) {
    const bool is_drawn = chunk.forced[i] == -1 && chunk.uniforms != nullptr && model.is_wavernn();
    if (!is_drawn && (chunk.forced[i] < 0 || chunk.forced[i] >= model.q_levels)) {
      throw std::invalid_argument("code " + std::to_string(chunk.forced[i]) +
                                  " is not within [0, " + std::to_string(model.q_levels) + ")");
    }
  }
}

void Engine::Implementation::CheckConditioning(const State& state, const Chunk& chunk) const {
  const bool is_conditioned = model.wavernn.condition.rows() > 0;
  if (is_conditioned != (chunk.conditioning != nullptr)) {
    throw std::invalid_argument(is_conditioned ? "the model needs conditioning"
                                               : "the model takes no conditioning");
  }
  if (!is_conditioned || chunk.samples == 0) return;
  const int64_t hold = model.wavernn.hold;
  const int64_t last = state.clock + chunk.samples - 1;
  const int64_t needed = last / hold - state.clock / hold + 1;
  if (chunk.vectors != needed) {
    throw std::invalid_argument("conditioning has " + std::to_string(chunk.vectors) +
                                " vectors, but samples " + std::to_string(state.clock) + " to " +
                                std::to_string(last) + " need " + std::to_string(needed) +
                                ", each held for " + std::to_string(hold));
  }
}

void Engine::Implementation::Load(const State& state) {
  const auto padded = static_cast<size_t>(model.padded());
  const size_t width = static_cast<size_t>(model.state_width());
  for (size_t index = 0; index < model.tiers.size(); ++index) {
    Workspace::Tier& tier = shared.tiers[index];
    tier.now = 0;
    const std::vector<float>& from = state.tiers[index];
    for (size_t vector = 0; vector * width < from.size(); ++vector) {
      std::copy_n(&from[vector * width], padded, &tier.h[0][vector * padded]);
      if (width > padded)
        std::copy_n(&from[vector * width + padded], padded, &tier.c[vector * padded]);
    }
    Floats& left = index == 0 ? tier.conditions : tier.left;
    std::copy(state.conditions[index].begin(), state.conditions[index].end(), left.begin());
  }
}

void Engine::Implementation::Store(State& state) const {
  const auto padded = static_cast<size_t>(model.padded());
  const size_t width = static_cast<size_t>(model.state_width());
  for (size_t index = 0; index < model.tiers.size(); ++index) {
    const Workspace::Tier& tier = shared.tiers[index];
    std::vector<float>& to = state.tiers[index];
    for (size_t vector = 0; vector * width < to.size(); ++vector) {
      std::copy_n(&tier.h[tier.now][vector * padded], padded, &to[vector * width]);
      if (width > padded)
        std::copy_n(&tier.c[vector * padded], padded, &to[vector * width + padded]);
    }
    const Floats& left = index == 0 ? tier.conditions : tier.left;
    std::copy_n(left.begin(), state.conditions[index].size(), state.conditions[index].begin());
  }
}

}  // namespace samplewise
