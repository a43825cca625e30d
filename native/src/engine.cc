#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <stdexcept>
#include <string>

#include "conditioning.h"
#include "packed_model.h"
#include "samplewise/engine.h"
#include "size.h"
#include "thread_scaler.h"
#include "thread_team.h"

namespace samplewise {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// The workspace of a model and the stepper of each thread.
class Steppers {
 public:
  virtual ~Steppers() = default;

  virtual void Load(const State& state) = 0;  // before the blocks of a chunk
  virtual void Run(int thread, State& state, const Chunk& chunk, int begin, int end,
                   int active) = 0;
  virtual void Store(State& state) const = 0;  // after them
};

template <class Network>
class SteppersOf final : public Steppers {
 public:
  SteppersOf(const Network& network, const Kernels& kernels, ThreadTeam& team, int max_batch)
      : shared_(network, kernels, team, max_batch) {
    for (int thread = 0; thread < team.threads(); ++thread) {
      steppers_.push_back(std::make_unique<typename Network::Stepper>(shared_, thread));
    }
  }

  void Load(const State& state) override { shared_.Load(state); }
  void Run(int thread, State& state, const Chunk& chunk, int begin, int end, int active) override {
    steppers_[Size(thread)]->Run(state, chunk, begin, end, active);
  }
  void Store(State& state) const override { shared_.Store(state); }

 private:
  typename Network::Workspace shared_;
  std::vector<std::unique_ptr<typename Network::Stepper>> steppers_;
};

std::unique_ptr<Steppers> MakeSteppers(const PackedModel& model, ThreadTeam& team, int max_batch) {
  return std::visit(
      [&](const auto& network) -> std::unique_ptr<Steppers> {
        using Network = std::decay_t<decltype(network)>;
        return std::make_unique<SteppersOf<Network>>(network, model.kernels, team, max_batch);
      },
      model.network);
}

ConditioningSize ConditioningOf(const PackedModel& model) {
  return std::visit([](const auto& network) { return network.conditioning; }, model.network);
}

void CheckConditioning(ConditioningSize size, const State& state, const Chunk& chunk) {
  const bool is_conditioned = size.width > 0;
  if (is_conditioned != (chunk.conditioning != nullptr)) {
    throw std::invalid_argument(is_conditioned ? "the model needs conditioning"
                                               : "the model takes no conditioning");
  }
  if (!is_conditioned || chunk.samples == 0) return;
  const int64_t last = state.clock + chunk.samples - 1;
  const int64_t needed = last / size.hold - state.clock / size.hold + 1;
  if (chunk.vectors != needed) {
    throw std::invalid_argument("conditioning has " + std::to_string(chunk.vectors) +
                                " vectors, but samples " + std::to_string(state.clock) + " to " +
                                std::to_string(last) + " need " + std::to_string(needed) +
                                ", each held for " + std::to_string(size.hold));
  }
}

void Check(const PackedModel& model, int max_batch, const State& state, const Chunk& chunk) {
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
  CheckConditioning(ConditioningOf(model), state, chunk);
  const bool is_wavernn = std::holds_alternative<PackedWaveRnn>(model.network);
  const size_t count = Size(state.batch) * Size(chunk.samples);
  for (size_t i = 0; chunk.forced != nullptr && i < count; ++i) {
    const int32_t code = chunk.forced[i];
    const bool is_drawn = code == -1 && chunk.uniforms != nullptr && is_wavernn;
    if (!is_drawn && (code < 0 || code >= model.q_levels)) {
      throw std::invalid_argument("code " + std::to_string(code) + " is not within [0, " +
                                  std::to_string(model.q_levels) + ")");
    }
  }
}

int UsefulThreads(const PackedModel& model, int max_batch) {
  return std::visit([&](const auto& network) { return network.useful_threads(max_batch); },
                    model.network);
}

}  // namespace

struct Engine::Implementation {
  Implementation(const PackedModel& model, int max_batch, int threads, Pace pace)
      : model(model),
        max_batch(max_batch),
        team(threads),
        steppers(MakeSteppers(model, team, max_batch)),
        scaler(threads, pace) {}

  const PackedModel& model;
  const int max_batch;
  ThreadTeam team;
  std::unique_ptr<Steppers> steppers;
  ThreadScaler scaler;
  std::mutex mutex;
  std::atomic<double> threads_used = 1.0;
};

Engine::Engine(const Model& model, int max_batch, int threads, Pace pace) {
  if (max_batch < 1) {
    throw std::invalid_argument("max_batch = " + std::to_string(max_batch) + " must be >= 1");
  }
  const PackedModel& packed = model.packed();
  implementation_ = std::make_unique<Implementation>(
      packed, max_batch, std::min(threads, UsefulThreads(packed, max_batch)), pace);
}

Engine::~Engine() = default;

int Engine::threads() const { return implementation_->team.threads(); }

int Engine::logits() const {
  return std::visit([](const auto& network) { return network.logits(); },
                    implementation_->model.network);
}

int Engine::condition_width() const { return ConditioningOf(implementation_->model).width; }

double Engine::threads_used() const { return implementation_->threads_used; }

int Engine::Run(State& state, const Chunk& chunk, const std::function<bool()>& cancelled) {
  Implementation& own = *implementation_;
  const std::lock_guard lock(own.mutex);
  Check(own.model, own.max_batch, state, chunk);
  own.steppers->Load(state);
  own.scaler.Begin();
  int done = 0;
  double thread_samples = 0.0;
  while (done < chunk.samples && !(cancelled && cancelled())) {
    const int end = done + std::min(chunk.samples - done, own.scaler.samples());
    const int active = own.scaler.active();
    const Clock::time_point begin = Clock::now();
    own.team.Run(active,
                 [&](int thread) { own.steppers->Run(thread, state, chunk, done, end, active); });
    own.scaler.Record(end - done, SecondsSince(begin));
    thread_samples += static_cast<double>(active) * (end - done);
    done = end;
  }
  own.threads_used = done > 0 ? thread_samples / done : 1.0;
  own.steppers->Store(state);
  return done;
}

}  // namespace samplewise
