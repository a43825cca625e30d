#include "matrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>

#include "kernels/half.h"
#include "kernels/rows.h"
#include "size.h"

namespace samplewise {
namespace {

constexpr int kHalves = kPanelRows / kBlockRows;  // of a panel

// Columns that the kernels multiply in one step, and in one step of the loop over a panel.
int ColsOfStep(Format format) {
  return format == Format::kInt8 ? 4 : format == Format::kInt8x16 ? 2 : 1;
}
int ColsOfUnit(Format format) { return ColsOfStep(format) * (format == Format::kInt8 ? 2 : 1); }
size_t InputBytes(Format format) {
  return format == Format::kInt8 ? 1 : format == Format::kInt8x16 ? 2 : 4;
}

int DivideUp(int a, int b) { return (a + b - 1) / b; }

[[noreturn]] void Refuse(const std::string& what) { throw std::invalid_argument(what); }

void CheckCols(int cols) {
  if (cols <= 0 || cols > kMaxCols) {
    Refuse("a product takes 1 to " + std::to_string(kMaxCols) + " columns, not " +
           std::to_string(cols));
  }
}

void CheckWeights(std::span<const float> weights, int rows, int cols, Format format) {
  CheckCols(cols);
  if (rows <= 0 || weights.size() != Size(rows) * Size(cols)) {
    Refuse(std::to_string(weights.size()) + " weights are not a matrix of " + std::to_string(rows) +
           " x " + std::to_string(cols));
  }
  for (size_t i = 0; i < weights.size(); ++i) {
    const float value =
        format == Format::kF16 ? FloatFromHalf(HalfFromFloat(weights[i])) : weights[i];
    if (!std::isfinite(value)) {
      Refuse("weight " + std::to_string(weights[i]) + " in row " + std::to_string(i / Size(cols)) +
             ", column " + std::to_string(i % Size(cols)) + " is not finite in " + Name(format));
    }
  }
}

}  // namespace

const char* Name(Format format) {
  switch (format) {
    case Format::kF32:
      return "f32";
    case Format::kF16:
      return "f16";
    case Format::kInt8:
      return "int8";
    case Format::kInt8x16:
      return "int8x16";
  }
  return "unknown";
}

Format FormatOf(const std::string& name) {
  for (const Format format : {Format::kF32, Format::kF16, Format::kInt8, Format::kInt8x16}) {
    if (name == Name(format)) return format;
  }
  throw std::invalid_argument("format = " + name + " must be f32, f16, int8 or int8x16");
}

int ActivationLimit(Format format, int cols) {
  CheckCols(cols);
  if (format == Format::kInt8) return kMaxByte;  // 65536 * 127 * 181 < 2^31
  if (format == Format::kInt8x16) return std::min(32767, 0x7fffffff / (127 * cols));
  return 0;
}

PackedMatrix::PackedMatrix(std::span<const float> weights, int rows, int cols, Format format,
                           Blocks blocks)
    : rows_(rows), cols_(cols), format_(format) {
  CheckWeights(weights, rows, cols, format);
  std::vector<StoredRow> stored;
  stored.reserve(Size(rows));
  for (int r = 0; r < rows; ++r) {
    stored.push_back(StoreRow(weights.data() + Size(r) * Size(cols), cols, format));
  }
  if (IsInteger(format)) {
    row_scales_.assign(Size(padded_rows()), 0.0f);
    for (size_t r = 0; r < stored.size(); ++r) row_scales_[r] = stored[r].scale;
  }
  if (format == Format::kInt8) {
    row_sums_.assign(Size(padded_rows()), 0);
    for (size_t r = 0; r < stored.size(); ++r) row_sums_[r] = stored[r].sum;
  }
  const size_t units = Size(panels()) * Size(DivideUp(cols, ColsOfUnit(format)));
  if (blocks == Blocks::kAuto) {
    const int all = DivideUp(rows, kBlockRows) * DivideUp(cols, ColsOfBlock(format));
    const double kept = static_cast<double>(FindBlocks(stored)) / all;
    sparse_ = kept < kSparseBelow;
    density_ = sparse_ ? kept : 1.0;
    if (!sparse_) {
      blocks_.clear();
      starts_.clear();
      halves_.clear();
    }
  }
  const size_t block_bytes = Size(kBlockRows * ColsOfBlock(format)) * WeightBytes(format);
  const size_t unit_bytes = Size(kPanelRows * ColsOfUnit(format)) * WeightBytes(format);
  weights_ = Buffer(sparse_ ? blocks_.size() * block_bytes : units * unit_bytes);
  const size_t width = WeightBytes(format);
  auto* bytes = weights_.as<std::uint8_t>();
  ForEachWeight([&](int row, int col, size_t offset) {
    std::memcpy(bytes + offset, stored[Size(row)].bytes.data() + Size(col) * width, width);
  });
}

// Notes in blocks_, starts_ and halves_ which blocks are not all zero, and returns how many.
size_t PackedMatrix::FindBlocks(std::span<const StoredRow> stored) {
  const int width = ColsOfBlock(format_);
  size_t kept = 0;
  starts_.assign(1, 0);
  for (int half = 0; half < panels() * kHalves; ++half) {
    const size_t first = std::min(Size(half * kBlockRows), stored.size());
    const auto rows = stored.subspan(first, std::min(Size(kBlockRows), stored.size() - first));
    for (int col = 0; col < cols_; col += width) {
      if (IsZeroBlock(rows, col, cols_, format_)) continue;
      blocks_.push_back(static_cast<std::uint16_t>(col / width));
      ++kept;
    }
    if (blocks_.size() == starts_.back()) blocks_.push_back(0);  // of zeros
    while ((blocks_.size() - starts_.back()) % kBlocksTogether != 0)
      blocks_.push_back(blocks_.back());
    starts_.push_back(static_cast<std::uint32_t>(blocks_.size()));
    halves_.resize(blocks_.size() / kBlocksTogether, static_cast<std::uint32_t>(half));
  }
  return kept;
}

// Calls visit(row, col, offset of the weight in weights_) for all stored weights, not for padding.
template <typename Visit>
void PackedMatrix::ForEachWeight(const Visit& visit) const {
  const int step_cols = ColsOfStep(format_);
  const int block_cols =
      sparse_ ? ColsOfBlock(format_) : DivideUp(cols_, ColsOfUnit(format_)) * ColsOfUnit(format_);
  const int rows_of_unit = sparse_ ? kBlockRows : kPanelRows;
  const size_t width = WeightBytes(format_);
  const size_t step_bytes = Size(rows_of_unit * step_cols) * width;
  size_t offset = 0;
  for (int unit = 0; unit * rows_of_unit < padded_rows(); ++unit) {  // a panel or half of one
    const size_t first = sparse_ ? starts_[Size(unit)] : 0;
    const size_t last = sparse_ ? starts_[Size(unit) + 1] : 1;
    for (size_t block = first; block < last; ++block) {
      const bool padding = sparse_ && block > first && blocks_[block] == blocks_[block - 1];
      const int begin = sparse_ ? blocks_[block] * block_cols : 0;
      const int end = padding ? begin : std::min(begin + block_cols, cols_);
      for (int step = begin; step < begin + block_cols; step += step_cols, offset += step_bytes) {
        for (int r = 0; r < rows_of_unit && unit * rows_of_unit + r < rows_; ++r) {
          for (int c = step; c < std::min(step + step_cols, end); ++c) {
            visit(unit * rows_of_unit + r, c, offset + Size(r * step_cols + c - step) * width);
          }
        }
      }
    }
  }
}

size_t PackedMatrix::bytes() const {
  size_t sum = 0;
  for (int panel = 0; panel < panels(); ++panel) sum += panel_bytes(panel);
  return sum;
}

size_t PackedMatrix::panel_bytes(int panel) const {
  const size_t scales =
      (row_scales_.empty() ? 0 : sizeof(float)) + (row_sums_.empty() ? 0 : sizeof(std::int32_t));
  const size_t width = WeightBytes(format_);
  if (!sparse_) {
    const int units = DivideUp(cols_, ColsOfUnit(format_));
    return kPanelRows * (Size(units * ColsOfUnit(format_)) * width + scales);
  }
  const size_t blocks = starts_[Size((panel + 1) * kHalves)] - starts_[Size(panel * kHalves)];
  return blocks * (Size(kBlockRows * ColsOfBlock(format_)) * width + sizeof(std::uint16_t)) +
         kPanelRows * scales + kHalves * sizeof(std::uint32_t);
}

std::vector<float> PackedMatrix::Dequantized() const {
  std::vector<float> weights(Size(rows_) * Size(cols_));
  const auto* bytes = weights_.as<std::uint8_t>();
  ForEachWeight([&](int row, int col, size_t offset) {
    float value;
    if (IsInteger(format_)) {
      value = static_cast<float>(static_cast<std::int8_t>(bytes[offset])) * row_scales_[Size(row)];
    } else if (format_ == Format::kF16) {
      std::uint16_t half;
      std::memcpy(&half, bytes + offset, sizeof(half));
      value = FloatFromHalf(half);
    } else {
      std::memcpy(&value, bytes + offset, sizeof(value));
    }
    weights[Size(row) * Size(cols_) + Size(col)] = value;
  });
  return weights;
}

void PackedMatrix::Describe(Product* product) const {
  product->weights = weights_.as<std::uint8_t>();
  product->blocks = blocks_.data();
  product->starts = starts_.data();
  product->halves = halves_.data();
  product->units = DivideUp(cols_, ColsOfUnit(format_));
  product->row_scales = row_scales_.data();
  product->row_sums = row_sums_.data();
}

PackedInput::PackedInput(int cols, int batch, Format format)
    : cols_(cols), batch_(batch), format_(format) {
  CheckCols(cols);
  if (batch <= 0) Refuse("an input takes 1 or more vectors, not " + std::to_string(batch));
  // An odd number of cache lines: the same element of many vectors does not fall into the same few
  // sets of a cache.
  constexpr int kLine = 64;
  const int most = std::max(ColsOfBlock(format), ColsOfUnit(format));
  const int whole = DivideUp(cols, most) * most;
  stride_ = Size(DivideUp(whole * static_cast<int>(InputBytes(format)), kLine) | 1) * kLine;
  values_ = Buffer(stride_ * Size(batch));
  if (IsInteger(format)) scales_.assign(Size(batch), 0.0f);
  if (format == Format::kInt8) zeros_.assign(Size(batch), 0);
}

void PackedInput::Set(const Kernels& kernels, int b, const float* x) {
  const size_t at = Size(b) * stride_;
  auto* values = values_.as<std::uint8_t>() + at;
  if (format_ == Format::kInt8) {
    scales_[Size(b)] = kernels.quantize8(cols_, x, values, &zeros_[Size(b)]);
  } else if (format_ == Format::kInt8x16) {
    scales_[Size(b)] = kernels.quantize16(cols_, x, ActivationLimit(format_, cols_),
                                          reinterpret_cast<std::int16_t*>(values));
  } else {
    std::memcpy(values, x, Size(cols_) * sizeof(float));
  }
}

std::vector<int> PackedInput::Quantized(int b) const {
  const auto* values = values_.as<std::uint8_t>() + Size(b) * stride_;
  std::vector<int> integers(IsInteger(format_) ? Size(cols_) : 0);
  for (size_t c = 0; c < integers.size(); ++c) {
    integers[c] = format_ == Format::kInt8 ? values[c] - zeros_[Size(b)]
                                           : reinterpret_cast<const std::int16_t*>(values)[c];
  }
  return integers;
}

void PackedInput::Get(int b, float* x) const {
  if (!IsInteger(format_)) {
    std::memcpy(x, values_.as<std::uint8_t>() + Size(b) * stride_, Size(cols_) * sizeof(float));
    return;
  }
  const std::vector<int> integers = Quantized(b);
  for (size_t c = 0; c < integers.size(); ++c) x[c] = static_cast<float>(integers[c]) * scale(b);
}

void PackedInput::Describe(Product* product) const {
  product->x = values_.as<std::uint8_t>();
  product->x_stride = stride_;
  product->x_scales = scales_.data();
  product->x_zeros = zeros_.data();
}

void Multiply(const Kernels& kernels, const PackedMatrix& w, const PackedInput& x, int batch,
              float* y, size_t stride, int first_panel, int last_panel) {
  if (w.cols() != x.cols() || w.format() != x.format()) {
    Refuse("a product of " + std::to_string(w.cols()) + " columns in " + Name(w.format()) +
           " with a vector of " + std::to_string(x.cols()) + " in " + Name(x.format()));
  }
  if (batch < 0 || batch > x.batch() || first_panel < 0 || last_panel > w.panels()) {
    Refuse("a product of " + std::to_string(batch) + " of " + std::to_string(x.batch()) +
           " vectors with panels " + std::to_string(first_panel) + " to " +
           std::to_string(last_panel) + " of " + std::to_string(w.panels()));
  }
  Product product{};
  w.Describe(&product);
  x.Describe(&product);
  product.y = y;
  product.y_stride = stride;
  product.batch = batch;
  product.first_panel = first_panel;
  product.last_panel = last_panel;
  kernels.multiply[static_cast<int>(w.format())][w.sparse() ? 1 : 0](product);
}

}  // namespace samplewise
