// Contract: softmax and the losses built on it. Rows are samples, columns are classes. A label outside [0, columns) makes the
// loss NaN and its row's cross-entropy gradient zero. All gradients are those of the *mean* over rows, written in the forward
// pass: backward only scales them.
//
//   CE       = -(1/N) sum_n log softmax(z_n)[y_n]                                      dz  = (softmax(z) - onehot(y)) / N
//   KL_tau   = tau^2 (1/N) sum_n sum_k pT (log pT - log pS),  p = softmax(z/tau)       dzS = (tau/N) (pS - pT)      (paper eq. 2)
//                                       dzT = (tau/N) pT (log pT - log pS - sum_j pT_j (log pT_j - log pS_j))
#pragma once

#include "retort/kernels/stream.h"

#include <cstdint>

namespace retort {

struct LogSoftmaxKernels {
  static constexpr const char* op = "log_softmax";
  /// y = x - log sum exp x over each row; (rows, columns), overwritten.
  void (*forward)(Stream&, std::int64_t rows, std::int64_t columns, const float* x, float* y);
  /// dx = dy - softmax(x) * sum(dy), from y; overwritten.
  void (*backward)(Stream&, std::int64_t rows, std::int64_t columns, const float* y, const float* dy, float* dx);
};

struct CrossEntropyKernels {
  static constexpr const char* op = "cross_entropy";
  /// loss: (1), dlogits: (rows, columns) or null; both overwritten.
  void (*forward)(Stream&, std::int64_t rows, std::int64_t columns, const float* logits, const std::int32_t* labels, float* loss,
                  float* dlogits);
};

struct DistillKlKernels {
  static constexpr const char* op = "distill_kl";
  /// loss: (1), dstudent, dteacher: (rows, columns) or null; all overwritten.
  void (*forward)(Stream&, std::int64_t rows, std::int64_t columns, float tau, const float* student, const float* teacher,
                  float* loss, float* dstudent, float* dteacher);
};

/// Both tasks' losses of one batch, paper eq. 5 (eq. 1 when there is no teacher or lambda = 0):
///   total = alpha (CE1 + lambda KL1) + (1 - alpha) (CE2 + lambda KL2)
struct MultitaskShape {
  std::int64_t rows, classes1, classes2;
  float alpha = 0.5f, lambda = 0.5f, tau = 3.0f;
};

/// The slots of the `losses` output.
enum MultitaskLoss : int { loss_total, loss_ce1, loss_ce2, loss_kl1, loss_kl2, multitask_loss_count };

struct MultitaskDistillKernels {
  static constexpr const char* op = "multitask_distill_loss";
  /// logits_t: student's (rows, classes_t); teacher_t: teacher's, both null for no distillation (then kl = 0); labels_t: (rows).
  /// losses: (5) in the order of MultitaskLoss, kl without the factor lambda; dlogits_t: gradient of `total`, or both null.
  /// All outputs overwritten.
  void (*forward)(Stream&, const MultitaskShape&, const float* logits1, const float* logits2, const float* teacher1,
                  const float* teacher2, const std::int32_t* labels1, const std::int32_t* labels2, float* losses,
                  float* dlogits1, float* dlogits2);
};

}  // namespace retort
