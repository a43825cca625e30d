#include <stdexcept>
#include <string>

#include "kernels/kernels.h"
#include "packed.h"
#include "samplewise/engine.h"

namespace samplewise {
namespace {

const Kernels& KernelsOf(const std::string& isa) {
  if (isa.empty()) return BestKernels();
  for (const Isa candidate : {Isa::kBaseline, Isa::kAvx2, Isa::kAvx512}) {
    if (isa == Name(candidate)) return KernelsFor(candidate);
  }
  throw std::invalid_argument("isa = " + isa + " must be baseline, avx2 or avx512");
}

// Calls visit(matrix, how often its bytes are read per sample, how many vectors it then serves).
template <class Visit>
void ForEach(const PackedModel& model, const Visit& visit) {
  for (size_t index = 0; index < model.tiers.size(); ++index) {
    const PackedTier& tier = model.tiers[index];
    const double share = 1.0 / tier.frame_size;
    for (const PackedMatrix* matrix : model.matrices(tier)) {
      if (matrix->rows() == 0) continue;
      const bool is_above = matrix == &tier.above;
      const double ratio = is_above ? model.tiers[index + 1].ratio : 1;
      visit(*matrix, share / ratio, ratio);
    }
  }
  for (const PackedMatrix* matrix : model.stack.matrices()) visit(*matrix, 1.0, 1.0);
  for (const PackedMatrix* matrix : model.wavernn.matrices()) visit(*matrix, 1.0, 1.0);
  if (const PackedMatrix& map = model.wavernn.condition; map.rows() > 0) {
    visit(map, 1.0 / model.wavernn.hold, 1.0);
  }
  if (model.is_wavernn()) return;
  visit(model.hidden, 1.0, 1.0);
  visit(model.output, 1.0, 1.0);
}

}  // namespace

Model::Model(const ModelSpec& spec, const std::string& format, const std::string& isa)
    : packed_(std::make_unique<PackedModel>(spec, FormatOf(format), KernelsOf(isa))) {}

Model::~Model() = default;

size_t Model::bytes() const {
  size_t sum = 0;
  ForEach(*packed_, [&](const PackedMatrix& matrix, double, double) { sum += matrix.bytes(); });
  return sum;
}

double Model::bytes_per_sample() const {
  double sum = 0;
  ForEach(*packed_, [&](const PackedMatrix& matrix, double reads, double) {
    sum += static_cast<double>(matrix.bytes()) * reads;
  });
  return sum;
}

double Model::macs_per_sample() const {
  double sum = 0;
  ForEach(*packed_, [&](const PackedMatrix& matrix, double reads, double vectors) {
    sum += matrix.density() * matrix.rows() * matrix.cols() * reads * vectors;
  });
  return sum;
}

const char* Model::isa() const { return packed_->kernels.name; }

int Model::q_levels() const { return packed_->q_levels; }

int Model::logits() const { return packed_->logits(); }

State::State(const Model& model, int batch) : identity(model.packed().identity), batch(batch) {
  if (batch < 1) throw std::invalid_argument("batch = " + std::to_string(batch) + " must be >= 1");
  const PackedModel& packed = model.packed();
  const auto voices = static_cast<size_t>(batch);
  for (size_t index = 0; index < packed.tiers.size(); ++index) {
    const PackedTier& tier = packed.tiers[index];
    const auto width = static_cast<size_t>(packed.state_width());
    std::vector<float> states;
    for (size_t layer = 0; layer < static_cast<size_t>(packed.n_rnn); ++layer) {
      const float* h0 = &tier.h0[layer * width];
      for (size_t voice = 0; voice < voices; ++voice) states.insert(states.end(), h0, h0 + width);
    }
    tiers.push_back(std::move(states));
    state_widths.push_back(width);
    condition_widths.push_back(static_cast<size_t>(packed.condition_width(index)));
    conditions.emplace_back(static_cast<size_t>(tier.ratio) * voices * condition_widths.back());
  }
  channels = static_cast<size_t>(packed.stack.channels);
  for (const PackedDilated& layer : packed.stack.layers) {
    pasts.emplace_back(static_cast<size_t>(layer.dilation) * voices * channels);
  }
  history.assign(voices * static_cast<size_t>(packed.lookback), packed.silence);
}

State::State(const State& other, int voice, int batch)
    : identity(other.identity), batch(batch), clock(other.clock) {
  if (batch < 1 || voice < 0 || voice >= other.batch) {
    throw std::invalid_argument("voice, batch = " + std::to_string(voice) + ", " +
                                std::to_string(batch) + " must lie in [0, " +
                                std::to_string(other.batch) + ") and be >= 1");
  }
  // Rows of every array: (anything, voices, width).
  const auto take = [&](const auto& from, size_t width) {
    std::decay_t<decltype(from)> to;
    const size_t row = width * static_cast<size_t>(other.batch);
    for (size_t begin = 0; begin < from.size(); begin += row) {
      const auto first =
          from.begin() + static_cast<std::ptrdiff_t>(begin + static_cast<size_t>(voice) * width);
      for (int copy = 0; copy < batch; ++copy) {
        to.insert(to.end(), first, first + static_cast<std::ptrdiff_t>(width));
      }
    }
    return to;
  };
  const auto voices = static_cast<size_t>(other.batch);
  for (size_t index = 0; index < other.tiers.size(); ++index) {
    tiers.push_back(take(other.tiers[index], other.state_widths[index]));
    conditions.push_back(take(other.conditions[index], other.condition_widths[index]));
  }
  for (const std::vector<float>& past : other.pasts) pasts.push_back(take(past, other.channels));
  channels = other.channels;
  history = take(other.history, other.history.size() / voices);
  state_widths = other.state_widths;
  condition_widths = other.condition_widths;
}

}  // namespace samplewise
