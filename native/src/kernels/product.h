// Arguments of a product kernel: plain pointers into a PackedMatrix and a PackedInput. Includes
// nothing that could be compiled differently by the files of the instruction sets.

#pragma once

#include <cstddef>
#include <cstdint>

namespace samplewise {

inline constexpr int kPanelRows = 32;  // rows of a panel; a thread owns whole panels
inline constexpr int kBlockRows = 16;  // rows of a block of a sparse matrix: half a panel
// The number of blocks of a half panel is a multiple of this. It is padded with blocks of zeros
// that repeat the last index, which is cheaper than the mispredicted branches of a remainder.
inline constexpr int kBlocksTogether = 4;
inline constexpr int kMaxByte = 181;  // the largest quantised activation of kInt8; see rows.h

// Layout of the weights. A step is the columns multiplied together: 1 (float formats), 4 (int8),
// 2 (int8x16).
//
// - Dense: (panel, step, row of the panel, column of the step). int8: an even number of steps.
// - Sparse: (half panel, kept block, step, row of the half panel, column of the step). A block
//   spans 1 column (float formats) or 4 (int8, int8x16); `blocks` holds the number of each. A half
//   panel has at least kBlocksTogether blocks.
struct Product {
  const std::uint8_t* weights;
  const std::uint16_t* blocks;   // sparse only
  const std::uint32_t* starts;   // sparse only: first block of each half panel, (2 * panels + 1,)
  const std::uint32_t* halves;   // sparse only: half panel of each kBlocksTogether blocks
  int units;                     // dense only: steps of a panel (int8: pairs of steps)
  const float* row_scales;       // integer formats only, (padded rows,)
  const std::int32_t* row_sums;  // kInt8 only: sum of the row's weights, (padded rows,)

  const std::uint8_t* x;        // float, uint8 or int16
  std::size_t x_stride;         // bytes from a vector to the next
  const float* x_scales;        // integer formats only, (batch,)
  const std::int32_t* x_zeros;  // kInt8 only: the integer that stands for 0, (batch,)

  float* y;
  std::size_t y_stride;  // floats from a vector to the next
  int batch;
  int first_panel;
  int last_panel;
};

}  // namespace samplewise
