#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "model_file.h"
#include "philox.h"
#include "samplewise/engine.h"
#include "samplewise/samplewise.h"
#include "size.h"

struct samplewise_model {
  int sample_rate;
  std::vector<float> amplitudes;  // of each code
  samplewise::Model model;
};

struct samplewise_stream {
  samplewise_stream(const samplewise_model& owner, std::uint64_t seed, std::uint64_t clip,
                    int threads)
      : owner(owner),
        seed(seed),
        clip(clip),
        engine(owner.model, 1, threads),
        state(owner.model, 1) {}

  const samplewise_model& owner;
  const std::uint64_t seed, clip;
  samplewise::Engine engine;
  samplewise::State state;
};

namespace {

thread_local std::string last_error;

// The result of `call`, or `failed` if it throws.
template <class Result, class Call>
Result Guarded(Result failed, const Call& call) {
  try {
    return call();
  } catch (const std::exception& error) {
    last_error = error.what();
  }
  return failed;
}

}  // namespace

extern "C" {

const char* samplewise_error(void) { return last_error.c_str(); }

samplewise_model* samplewise_load(const char* path, const char* weights) {
  return Guarded<samplewise_model*>(nullptr, [&] {
    const samplewise::ModelFile file = samplewise::ReadModelFile(path);
    const samplewise::ModelSpec spec = samplewise::SpecOf(file.spec);
    const auto width = [](const auto& network) { return network.condition_width; };
    if (std::visit(width, spec.network) > 0) {
      throw std::invalid_argument(std::string(path) + " is conditioned");
    }
    const samplewise::Array amplitudes = file.spec.Find("amplitudes");
    if (amplitudes.values.size() != samplewise::Size(spec.q_levels)) {
      throw std::invalid_argument(std::string(path) + " lacks the amplitudes of its codes");
    }
    return new samplewise_model{file.sample_rate,
                                {amplitudes.values.begin(), amplitudes.values.end()},
                                samplewise::Model(spec, weights)};
  });
}

void samplewise_free_model(samplewise_model* model) { delete model; }

int samplewise_sample_rate(const samplewise_model* model) { return model->sample_rate; }

samplewise_stream* samplewise_open(const samplewise_model* model, uint64_t seed, uint64_t clip,
                                   int threads) {
  return Guarded<samplewise_stream*>(
      nullptr, [&] { return new samplewise_stream(*model, seed, clip, threads); });
}

void samplewise_close(samplewise_stream* stream) { delete stream; }

int samplewise_draw(samplewise_stream* stream, double temperature, int samples, float* out) {
  return Guarded(-1, [&] {
    if (samples < 0) throw std::invalid_argument("samples must not be negative");
    if (!(temperature >= 0.0)) throw std::invalid_argument("temperature must be 0 or more");
    const auto count = samplewise::Size(samples);
    const auto start = static_cast<std::uint64_t>(stream->state.clock);
    std::vector<float> uniforms(count);
    for (std::size_t i = 0; i < count; ++i) {
      uniforms[i] = samplewise::Uniform(stream->seed, stream->clip, start + i);
    }
    const std::vector<double> temperatures(count, temperature);
    std::vector<std::int32_t> codes(count);
    samplewise::Chunk chunk;
    chunk.samples = samples;
    chunk.uniforms = uniforms.data();
    chunk.temperature = temperatures.data();
    chunk.codes = codes.data();
    stream->engine.Run(stream->state, chunk);
    for (std::size_t i = 0; i < count; ++i) {
      out[i] = stream->owner.amplitudes[samplewise::Size(codes[i])];
    }
    return 0;
  });
}

}  // extern "C"
