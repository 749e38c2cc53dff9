// What can be known of the cuDNN and cuBLAS twins without a GPU: how matrices are handed to a library that counts down columns.
// On a GPU kernels_cuda_ops_test runs them over the whole table of ops.
#include "catch.h"

#include "retort/kernels/backends.h"
#include "retort/kernels/vendor/column_major.h"

#include <cstdint>
#include <vector>

namespace {

using namespace retort;

/// c = op(first) op(second) as a BLAS defines it: element (i, j) of a stored matrix lies at i + j * ld.
std::vector<double> blas_gemm(const vendor::ColumnMajorGemm& g, const std::vector<double>& first,
                              const std::vector<double>& second) {
  const auto at = [](const std::vector<double>& x, std::int64_t i, std::int64_t j, std::int64_t ld) {
    return x.at(static_cast<std::size_t>(i + j * ld));
  };
  std::vector<double> c(static_cast<std::size_t>(g.ld_result * g.n));
  for (std::int64_t i = 0; i < g.m; ++i)
    for (std::int64_t j = 0; j < g.n; ++j) {
      double sum = 0;
      for (std::int64_t l = 0; l < g.k; ++l)
        sum += (g.transpose_first ? at(first, l, i, g.ld_first) : at(first, i, l, g.ld_first)) *
               (g.transpose_second ? at(second, j, l, g.ld_second) : at(second, l, j, g.ld_second));
      c.at(static_cast<std::size_t>(i + j * g.ld_result)) = sum;
    }
  return c;
}

TEST_CASE("a row-major product is handed over as a column-major one") {
  for (const bool ta : {false, true})
    for (const bool tb : {false, true}) {
      const MatmulShape s{3, 5, 7, ta, tb};
      CAPTURE(ta, tb);
      std::vector<double> a(21), b(35);
      for (std::size_t i = 0; i < a.size(); ++i) a[i] = static_cast<double>(i * i % 11);
      for (std::size_t i = 0; i < b.size(); ++i) b[i] = static_cast<double>(i * i % 13) - 6;
      const vendor::ColumnMajorGemm g = vendor::column_major(s);
      CHECK((g.first_rows * g.first_columns == 35 && g.second_rows * g.second_columns == 21));
      CHECK((g.ld_first >= g.first_rows && g.ld_second >= g.second_rows));
      const std::vector<double> c = blas_gemm(g, b, a);
      for (std::int64_t i = 0; i < s.m; ++i)
        for (std::int64_t j = 0; j < s.n; ++j) {
          double sum = 0;
          for (std::int64_t l = 0; l < s.k; ++l)
            sum += a[static_cast<std::size_t>(ta ? l * s.m + i : i * s.k + l)] *
                   b[static_cast<std::size_t>(tb ? j * s.k + l : l * s.n + j)];
          CHECK(c[static_cast<std::size_t>(i * s.n + j)] == sum);
        }
    }
}

TEST_CASE("the libraries of the twins name themselves, or say that they are missing") {
  for (const std::string& text : {cudnn_describe(), cublas_describe()}) {
    CAPTURE(text);
    CHECK((text.rfind("cu", 0) == 0 || text.rfind("no cu", 0) == 0));
  }
}

}  // namespace
