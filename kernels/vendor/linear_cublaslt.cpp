// Linear layers with cuBLASLt. Contract: kernels/linear.h. The forward is one call: bias and ReLU are its epilogue. Backward is
// two products; the ReLU's mask and the bias's gradient, which must be added to what is there, are the hand-written kernels'.
#include "retort/kernels/elementwise.h"
#include "retort/kernels/registry.h"
#include "retort/kernels/vendor/all.h"
#include "retort/kernels/vendor/column_major.h"
#include "retort/kernels/vendor/cublas.h"

#include <algorithm>
#include <array>
#include <map>

namespace retort::vendor {
namespace {

/// One product as cuBLASLt wants it described.
struct Plan {
  LtMatmul matmul;
  LtLayout first, second, result;
  cublasLtMatmulAlgo_t algorithm{};
};

/// m, n, k, transpose_a, transpose_b, epilogue, beta is not 0, alignment of all pointers in bytes, TF32.
using Key = std::array<std::int64_t, 9>;

struct CublasLt {
  Workspace workspace;
  LtHandle handle;
  std::map<Key, Plan> plans;
};

struct Product {
  MatmulShape shape;
  const float *a, *b;
  float beta;
  float* c;
  const float* bias = nullptr;  // (n)
  bool relu = false;

  cublasLtEpilogue_t epilogue() const {
    if (bias != nullptr) return relu ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_BIAS;
    return relu ? CUBLASLT_EPILOGUE_RELU : CUBLASLT_EPILOGUE_DEFAULT;
  }
  /// Heuristics may take algorithms that load 16 bytes at a time only when every pointer allows it.
  std::uint32_t alignment() const {
    std::uintptr_t bits = 16;
    for (const void* pointer :
         {static_cast<const void*>(a), static_cast<const void*>(b), static_cast<const void*>(c), static_cast<const void*>(bias)})
      bits |= reinterpret_cast<std::uintptr_t>(pointer);
    return static_cast<std::uint32_t>(bits & (~bits + 1));  // the lowest bit that is set in any of them
  }
};

auto describer(const char* function, const LinearShape& s) {
  return [function, &s] {
    return fmt::format("linear.{} (cublaslt): ({},{}) -> {}{}", function, s.rows, s.in, s.out,
                       s.activation == Activation::relu ? ", relu" : "");
  };
}

template <class Describe>
LtLayout layout(std::int64_t rows, std::int64_t columns, std::int64_t ld, const Describe& what) {
  cublasLtMatrixLayout_t made = nullptr;
  check_cublas(
      cublasLtMatrixLayoutCreate(&made, CUDA_R_32F, static_cast<std::uint64_t>(rows), static_cast<std::uint64_t>(columns), ld),
      "cublasLtMatrixLayoutCreate", what);
  return LtLayout(made);
}

template <class Value, class Describe>
void set(const LtMatmul& matmul, cublasLtMatmulDescAttributes_t attribute, const Value& value, const Describe& what) {
  check_cublas(cublasLtMatmulDescSetAttribute(matmul.get(), attribute, &value, sizeof value), "cublasLtMatmulDescSetAttribute",
               what);
}

template <class Value, class Describe>
void set(const LtPreference& preference, cublasLtMatmulPreferenceAttributes_t attribute, const Value& value,
         const Describe& what) {
  check_cublas(cublasLtMatmulPreferenceSetAttribute(preference.get(), attribute, &value, sizeof value),
               "cublasLtMatmulPreferenceSetAttribute", what);
}

template <class Describe>
Plan make_plan(const CublasLt& lib, const Product& p, bool tf32, const Describe& what) {
  Plan plan;
  const ColumnMajorGemm g = column_major(p.shape);
  cublasLtMatmulDesc_t matmul = nullptr;
  check_cublas(cublasLtMatmulDescCreate(&matmul, tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F),
               "cublasLtMatmulDescCreate", what);
  plan.matmul = LtMatmul(matmul);
  const auto op = [](bool transpose) { return static_cast<std::int32_t>(transpose ? CUBLAS_OP_T : CUBLAS_OP_N); };
  set(plan.matmul, CUBLASLT_MATMUL_DESC_TRANSA, op(g.transpose_first), what);
  set(plan.matmul, CUBLASLT_MATMUL_DESC_TRANSB, op(g.transpose_second), what);
  set(plan.matmul, CUBLASLT_MATMUL_DESC_EPILOGUE, p.epilogue(), what);
  if (p.bias != nullptr) set(plan.matmul, CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias, what);
  plan.first = layout(g.first_rows, g.first_columns, g.ld_first, what);
  plan.second = layout(g.second_rows, g.second_columns, g.ld_second, what);
  plan.result = layout(g.m, g.n, g.ld_result, what);

  cublasLtMatmulPreference_t made = nullptr;
  check_cublas(cublasLtMatmulPreferenceCreate(&made), "cublasLtMatmulPreferenceCreate", what);
  const LtPreference preference(made);
  set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{blas_workspace}, what);
  for (const auto attribute : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                               CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
    set(preference, attribute, p.alignment(), what);
  cublasLtMatmulHeuristicResult_t best{};
  int found = 0;
  check_cublas(cublasLtMatmulAlgoGetHeuristic(lib.handle.get(), plan.matmul.get(), plan.first.get(), plan.second.get(),
                                              plan.result.get(), plan.result.get(), preference.get(), 1, &best, &found),
               "cublasLtMatmulAlgoGetHeuristic", what);
  check<DeviceError>(found > 0 && best.state == CUBLAS_STATUS_SUCCESS, "cuda: {}: cuBLASLt has no algorithm for it", what());
  plan.algorithm = best.algo;
  return plan;
}

template <class Describe>
CublasLt& cublas_lt(Stream& stream, const Describe& what) {
  CublasLt& state = stream.keep<CublasLt>();
  if (!state.handle) {
    cublasLtHandle_t handle = nullptr;
    check_cublas(cublasLtCreate(&handle), "cublasLtCreate", what);
    state.handle = LtHandle(handle);
  }
  return state;
}

template <class Describe>
void multiply(Stream& stream, CublasLt& lib, const Product& p, void* workspace, const Describe& what) {
  const Key key{p.shape.m,    p.shape.n,   p.shape.k,     p.shape.transpose_a, p.shape.transpose_b,
                p.epilogue(), p.beta != 0, p.alignment(), stream.tf32()};
  auto at = lib.plans.find(key);
  if (at == lib.plans.end()) at = lib.plans.emplace(key, make_plan(lib, p, stream.tf32(), what)).first;
  const Plan& plan = at->second;
  if (p.bias != nullptr) set(plan.matmul, CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias, what);  // layers of one shape share the plan
  check_cublas(
      cublasLtMatmul(lib.handle.get(), plan.matmul.get(), &one, p.b, plan.first.get(), p.a, plan.second.get(), &p.beta, p.c,
                     plan.result.get(), p.c, plan.result.get(), &plan.algorithm, workspace, blas_workspace, cuda_stream(stream)),
      "cublasLtMatmul", what);
}

template <class Kernels>
const Kernels& hand_written() {
  return KernelTable<Kernels>::instance().get(Device::cuda, "cuda");
}

void forward(Stream& stream, const LinearShape& s, const float* x, const float* w, const float* b, float* y) {
  if (s.rows * s.out == 0) return;
  if (s.in == 0) return hand_written<LinearKernels>().forward(stream, s, x, w, b, y);  // only the bias is left
  const auto what = describer("forward", s);
  CublasLt& lib = cublas_lt(stream, what);
  const Product product{.shape = {s.rows, s.out, s.in, false, true},
                        .a = x,
                        .b = w,
                        .beta = 0,
                        .c = y,
                        .bias = b,
                        .relu = s.activation == Activation::relu};
  multiply(stream, lib, product, lib.workspace.get(stream, blas_workspace), what);
}

void backward(Stream& stream, const LinearShape& s, const float* x, const float* w, const float* y, const float* dy, float* dx,
              float beta, float* dw, float* db) {
  if (s.rows * s.out * s.in == 0) return hand_written<LinearKernels>().backward(stream, s, x, w, y, dy, dx, beta, dw, db);
  const auto what = describer("backward", s);
  CublasLt& lib = cublas_lt(stream, what);
  const std::int64_t n = s.rows * s.out;
  const bool relu = s.activation == Activation::relu;
  const std::size_t gradient_bytes = relu ? static_cast<std::size_t>(n) * sizeof(float) : 0;
  const std::size_t bias_bytes = db != nullptr ? static_cast<std::size_t>(s.out) * sizeof(float) : 0;
  Parts parts;
  for (const std::size_t bytes : {blas_workspace, gradient_bytes, bias_bytes}) parts.count(bytes);
  parts.begin(lib.workspace.get(stream, parts.total()));
  void* const workspace = parts.take(blas_workspace);
  auto* const masked = static_cast<float*>(parts.take(gradient_bytes));
  auto* const bias_sum = static_cast<float*>(parts.take(bias_bytes));

  const float* g = dy;
  if (relu) {
    hand_written<UnaryKernels>().backward(stream, Unary::relu, n, nullptr, y, dy, masked);
    g = masked;
  }
  if (dx != nullptr)
    multiply(stream, lib, {.shape = {s.rows, s.in, s.out, false, false}, .a = g, .b = w, .beta = 0, .c = dx}, workspace, what);
  if (dw != nullptr)
    multiply(stream, lib, {.shape = {s.out, s.in, s.rows, true, false}, .a = g, .b = x, .beta = beta, .c = dw}, workspace, what);
  if (db != nullptr) {
    hand_written<BinaryKernels>().backward(stream, Binary::add, {s.rows, s.out, 1}, nullptr, nullptr, g, nullptr, bias_sum);
    hand_written<ScaleKernels>().forward(stream, s.out, 1.0f, bias_sum, 1.0f, db);
  }
}

}  // namespace

void register_linear_cublaslt() { KernelTable<LinearKernels>::instance().add(Device::cuda, "cublaslt", 0, {forward, backward}); }

}  // namespace retort::vendor
