// Contract: element-wise maps. Activations are overwritten.
#pragma once

#include "retort/kernels/stream.h"

#include <cstdint>

namespace retort {

enum class Unary { relu, exp, log, tanh, sigmoid };
enum class Binary { add, sub, mul };

std::string_view name(Unary op);
std::string_view name(Binary op);

struct UnaryKernels {
  static constexpr const char* op = "unary";
  /// y = f(x); x, y: (n). y may be x.
  void (*forward)(Stream&, Unary f, std::int64_t n, const float* x, float* y);
  /// dx = dy * f'(x), from x or y, whichever is cheaper (relu, exp, tanh, sigmoid use y; log uses x). dx may be dy.
  void (*backward)(Stream&, Unary f, std::int64_t n, const float* x, const float* y, const float* dy, float* dx);
};

/// a: (rows, columns); b: (b_rows, columns) with b_rows either `rows` or 1 (then b is repeated over the rows).
struct BinaryShape {
  std::int64_t rows, columns, b_rows;
};

struct BinaryKernels {
  static constexpr const char* op = "binary";
  /// y = a (op) b, y: (rows, columns). y may be a.
  void (*forward)(Stream&, Binary f, const BinaryShape&, const float* a, const float* b, float* y);
  /// da: (rows, columns) and db: (b_rows, columns), both overwritten, either may be null. With b_rows = 1, db sums over rows.
  /// a and b are read only by mul; they may be null for add and sub.
  void (*backward)(Stream&, Binary f, const BinaryShape&, const float* a, const float* b, const float* dy, float* da, float* db);
};

struct ScaleKernels {
  static constexpr const char* op = "scale";
  /// y = alpha * x + beta * y; x, y: (n). With beta 0, y is not read (it may hold NaN). y may be x.
  void (*forward)(Stream&, std::int64_t n, float alpha, const float* x, float beta, float* y);
};

}  // namespace retort
