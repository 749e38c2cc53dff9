#include "retort/kernels/cpu/gemm.h"

#include "retort/kernels/cpu/eigen.h"

namespace retort::eigen {
namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using View = Eigen::Map<Matrix, Eigen::Unaligned, Eigen::OuterStride<>>;
using ConstView = Eigen::Map<const Matrix, Eigen::Unaligned, Eigen::OuterStride<>>;

template <class A, class B>
void multiply(const A& a, const B& b, View c, Write write) {
  if (write == Write::accumulate)
    c.noalias() += a * b;
  else
    c.noalias() = a * b;
}

template <class A>
void multiply(const A& a, std::int64_t k, std::int64_t n, Operand b, View c, Write write) {
  if (b.transposed)
    multiply(a, ConstView(b.data, n, k, Eigen::OuterStride<>(b.stride)).transpose(), c, write);
  else
    multiply(a, ConstView(b.data, k, n, Eigen::OuterStride<>(b.stride)), c, write);
}

}  // namespace

void gemm(std::int64_t m, std::int64_t n, std::int64_t k, Operand a, Operand b, float* c, std::int64_t c_stride, Write write) {
  View result(c, m, n, Eigen::OuterStride<>(c_stride));
  if (a.transposed)
    multiply(ConstView(a.data, k, m, Eigen::OuterStride<>(a.stride)).transpose(), k, n, b, result, write);
  else
    multiply(ConstView(a.data, m, k, Eigen::OuterStride<>(a.stride)), k, n, b, result, write);
}

}  // namespace retort::eigen
