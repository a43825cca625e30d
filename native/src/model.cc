#include <stdexcept>
#include <string>

#include "kernels/kernels.h"
#include "packed_model.h"
#include "samplewise/engine.h"
#include "size.h"

namespace samplewise {
namespace {

const Kernels& KernelsOf(const std::string& isa) {
  if (isa.empty()) return BestKernels();
  for (const Isa candidate : kAllIsas) {
    if (isa == Name(candidate)) return KernelsFor(candidate);
  }
  throw std::invalid_argument("isa = " + isa +
                              " must be baseline, avx2, avx512, neon or neon-i8mm");
}

PackedModel::Network Pack(const ModelSpec& spec, Format format) {
  constexpr int kMaxLevels = 1 << 16;
  CheckRange("q_levels", spec.q_levels, 2, kMaxLevels);
  CheckRange("silence", spec.silence, 0, spec.q_levels - 1);
  if (const auto* samplernn = std::get_if<SampleRnnSpec>(&spec.network)) {
    return PackedSampleRnn(*samplernn, spec.q_levels, format);
  }
  if (const auto* wavenet = std::get_if<WaveNetSpec>(&spec.network)) {
    return PackedWaveNet(*wavenet, spec.q_levels, format);
  }
  return PackedWaveRnn(std::get<WaveRnnSpec>(spec.network), spec.q_levels, format);
}

std::vector<MatrixUse> MatricesOf(const PackedModel& model) {
  return std::visit([](const auto& network) { return network.matrices(); }, model.network);
}

}  // namespace

PackedModel::PackedModel(const ModelSpec& spec, Format format, const Kernels& kernels)
    : kernels(kernels),
      q_levels(spec.q_levels),
      silence(spec.silence),
      network(Pack(spec, format)) {}

Model::Model(const ModelSpec& spec, const std::string& format, const std::string& isa)
    : packed_(std::make_unique<PackedModel>(spec, FormatOf(format), KernelsOf(isa))) {}

Model::~Model() = default;

size_t Model::bytes() const {
  size_t sum = 0;
  for (const MatrixUse& use : MatricesOf(*packed_)) sum += use.matrix->bytes();
  return sum;
}

double Model::bytes_per_sample() const {
  double sum = 0;
  for (const MatrixUse& use : MatricesOf(*packed_)) {
    sum += static_cast<double>(use.matrix->bytes()) * use.reads;
  }
  return sum;
}

double Model::macs_per_sample() const {
  double sum = 0;
  for (const auto& [matrix, reads, vectors] : MatricesOf(*packed_)) {
    sum += matrix->density() * matrix->rows() * matrix->cols() * reads * vectors;
  }
  return sum;
}

const char* Model::isa() const { return packed_->kernels.name; }

int Model::logits() const {
  return std::visit([](const auto& network) { return network.logits(); }, packed_->network);
}

State::State(const Model& model, int batch) : identity(model.packed().identity), batch(batch) {
  if (batch < 1) throw std::invalid_argument("batch = " + std::to_string(batch) + " must be >= 1");
  std::visit(
      [&](const auto& network) {
        arrays = network.InitialState(batch);
        history.assign(Size(batch) * Size(network.lookback()), model.packed().silence);
      },
      model.packed().network);
}

State::State(const State& other, int clip, int batch)
    : identity(other.identity), batch(batch), clock(other.clock) {
  if (batch < 1 || clip < 0 || clip >= other.batch) {
    throw std::invalid_argument("clip, batch = " + std::to_string(clip) + ", " +
                                std::to_string(batch) + " must lie in [0, " +
                                std::to_string(other.batch) + ") and be >= 1");
  }
  // (steps, other.batch, width) -> (steps, batch, width)
  const auto repeat_clip = [&](const auto& from, size_t width) {
    std::decay_t<decltype(from)> to;
    const size_t row = width * Size(other.batch);
    for (size_t begin = 0; begin < from.size(); begin += row) {
      const auto first = from.begin() + static_cast<std::ptrdiff_t>(begin + Size(clip) * width);
      for (int copy = 0; copy < batch; ++copy) {
        to.insert(to.end(), first, first + static_cast<std::ptrdiff_t>(width));
      }
    }
    return to;
  };
  for (const auto& [values, width] : other.arrays) {
    arrays.push_back({repeat_clip(values, width), width});
  }
  history = repeat_clip(other.history, other.history.size() / Size(other.batch));
}

}  // namespace samplewise
