// The engine as a whole, on made-up weights: threads, batches, chunks and cancellation change no
// bit.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "check.h"
#include "samplewise/engine.h"
#include "team.h"

namespace {

using samplewise::Cell;
using samplewise::Chunk;
using samplewise::Engine;
using samplewise::Model;
using samplewise::Pace;
using samplewise::ModelSpec;
using samplewise::State;

constexpr int kSamples = 70;

// A description and the memory that its arrays point into.
struct MadeUp {
  ModelSpec spec;
  std::map<std::string, std::vector<float>> memory;

  void Add(const std::string& name, int rows, int cols) {
    const auto size = static_cast<size_t>(rows) * static_cast<size_t>(cols);
    const float deviation = 1.5F / std::sqrt(static_cast<float>(std::max(cols, 4)));
    memory[name] = Normal(size, static_cast<unsigned>(memory.size()) + 1, deviation);
    spec.arrays[name] = {memory[name], rows, cols};
  }
  void Remove(const std::string& name) {
    spec.arrays.erase(name);
    memory.erase(name);
  }
};

MadeUp Make(Cell cell, std::vector<int> frame_sizes, int dim, int n_rnn, bool skip, int q) {
  MadeUp made;
  made.spec.frame_sizes = frame_sizes;
  made.spec.dim = dim;
  made.spec.n_rnn = n_rnn;
  made.spec.cell = cell;
  made.spec.skip = skip;
  made.spec.q_levels = q;
  made.spec.silence = q / 2;
  made.spec.real_values = Normal(static_cast<size_t>(q), 99);
  const int gates = cell == Cell::kLstm ? 4 : 3;
  const int inputs = gates * (skip ? n_rnn : 1) * dim;
  for (size_t k = 2; k <= frame_sizes.size(); ++k) {
    const std::string name = "tier" + std::to_string(k) + ".";
    const int ratio = frame_sizes[k - 1] / (k > 2 ? frame_sizes[k - 2] : 1);
    made.Add(name + "frame", inputs, frame_sizes[k - 1]);
    if (k < frame_sizes.size()) made.Add(name + "above", inputs, dim);
    made.Add(name + "bias", 1, gates * n_rnn * dim);
    made.Add(name + "h0", n_rnn, dim * (cell == Cell::kLstm ? 2 : 1));
    for (int layer = 0; layer < n_rnn; ++layer) {
      const std::string number = "." + std::to_string(layer);
      made.Add(name + "recurrent" + number, gates * dim, dim);
      if (layer > 0) made.Add(name + "input" + number, gates * dim, dim);
      if (cell == Cell::kGruResetAfter) made.Add(name + "candidate" + number, 1, dim);
      if (skip) made.Add(name + "skip" + number, dim, dim);
    }
    if (skip) made.Add(name + "skip_bias", 1, dim);
    made.Add(name + "upsample", ratio * dim, dim);
    made.Add(name + "upsample_bias", 1, ratio * dim);
  }
  made.Add("sample.table", frame_sizes[0] * q, dim);
  made.Add("sample.hidden", dim, dim);
  made.Add("sample.hidden_bias", 1, dim);
  made.Add("sample.output", q, dim);
  made.Add("sample.output_bias", 1, q);
  return made;
}

// The RNN baseline: frames are codes.
MadeUp MakeRnn(Cell cell, int dim, int n_rnn, bool skip, int q) {
  MadeUp made = Make(cell, {1, 1}, dim, n_rnn, skip, q);
  made.spec.frame_sizes = {0, 1};
  made.Remove("sample.table");
  made.Remove("tier2.frame");
  made.Add("tier2.codes", q, (cell == Cell::kLstm ? 4 : 3) * (skip ? n_rnn : 1) * dim);
  return made;
}

MadeUp MakeWaveNet(std::vector<int> dilations, int channels, int dim, int q) {
  MadeUp made;
  made.spec.frame_sizes = {0};
  made.spec.dilations = dilations;
  made.spec.channels = channels;
  made.spec.dim = dim;
  made.spec.n_rnn = 1;
  made.spec.q_levels = q;
  made.spec.silence = q / 2;
  made.spec.real_values = Normal(static_cast<size_t>(q), 99);
  made.Add("stack.embedding", q, channels);
  for (size_t layer = 0; layer < dilations.size(); ++layer) {
    const std::string number = "." + std::to_string(layer);
    made.Add("stack.taps" + number, 2 * channels, 2 * channels);
    made.Add("stack.bias" + number, 1, 2 * channels);
    made.Add("stack.skip" + number, dim, channels);
    if (layer + 1 == dilations.size()) continue;
    made.Add("stack.residual" + number, channels, channels);
    made.Add("stack.residual_bias" + number, 1, channels);
  }
  made.Add("stack.skip_bias", 1, dim);
  made.Add("sample.hidden", dim, dim);
  made.Add("sample.hidden_bias", 1, dim);
  made.Add("sample.output", q, dim);
  made.Add("sample.output_bias", 1, q);
  return made;
}

struct Result {
  std::vector<int32_t> codes;
  std::vector<double> scores;
};

std::vector<float> Uniforms(int batch) {
  std::vector<float> values = Normal(static_cast<size_t>(batch * kSamples), 5);
  for (float& value : values) value = 0.5F + 0.49F * std::tanh(value);
  return values;
}

Result Draw(Engine& engine, State state, int begin, int end) {
  const int batch = state.batch;
  const std::vector<float> all = Uniforms(batch);
  std::vector<float> uniforms;
  for (int voice = 0; voice < batch; ++voice) {
    for (int t = begin; t < end; ++t) {
      uniforms.push_back(all[static_cast<size_t>(voice * kSamples + t)]);
    }
  }
  Result result{std::vector<int32_t>(uniforms.size()), std::vector<double>(uniforms.size())};
  Chunk chunk;
  chunk.samples = end - begin;
  chunk.uniforms = uniforms.data();
  chunk.codes = result.codes.data();
  chunk.log_probs = result.scores.data();
  CHECK(engine.Run(state, chunk) == end - begin, "not all samples");
  return result;
}

void TestThreadsAndChunks(const MadeUp& made, const char* format, int batch) {
  const Model model(made.spec, format);
  Engine alone(model, batch, 1);
  const Result expected = Draw(alone, State(model, batch), 0, kSamples);
  for (const int threads : {2, 3}) {
    for (const Pace pace : {Pace::kAdaptive, Pace::kAll, Pace::kAlternate}) {
      Engine engine(model, batch, threads, pace);
      const Result found = Draw(engine, State(model, batch), 0, kSamples);
      CHECK(pace != Pace::kAll || engine.threads_used() == engine.threads(), "too few threads");
      CHECK(pace != Pace::kAlternate || engine.threads_used() > 1.0, "one thread");
      CHECK(found.codes == expected.codes, "%s, %d threads, batch %d", format, threads, batch);
      CHECK(found.scores == expected.scores, "%s, %d threads, batch %d", format, threads, batch);
    }
  }
  // The last voice alone, with its own uniforms, in chunks of 7.
  const std::vector<float> uniforms = Uniforms(batch);
  State state(model, 1);
  for (int begin = 0; begin < kSamples; begin += 7) {
    std::vector<int32_t> codes(7);
    Chunk chunk;
    chunk.samples = 7;
    chunk.uniforms = &uniforms[static_cast<size_t>((batch - 1) * kSamples + begin)];
    chunk.codes = codes.data();
    alone.Run(state, chunk);
    CHECK(std::equal(codes.begin(), codes.end(), expected.codes.end() - kSamples + begin),
          "%s, voice %d from %d", format, batch - 1, begin);
  }
}

// Copies of one voice of many go on as it does.
void TestCopies(const MadeUp& made) {
  constexpr int kBatch = 5, kVoice = 3, kHalf = kSamples / 2;
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
  State copies(all, kVoice, 2);
  engine.Run(all, chunk);
  std::vector<float> uniforms;
  for (int copy = 0; copy < 2; ++copy) {
    uniforms.insert(uniforms.end(), noise.begin() + kVoice * kHalf,
                    noise.begin() + (kVoice + 1) * kHalf);
  }
  std::vector<int32_t> found(2 * kHalf);
  chunk.uniforms = uniforms.data();
  chunk.codes = found.data();
  engine.Run(copies, chunk);
  for (int copy = 0; copy < 2; ++copy) {
    CHECK(std::equal(found.begin() + copy * kHalf, found.begin() + (copy + 1) * kHalf,
                     codes.begin() + kVoice * kHalf),
          "copy %d is another voice", copy);
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
  // It goes on from there as if nothing had happened.
  const int32_t next = codes[static_cast<size_t>(done) - 1];
  State whole(model, 1);
  chunk.samples = done;
  engine.Run(whole, chunk);
  CHECK(codes[static_cast<size_t>(done) - 1] == next, "other codes");
  CHECK(whole.history == state.history && whole.tiers == state.tiers && whole.pasts == state.pasts,
        "another state");
}

void TestTeam() {
  samplewise::Team team(3);
  std::vector<int> counts(3);
  for (int round = 0; round < 200; ++round) {
    std::atomic<int> sum{0};
    team.Run(3, [&](int thread) {
      for (int meeting = 1; meeting <= 5; ++meeting) {
        ++counts[static_cast<size_t>(thread)];
        sum.fetch_add(1);
        team.Barrier();
        CHECK(sum.load() == 3 * meeting, "a thread went on early");
        team.Barrier();
      }
    });
    team.Run(1, [&](int thread) { CHECK(thread == 0, "thread %d", thread); });
  }
  for (const int count : counts) CHECK(count == 1000, "%d", count);
}

}  // namespace

int main() {
  const MadeUp models[] = {
      Make(Cell::kGruResetAfter, {4, 4, 16}, 40, 1, false, 64),
      Make(Cell::kGru, {2, 2, 8}, 70, 2, true, 50),
      Make(Cell::kLstm, {3, 2, 4, 8}, 33, 3, true, 36),
      MakeRnn(Cell::kGru, 70, 2, true, 50),
      MakeWaveNet({1, 2, 4, 1, 2, 4}, 40, 70, 50),
      MakeWaveNet({3, 1, 8}, 300, 40, 36),  // skip maps: one product for two layers, one for one
  };
  for (const MadeUp& made : models) {
    for (const char* format : {"f32", "f16", "int8", "int8x16"}) {
      for (const int batch : {1, 5}) TestThreadsAndChunks(made, format, batch);
    }
  }
  for (const MadeUp& made : models) TestCopies(made);
  TestCancellation(models[0]);
  TestCancellation(models[4]);
  TestTeam();
  return Report("test_engine");
}
