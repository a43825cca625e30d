// Matrices of weights, packed for the kernels, and their products with vectors.
//
// A matrix is packed once, when a model is loaded, into panels of kPanelRows rows. A thread owns
// whole panels and reads each from its first byte to its last. The packed form does not depend on
// the instruction set. kernels/products.inc begins with the loop nest of a product.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kernels/buffer.h"
#include "kernels/kernels.h"
#include "kernels/product.h"

namespace samplewise {

enum class Format {
  kF32,   // weights, activations and sums in single precision
  kF16,   // weights in half precision, activations and sums in single precision
  kInt8,  // weights in [-127, 127], some sums within kMaxGroupSum (rows.h), with a scale per row;
          // activations in [0, kMaxByte] with a scale and a zero per vector; int32 sums
  kInt8x16,  // weights in [-127, 127] with a scale per row, activations of 16 bits, within
             // ActivationLimit, int32 sums
};
const char* Name(Format format);
Format FormatOf(const std::string& name);  // throws std::invalid_argument

enum class Blocks {
  kDense,
  kAuto,  // zero blocks are left out if fewer than kSparseBelow of the blocks remain
};

// A block of a sparse matrix is 16 rows by 1 column (float formats) or by 4 (integer formats).
// If more than this share of the blocks is kept, a dense product is as fast: it needs no index, and
// uses each activation for 32 rows.
inline constexpr double kSparseBelow = 0.8;
inline constexpr int kMaxCols = 65536;  // indices of 16 bits; sums of 32 bits

// The largest quantised activation, such that no sum of `cols` products overflows: kMaxByte for
// kInt8; for kInt8x16 32767 up to 516 columns, then less (16512 at 1024, 5504 at 3072, 258 at
// 65536); 0 for the float formats, which do not quantise.
int ActivationLimit(Format format, int cols);

struct StoredRow;  // matrix.cc

// A matrix of weights; immutable after construction, shared by threads.
class PackedMatrix {
 public:
  PackedMatrix() = default;  // empty, 0 x 0
  // weights: (rows, cols), row-major. Rows are padded with zeros to whole panels. Throws
  // std::invalid_argument if the sizes do not fit or are not positive, cols exceeds kMaxCols, or a
  // weight is not finite (kF16: in half precision).
  PackedMatrix(std::span<const float> weights, int rows, int cols, Format format,
               Blocks blocks = Blocks::kAuto);

  int rows() const { return rows_; }
  int cols() const { return cols_; }
  int panels() const { return (rows_ + kPanelRows - 1) / kPanelRows; }
  int padded_rows() const { return panels() * kPanelRows; }
  Format format() const { return format_; }
  bool sparse() const { return sparse_; }
  std::size_t bytes() const;  // what one product reads: weights, indices and scales
  double density() const { return density_; }  // share of the weights kept, 1 for a dense matrix
  // One panel's part of bytes(), for fair shares between threads.
  std::size_t panel_bytes(int panel) const;

  // The weights as the kernels use them, (rows, cols), row-major; for tests.
  std::vector<float> Dequantized() const;

  // Sets the members of `product` that describe the matrix. For Multiply.
  void Describe(Product* product) const;

 private:
  std::size_t FindBlocks(std::span<const StoredRow> stored);
  template <typename Visit>
  void ForEachWeight(const Visit& visit) const;

  int rows_ = 0;
  int cols_ = 0;
  Format format_ = Format::kF32;
  bool sparse_ = false;
  double density_ = 1.0;
  Buffer weights_;
  std::vector<float> row_scales_;
  std::vector<std::int32_t> row_sums_;
  std::vector<std::uint16_t> blocks_;
  std::vector<std::uint32_t> starts_;
  std::vector<std::uint32_t> halves_;
};

// Up to `batch` input vectors of products, in the numbers of a format. One per thread. It allocates
// only when it is constructed. It can be moved, not copied.
class PackedInput {
 public:
  PackedInput() = default;
  // Throws std::invalid_argument if a size is not positive or cols too large.
  PackedInput(int cols, int batch, Format format);

  int cols() const { return cols_; }
  int batch() const { return batch_; }
  Format format() const { return format_; }

  // Sets vector b to x, (cols,); quantises it for the integer formats. The result does not depend
  // on the instruction set.
  void Set(const Kernels& kernels, int b, const float* x);
  // Copies vector b, dequantised, to x, (cols,); for tests.
  void Get(int b, float* x) const;
  // The integers of vector b, 0 for 0, and the value of one step, for the integer formats.
  std::vector<int> Quantized(int b) const;
  float scale(int b) const { return scales_[static_cast<std::size_t>(b)]; }

  // Sets the members of `product` that describe the input. For Multiply.
  void Describe(Product* product) const;

 private:
  int cols_ = 0;
  int batch_ = 0;
  Format format_ = Format::kF32;
  std::size_t stride_ = 0;  // bytes
  Buffer values_;
  std::vector<float> scales_;
  std::vector<std::int32_t> zeros_;  // kInt8 only
};

// y[b * stride + r] = (W x_b)[r] for the rows r of the panels from first_panel up to, not
// including, last_panel, and the first `batch` vectors of x. No bias; padded rows give 0, so y
// holds at least padded_rows() values per vector. y need not be aligned.
//
// A panel's result depends neither on which other panels are computed nor on `batch` nor on a
// vector's neighbours, bit for bit. The integer formats give the same bits on every instruction
// set: y = (float(integer sum) * row scale) * vector scale. Throws std::invalid_argument if w and x
// do not fit together or the ranges are wrong.
void Multiply(const Kernels& kernels, const PackedMatrix& w, const PackedInput& x, int batch,
              float* y, std::size_t stride, int first_panel, int last_panel);

}  // namespace samplewise
