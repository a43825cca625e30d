// The whole engine, with made-up weights: threads, batches, chunks and cancellation change no bit.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <span>
#include <vector>

#include "check.h"
#include "made_up.h"
#include "samplewise/engine.h"
#include "thread_team.h"

namespace {

using samplewise::Cell;
using samplewise::Chunk;
using samplewise::Conditioned;
using samplewise::Engine;
using samplewise::MadeUp;
using samplewise::MakePredictor;
using samplewise::MakeRnn;
using samplewise::MakeSampleRnn;
using samplewise::MakeWaveNet;
using samplewise::MakeWaveRnn;
using samplewise::Model;
using samplewise::Pace;
using samplewise::State;

constexpr int kSamples = 21;  // three chunks of 7; beyond every top frame and receptive field

struct Result {
  std::vector<int32_t> codes;
  std::vector<double> scores;
};

std::vector<float> Uniforms(int batch) {
  std::vector<float> values = Normal(static_cast<size_t>(batch * kSamples), 5);
  for (float& value : values) value = 0.5F + 0.49F * std::tanh(value);
  return values;
}

// The conditioning vectors of samples [begin, end) of some clips; none for most models.
std::vector<float> Conditioning(const MadeUp& made, int first, int clips, int begin, int end,
                                Chunk* chunk) {
  std::vector<float> vectors;
  const int width = made.condition_width();
  if (width == 0) return vectors;
  const int hold = made.hold();
  for (int clip = first; clip < first + clips; ++clip) {
    for (int vector = begin / hold; vector <= (end - 1) / hold; ++vector) {
      const auto seed = static_cast<unsigned>(1000 * clip + vector);
      const std::vector<float> values = Normal(static_cast<size_t>(width), seed);
      vectors.insert(vectors.end(), values.begin(), values.end());
    }
  }
  chunk->vectors = (end - 1) / hold - begin / hold + 1;
  chunk->conditioning = vectors.data();
  return vectors;
}

Result Draw(const MadeUp& made, Engine& engine, State state, int begin, int end) {
  const int batch = state.batch;
  const std::vector<float> all = Uniforms(batch);
  std::vector<float> uniforms;
  for (int clip = 0; clip < batch; ++clip) {
    for (int t = begin; t < end; ++t) {
      uniforms.push_back(all[static_cast<size_t>(clip * kSamples + t)]);
    }
  }
  Result result{std::vector<int32_t>(uniforms.size()), std::vector<double>(uniforms.size())};
  Chunk chunk;
  chunk.samples = end - begin;
  chunk.uniforms = uniforms.data();
  chunk.codes = result.codes.data();
  chunk.log_probs = result.scores.data();
  const std::vector<float> vectors = Conditioning(made, 0, batch, begin, end, &chunk);
  CHECK(engine.Run(state, chunk) == end - begin, "not all samples");
  return result;
}

struct Team {
  int threads;
  Pace pace;
};
constexpr Team kTeams[] = {{2, Pace::kAdaptive}, {2, Pace::kAll}, {2, Pace::kAlternate},
                           {3, Pace::kAdaptive}, {3, Pace::kAll}, {3, Pace::kAlternate}};

void TestThreadsAndChunks(const MadeUp& made, const char* format, int batch,
                          std::span<const Team> teams) {
  const Model model(made.spec, format);
  Engine alone(model, batch, 1);
  const Result expected = Draw(made, alone, State(model, batch), 0, kSamples);
  for (const auto& [threads, pace] : teams) {
    Engine engine(model, batch, threads, pace);
    const Result found = Draw(made, engine, State(model, batch), 0, kSamples);
    CHECK(pace != Pace::kAll || engine.threads_used() == engine.threads(), "too few threads");
    CHECK(pace != Pace::kAlternate || engine.threads_used() > 1.0, "one thread");
    CHECK(found.codes == expected.codes, "%s, %d threads, batch %d", format, threads, batch);
    CHECK(found.scores == expected.scores, "%s, %d threads, batch %d", format, threads, batch);
  }
  // The last clip alone, with its own uniforms, in chunks of 7 samples.
  const std::vector<float> uniforms = Uniforms(batch);
  State state(model, 1);
  for (int begin = 0; begin < kSamples; begin += 7) {
    std::vector<int32_t> codes(7);
    Chunk chunk;
    chunk.samples = 7;
    chunk.uniforms = &uniforms[static_cast<size_t>((batch - 1) * kSamples + begin)];
    chunk.codes = codes.data();
    const std::vector<float> vectors = Conditioning(made, batch - 1, 1, begin, begin + 7, &chunk);
    alone.Run(state, chunk);
    CHECK(std::equal(codes.begin(), codes.end(), expected.codes.end() - kSamples + begin),
          "%s, clip %d from %d", format, batch - 1, begin);
  }
}

// Copies of one clip of a batch continue as it does.
void TestCopies(const MadeUp& made) {
  constexpr int kBatch = 5, kClip = 3, kHalf = kSamples / 2;
  const Model model(made.spec, "f32");
  Engine engine(model, kBatch, 1);
  State all(model, kBatch);
  const std::vector<float> noise = Uniforms(kBatch);
  std::vector<int32_t> codes(noise.size());
  Chunk chunk;
  chunk.samples = kHalf;
  chunk.uniforms = noise.data();
  chunk.codes = codes.data();
  engine.Run(all, chunk);
  State copies(all, kClip, 2);
  engine.Run(all, chunk);
  std::vector<float> uniforms;
  for (int copy = 0; copy < 2; ++copy) {
    uniforms.insert(uniforms.end(), noise.begin() + kClip * kHalf,
                    noise.begin() + (kClip + 1) * kHalf);
  }
  std::vector<int32_t> found(2 * kHalf);
  chunk.uniforms = uniforms.data();
  chunk.codes = found.data();
  engine.Run(copies, chunk);
  for (int copy = 0; copy < 2; ++copy) {
    CHECK(std::equal(found.begin() + copy * kHalf, found.begin() + (copy + 1) * kHalf,
                     codes.begin() + kClip * kHalf),
          "copy %d is another clip", copy);
  }
}

void TestCancellation(const MadeUp& made) {
  const Model model(made.spec, "f32");
  Engine engine(model, 1, 2, Pace::kAll);
  State state(model, 1);
  std::vector<float> uniforms(100000, 0.5F);
  std::vector<int32_t> codes(uniforms.size());
  Chunk chunk;
  chunk.samples = static_cast<int>(uniforms.size());
  chunk.uniforms = uniforms.data();
  chunk.codes = codes.data();
  int asked = 0;
  const int done = engine.Run(state, chunk, [&asked] { return ++asked > 3; });
  CHECK(done > 0 && done < chunk.samples, "%d samples", done);
  CHECK(state.clock == done, "clock %d", static_cast<int>(state.clock));
  // The state is the one after `done` samples.
  const int32_t next = codes[static_cast<size_t>(done) - 1];
  State whole(model, 1);
  chunk.samples = done;
  engine.Run(whole, chunk);
  CHECK(codes[static_cast<size_t>(done) - 1] == next, "other codes");
  CHECK(whole.history == state.history && whole.arrays == state.arrays, "another state");
}

void TestTeam() {
  samplewise::ThreadTeam team(3);
  std::vector<int> counts(3);
  for (int round = 0; round < 200; ++round) {
    std::atomic<int> sum{0};
    team.Run(3, [&](int thread) {
      for (int barrier = 1; barrier <= 5; ++barrier) {
        ++counts[static_cast<size_t>(thread)];
        sum.fetch_add(1);
        team.Barrier();
        CHECK(sum.load() == 3 * barrier, "a thread went on early");
        team.Barrier();
      }
    });
    team.Run(1, [&](int thread) { CHECK(thread == 0, "thread %d", thread); });
  }
  for (const int count : counts) CHECK(count == 1000, "%d", count);
}

}  // namespace

// `test_engine short`, for emulators: one team a format and batch, so that a model meets them all.
int main(int argc, char** argv) {
  const bool is_short = IsShort(argc, argv);
  const MadeUp models[] = {
      MakeSampleRnn(Cell::kGruResetAfter, {4, 4, 16}, 40, 1, false, 64),
      MakeSampleRnn(Cell::kGru, {2, 2, 8}, 70, 2, true, 50),
      MakeSampleRnn(Cell::kLstm, {3, 2, 4, 8}, 33, 3, true, 36),
      MakePredictor(40, 64),
      MakeRnn(Cell::kGru, 70, 2, true, 50),
      MakeWaveNet({1, 2, 4, 1, 2, 4}, 40, 70, 50),
      // Skip maps: one product for nine layers, one for one.
      MakeWaveNet({1, 2, 1, 3, 1, 2, 1, 4, 1, 2}, 70, 40, 36),
      MakeWaveRnn(150, 0, 0),  // halves of 3 panels, the last one not full
      MakeWaveRnn(6, 0, 0),
      MakeWaveRnn(70, 5, 3),
      Conditioned(MakeSampleRnn(Cell::kGru, {2, 2, 8}, 40, 2, true, 36)),
      Conditioned(MakeRnn(Cell::kLstm, 33, 2, false, 36)),
      Conditioned(MakeWaveNet({1, 2, 4, 1}, 40, 33, 36)),
  };
  size_t cases = 0;
  for (const MadeUp& made : models) {
    for (const char* format : {"f32", "f16", "int8", "int8x16"}) {
      for (const int batch : {1, 5}) {
        const std::span<const Team> all(kTeams);
        const std::span<const Team> one = all.subspan(cases++ % all.size(), 1);
        TestThreadsAndChunks(made, format, batch, is_short ? one : all);
      }
    }
  }
  for (const MadeUp& made : models) {
    if (made.condition_width() == 0) TestCopies(made);
  }
  for (const size_t index : {0, 4, 6}) TestCancellation(models[index]);
  TestTeam();
  return Report("test_engine");
}
