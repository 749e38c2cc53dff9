// cuBLAS counts matrices down their columns, we along their rows: our (m, n) matrix is its (n, m) one. So it is asked for
// C^T = op(B)^T op(A)^T, with the factors exchanged and nothing transposed in memory. Host arithmetic only, tested without a GPU.
#pragma once

#include "retort/kernels/linear.h"

#include <algorithm>
#include <cstdint>

namespace retort::vendor {

/// What a column-major GEMM is called with for c = op(a) op(b): its first factor is our b, its second our a. ld: leading
/// dimension.
struct ColumnMajorGemm {
  std::int64_t m, n, k;
  bool transpose_first, transpose_second;
  std::int64_t ld_first, ld_second, ld_result;
  std::int64_t first_rows, first_columns, second_rows, second_columns;  ///< as stored
};

inline ColumnMajorGemm column_major(const MatmulShape& s) {
  ColumnMajorGemm g{};
  g.m = s.n, g.n = s.m, g.k = s.k;
  g.transpose_first = s.transpose_b, g.transpose_second = s.transpose_a;
  // Stored by rows (r, c) is stored by columns (c, r).
  g.first_rows = s.transpose_b ? s.k : s.n, g.first_columns = s.transpose_b ? s.n : s.k;
  g.second_rows = s.transpose_a ? s.m : s.k, g.second_columns = s.transpose_a ? s.k : s.m;
  g.ld_first = std::max<std::int64_t>(1, g.first_rows);
  g.ld_second = std::max<std::int64_t>(1, g.second_rows);
  g.ld_result = std::max<std::int64_t>(1, s.n);
  return g;
}

}  // namespace retort::vendor
