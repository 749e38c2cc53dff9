// OpenBLAS: linear layers as matrix products, with the bias and the ReLU in plain loops around them.
#include "retort/bench/suite/twins.h"

#include <cblas.h>

#include <algorithm>
#include <memory>

namespace retort::bench {

std::string openblas_version() {
  const char* kinds[] = {"one thread", "pthreads", "OpenMP"};
  return fmt::format("{} ({})", openblas_get_config(), kinds[std::clamp(openblas_get_parallel(), 0, 2)]);
}

namespace {

void gemm(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, std::int64_t m, std::int64_t n, std::int64_t k, const float* a,
          std::int64_t lda, const float* b, std::int64_t ldb, float beta, float* c) {
  cblas_sgemm(CblasRowMajor, ta, tb, static_cast<int>(m), static_cast<int>(n), static_cast<int>(k), 1, a, static_cast<int>(lda),
              b, static_cast<int>(ldb), beta, c, static_cast<int>(n));
}

void forward(const LinearShape& z, DeviceArrays& a) {
  float* y = a.out[0];
  gemm(CblasNoTrans, CblasTrans, z.rows, z.out, z.in, a.in[0], z.in, a.in[1], z.in, 0, y);
  const bool relu = z.activation == Activation::relu;
  for (std::int64_t r = 0; r < z.rows; ++r)
    for (std::int64_t o = 0; o < z.out; ++o) {
      const float value = y[r * z.out + o] + a.in[2][o];
      y[r * z.out + o] = relu ? std::max(value, 0.0f) : value;
    }
}

void backward(const LinearShape& z, DeviceArrays& a, Floats& dz) {
  const bool relu = z.activation == Activation::relu;
  const float *y = a.in[2], *dy = a.in[3];
  float* db = a.out[2];
  for (std::int64_t r = 0; r < z.rows; ++r)
    for (std::int64_t o = 0; o < z.out; ++o) {
      const std::int64_t i = r * z.out + o;
      const float value = relu && !(y[i] > 0) ? 0 : dy[i];
      dz[static_cast<std::size_t>(i)] = value;
      db[o] += value;
    }
  gemm(CblasNoTrans, CblasNoTrans, z.rows, z.in, z.out, dz.data(), z.out, a.in[1], z.in, 0, a.out[0]);
  gemm(CblasTrans, CblasNoTrans, z.out, z.in, z.rows, dz.data(), z.out, a.in[0], z.in, 1, a.out[1]);
}

}  // namespace

Twin openblas_linear(const LinearShape& z, Pass pass) {
  return {"openblas", [z, pass](int threads) -> Run {
            openblas_set_num_threads(threads);
            if (pass == Pass::forward) return [z](Stream&, DeviceArrays& a) { forward(z, a); };
            const auto dz = std::make_shared<Floats>(static_cast<std::size_t>(z.rows * z.out));
            return [z, dz](Stream&, DeviceArrays& a) { backward(z, a, *dz); };
          }};
}

}  // namespace retort::bench
