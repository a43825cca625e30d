#include "packed.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "kernels/kernels.h"

namespace samplewise {
namespace {

constexpr int kMaxTiers = 16;
constexpr int kMaxWidth = 1 << 16;
constexpr int kMaxFrame = 1 << 20;

void Check(const char* name, int value, int low, int high) {
  if (value < low || value > high) {
    throw std::invalid_argument(std::string(name) + " = " + std::to_string(value) +
                                " must lie in [" + std::to_string(low) + ", " +
                                std::to_string(high) + "]");
  }
}

// Looks arrays up by name, and checks their shape.
class Arrays {
 public:
  explicit Arrays(const SampleRnnSpec& spec) : arrays_(spec.arrays) {}

  std::span<const float> Take(const std::string& name, int64_t rows, int64_t cols) const {
    const auto found = arrays_.find(name);
    if (found == arrays_.end()) throw std::invalid_argument("array " + name + " is missing");
    const Array& array = found->second;
    const auto size = static_cast<size_t>(rows) * static_cast<size_t>(cols);
    if (array.rows != rows || array.cols != cols || array.values.size() != size) {
      throw std::invalid_argument(name + " is " + Shape(array.rows, array.cols) + ", not " +
                                  Shape(rows, cols));
    }
    return array.values;
  }

 private:
  static std::string Shape(int64_t rows, int64_t cols) {
    return std::to_string(rows) + " x " + std::to_string(cols);
  }

  const std::map<std::string, Array>& arrays_;
};

// Rows (groups, dim, cols) -> (blocks, groups, 32, cols): the rows of a block of units together.
Floats ByBlock(std::span<const float> rows, int groups, int dim, int blocks, int cols) {
  const auto width = static_cast<size_t>(cols);
  Floats result(static_cast<size_t>(blocks) * static_cast<size_t>(groups) * kPanelRows * width);
  for (int group = 0; group < groups; ++group) {
    for (int unit = 0; unit < dim; ++unit) {
      const size_t from = static_cast<size_t>(group) * static_cast<size_t>(dim) +
                          static_cast<size_t>(unit);
      const int block = unit / kPanelRows;
      const size_t to = static_cast<size_t>(block * groups + group) * kPanelRows +
                        static_cast<size_t>(unit % kPanelRows);
      std::copy_n(rows.begin() + static_cast<std::ptrdiff_t>(from * width), width,
                  result.begin() + static_cast<std::ptrdiff_t>(to * width));
    }
  }
  return result;
}

Floats Padded(std::span<const float> values, int rows, int cols, int padded_cols) {
  Floats result(static_cast<size_t>(rows) * static_cast<size_t>(padded_cols));
  for (int row = 0; row < rows; ++row) {
    std::copy_n(values.begin() + static_cast<std::ptrdiff_t>(row) * cols, cols,
                result.begin() + static_cast<std::ptrdiff_t>(row) * padded_cols);
  }
  return result;
}

int CeilPanels(int rows) { return (rows + kPanelRows - 1) / kPanelRows; }

void CheckSizes(const SampleRnnSpec& spec) {
  const std::vector<int>& frames = spec.frame_sizes;
  Check("tiers", static_cast<int>(frames.size()), 2, kMaxTiers);
  Check("dim", spec.dim, 1, kMaxWidth);
  Check("n_rnn", spec.n_rnn, 1, 64);
  Check("q_levels", spec.q_levels, 2, kMaxWidth);
  Check("silence", spec.silence, 0, spec.q_levels - 1);
  Check("real_values", static_cast<int>(spec.real_values.size()), spec.q_levels, spec.q_levels);
  for (size_t k = 0; k < frames.size(); ++k) {
    Check("frame size", frames[k], 1, kMaxFrame);
    if (k >= 2 && (frames[k] % frames[k - 1] != 0 || frames[k] == frames[k - 1])) {
      throw std::invalid_argument("frame size " + std::to_string(frames[k]) +
                                  " must be a larger multiple of " +
                                  std::to_string(frames[k - 1]));
    }
  }
}

}  // namespace

PackedSampleRnn::PackedSampleRnn(const SampleRnnSpec& spec, Format format, const Kernels& kernels)
    : kernels(kernels), format(format) {
  CheckSizes(spec);
  cell = spec.cell;
  dim = spec.dim;
  blocks = CeilPanels(dim);
  gates = cell == Cell::kLstm ? 4 : 3;
  n_rnn = spec.n_rnn;
  skip = spec.skip;
  x_layers = skip ? n_rnn : 1;
  q_levels = spec.q_levels;
  silence = spec.silence;
  sample_frame = spec.frame_sizes.front();
  lookback = *std::max_element(spec.frame_sizes.begin(), spec.frame_sizes.end());
  real_values = spec.real_values;
  const Arrays arrays(spec);
  const int count = static_cast<int>(spec.frame_sizes.size());

  for (int k = 2; k <= count; ++k) {
    const std::string name = "tier" + std::to_string(k) + ".";
    const auto index = static_cast<size_t>(k - 1);
    PackedTier tier;
    tier.frame_size = spec.frame_sizes[index];
    tier.ratio = tier.frame_size / (k > 2 ? spec.frame_sizes[index - 1] : 1);
    const int inputs = gates * x_layers;
    // (groups * dim, FS) -> (blocks, FS, groups * 32): a block's rows for a frame's sample.
    const Floats by_block =
        ByBlock(arrays.Take(name + "frame", inputs * dim, tier.frame_size), inputs, dim, blocks,
                tier.frame_size);
    tier.frame.resize(by_block.size());
    const int width = inputs * kPanelRows;
    for (int block = 0; block < blocks; ++block) {
      for (int row = 0; row < width; ++row) {
        for (int j = 0; j < tier.frame_size; ++j) {
          const auto base = static_cast<size_t>(block) * static_cast<size_t>(width);
          const auto size = static_cast<size_t>(tier.frame_size);
          tier.frame[base * size + static_cast<size_t>(j) * static_cast<size_t>(width) +
                     static_cast<size_t>(row)] =
              by_block[(base + static_cast<size_t>(row)) * size + static_cast<size_t>(j)];
        }
      }
    }
    if (k < count) {
      const Floats rows =
          ByBlock(arrays.Take(name + "above", inputs * dim, dim), inputs, dim, blocks, dim);
      tier.above = PackedMatrix(rows, blocks * width, dim, format);
    }
    const std::span<const float> bias = arrays.Take(name + "bias", 1, gates * n_rnn * dim);
    for (int layer = 0; layer < n_rnn; ++layer) {
      const std::string number = "." + std::to_string(layer);
      PackedLayer packed;
      const auto share = static_cast<size_t>(gates * dim);
      packed.bias =
          ByBlock(bias.subspan(static_cast<size_t>(layer) * share, share), gates, dim, blocks, 1);
      const std::span<const float> recurrent =
          arrays.Take(name + "recurrent" + number, gates * dim, dim);
      const int together = cell == Cell::kGru ? 2 : gates;
      const auto split = static_cast<size_t>(together * dim) * static_cast<size_t>(dim);
      packed.recurrent = PackedMatrix(ByBlock(recurrent.first(split), together, dim, blocks, dim),
                                      blocks * together * kPanelRows, dim, format);
      if (cell == Cell::kGru) {
        packed.candidate = PackedMatrix(recurrent.subspan(split), dim, dim, format);
      }
      packed.candidate_bias.resize(static_cast<size_t>(padded()));
      if (cell == Cell::kGruResetAfter) {
        packed.candidate_bias = Padded(arrays.Take(name + "candidate" + number, 1, dim), 1, dim,
                                       padded());
      }
      if (layer > 0) {
        const Floats rows =
            ByBlock(arrays.Take(name + "input" + number, gates * dim, dim), gates, dim, blocks, dim);
        packed.input = PackedMatrix(rows, blocks * gates * kPanelRows, dim, format);
      }
      if (skip) {
        packed.skip = PackedMatrix(arrays.Take(name + "skip" + number, dim, dim), dim, dim, format);
      }
      tier.layers.push_back(std::move(packed));
    }
    const int parts = cell == Cell::kLstm ? 2 : 1;
    tier.h0 = Padded(arrays.Take(name + "h0", n_rnn, parts * dim), n_rnn * parts, dim, padded());
    tier.skip_bias.resize(static_cast<size_t>(padded()));
    if (skip) tier.skip_bias = Padded(arrays.Take(name + "skip_bias", 1, dim), 1, dim, padded());
    const std::span<const float> up = arrays.Take(name + "upsample", int64_t{tier.ratio} * dim, dim);
    const auto square = static_cast<size_t>(dim) * static_cast<size_t>(dim);
    for (int j = 0; j < tier.ratio; ++j) {
      tier.upsample.emplace_back(up.subspan(static_cast<size_t>(j) * square, square), dim, dim,
                                 format);
    }
    tier.upsample_bias = Padded(arrays.Take(name + "upsample_bias", 1, int64_t{tier.ratio} * dim),
                                tier.ratio, dim, padded());
    tiers.push_back(std::move(tier));
  }

  table = Padded(arrays.Take("sample.table", int64_t{sample_frame} * q_levels, dim), sample_frame * q_levels,
                 dim, padded());
  hidden = PackedMatrix(arrays.Take("sample.hidden", dim, dim), dim, dim, format);
  hidden_bias = Padded(arrays.Take("sample.hidden_bias", 1, dim), 1, dim, padded());
  output = PackedMatrix(arrays.Take("sample.output", q_levels, dim), q_levels, dim, format);
  output_bias = Padded(arrays.Take("sample.output_bias", 1, q_levels), 1, q_levels,
                       CeilPanels(q_levels) * kPanelRows);
}

std::vector<const PackedMatrix*> PackedSampleRnn::matrices(const PackedTier& tier) const {
  std::vector<const PackedMatrix*> all{&tier.above};
  for (const PackedLayer& layer : tier.layers) {
    all.insert(all.end(), {&layer.input, &layer.recurrent, &layer.candidate, &layer.skip});
  }
  for (const PackedMatrix& map : tier.upsample) all.push_back(&map);
  return all;
}

}  // namespace samplewise
